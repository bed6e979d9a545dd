"""A connection to a Ray cluster, or to one of this machine that is made for it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.sweep import ray_node
from mnfpn_cli.sweep.ray_probe import LISTENS, quiet_options

ANSWER_S = 15.0
ADDRESS = re.compile(r"(ray://)?(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]?#]+):([0-9]{1,5})")

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray prints what its nodes complain about to standard output, where results belong, whatever its log level is.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",
}
HANDLED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def check_address(address: str) -> str:
    """The address, if it is one of a Ray cluster.

    Raises:
        UsageError: where it is none.
    """
    match = ADDRESS.fullmatch(address)
    if address not in ("auto", "local") and not (match and 1 <= int(match[3]) <= 65535):
        raise UsageError(f"--ray: must be auto, local, ray://host:port or host:port, got '{address}'")
    return address


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster: a running one (``auto``, or its address), or one of this machine alone (``local``).

    Raises:
        UsageError: where the address is none.
        MnfpnError: where Ray is not installed, or the cluster does not answer, in less than 20 s.
    """
    check_address(address)
    if find_spec("ray") is None:
        raise MnfpnError("--ray: needs Ray, which is not installed: pip install 'mnfpn[ray]'")
    if address.startswith("ray://") and find_spec("grpc") is None:
        raise MnfpnError("--ray: ray:// needs Ray's client, which is not installed: pip install 'mnfpn[ray]'")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if address != "local":
        _probe(address)
    import ray
    from ray import cloudpickle

    with _handlers_kept():
        _init(address)
    cloudpickle.register_pickle_by_value(ray_node)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        with _handlers_kept():
            ray.shutdown()


def lost(address: str, error: BaseException) -> MnfpnError:
    """The error for a cluster that answered, and does not any more."""
    return MnfpnError(f"--ray {address}: the cluster does not answer any more: {short(error)}")


def short(error: BaseException) -> str:
    """What an error of Ray's says, in a line: some have tracebacks, or pages of logs."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return (" ".join(lines[0].split()) if lines else type(cause).__name__)[:300]


def _init(address: str) -> None:
    import ray

    options = quiet_options(address) | ({"include_dashboard": False} if address == "local" else {})
    try:
        ray.init(address, **options)
    except Exception as error:
        raise MnfpnError(f"--ray {address}: {' '.join(str(error).split())}") from error


def _probe(address: str) -> None:
    """Ask whether the cluster answers.

    Raises:
        MnfpnError: where it does not.
    """
    command = [sys.executable, "-m", "mnfpn_cli.sweep.ray_probe", address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, start_new_session=True)
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        listens = LISTENS in (said.decode(errors="replace") if isinstance(said, bytes) else said)
        first = f"{LISTENS}, but " if listens and address != "auto" else ""
        raise MnfpnError(f"--ray {address}: {first}no cluster answers within {ANSWER_S:g} s{_check(address)}") from None
    if done.returncode:
        why = done.stdout.replace(LISTENS, "", 1) or done.stderr[-300:]
        raise MnfpnError(f"--ray {address}: does not answer: {' '.join(why.split())}{_check(address)}")


def _check(address: str) -> str:
    """What a user may look at."""
    if address == "auto":
        return "; does a cluster run on this machine (`ray status`), or does RAY_ADDRESS name one?"
    if address.startswith("ray://"):
        return (
            "; does the cluster run, and is the port of its client server, usually 10001, open to this machine? "
            "Where the cluster wants a token, RAY_AUTH_MODE=token must be set here too"
        )
    return "; does the cluster run, and is this machine one of its nodes? From outside it is ray://host:10001"


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray puts handlers of its own in place of those that end a sweep in good order."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)
