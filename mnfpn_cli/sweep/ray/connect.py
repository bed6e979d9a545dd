"""A connection to a Ray cluster, or to one of this machine that is made for it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.sweep.ray import node as ray_node

CONNECT_S = 5.0
LISTENS = "something listens there"


def main(address: str) -> int:
    """Look whether something listens there, then whether it is a Ray cluster that this Ray can work with."""
    try:
        _knock(address)
        _say(LISTENS)
        import ray

        ray.init(address, **quiet_options(address))
        ray.nodes()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  whatever it is, it is told
        _say(str(error) or type(error).__name__)
        return 1
    ray.shutdown()
    return 0


def quiet_options(address: str) -> dict[str, Any]:
    """What `ray.init` must be told so that it prints nothing; a client's server does not know the second."""
    return {"logging_level": "error"} | ({} if "://" in address else {"log_to_driver": False})


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _knock(address: str) -> None:
    """Open a connection, and close it.

    Raises:
        OSError: where nothing listens there.
    """
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=CONNECT_S):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))


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
    command = [sys.executable, "-m", "mnfpn_cli.sweep.ray.connect", address]
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
