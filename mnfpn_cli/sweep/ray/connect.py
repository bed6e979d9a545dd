"""A connection to a Ray cluster that runs, or to one on this machine that is started for it."""

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

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.sweep.ray import worker
from mnfpn_cli.text import first_line

CONNECT_S = 3.0
ANSWER_S = 15.0
ADDRESS = re.compile(r"(ray://)?(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]?#]+):([0-9]{1,5})")
ASK = "import sys; from mnfpn_cli.sweep.ray.connect import ask; why = ask(sys.argv[1]); print(why); sys.exit(bool(why))"
HINT = (
    "; does the cluster run (`ray status` on one of its nodes)? From other machines it is ray://host:10001, "
    "with RAY_AUTH_MODE=token where it wants a token"
)
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray prints its nodes' complaints to standard output, where results belong, at any log level.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",
}


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster: ``auto``, its address, or ``local`` for a new one on this machine.

    Raises:
        UsageError: where the address is none.
        MnfpnError: where Ray is not installed, the cluster does not answer within 20 s, or is gone later.
    """
    match = ADDRESS.fullmatch(address)
    if address not in ("auto", "local") and not (match and 1 <= int(match[3]) <= 65535):
        raise UsageError(Problem("`ray`", "must be auto, local, ray://host:port or host:port", f"'{address}'"))
    if not all(find_spec(name) for name in ("ray", *["grpc"] * address.startswith("ray://"))):
        raise MnfpnError(
            Problem("`ray`", "needs Ray and its client, which are not installed: pip install 'mnfpn[ray]'")
        )
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if address != "local":
        _probe(address)
    import ray
    from ray import cloudpickle

    with _handlers_kept():
        why = ask(address)
    if why:
        raise MnfpnError(Problem(f"`ray` {address}", why))
    cloudpickle.register_pickle_by_value(worker)  # type: ignore[no-untyped-call]
    try:
        yield
    except BrokenPipeError:
        raise  # standard output's, not Ray's
    except (ray.exceptions.RayError, ConnectionError) as error:
        rule = f"the cluster does not answer any more: {short(error)}"
        raise MnfpnError(Problem(f"`ray` {address}", rule)) from error
    finally:
        ray.shutdown()


def knock(address: str) -> None:
    """Open a connection to an address, and close it.

    Raises:
        OSError: where nothing listens there.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=CONNECT_S):
        pass


def short(error: BaseException) -> str:
    """Return what an error of Ray's says, in a line: some have tracebacks, or pages of logs."""
    cause = getattr(error, "cause", None) or error
    return " ".join(first_line(cause).split())[:300] or type(cause).__name__


def ask(address: str) -> str:
    """Connect to a cluster; return why that fails, or nothing."""
    import ray

    options: dict[str, Any] = {} if "://" in address else {"log_to_driver": False}  # unknown to a client's server
    options |= {"logging_level": "error"} | ({"include_dashboard": False} if address == "local" else {})
    try:
        ray.init(address, **options)
        ray.nodes()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  any that Ray may raise
        return " ".join(str(error).replace("`", "'").split()) or type(error).__name__
    return ""


def _probe(address: str) -> None:
    """Ask in a process that can be ended: where no cluster answers, Ray waits for minutes, or aborts."""
    command = [sys.executable, "-c", ASK, address]
    try:
        if address != "auto":
            knock(address)
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, start_new_session=True)
        why = " ".join((done.stdout or done.stderr[-300:]).split()) if done.returncode else ""
    except OSError as error:
        why = str(error)
    except subprocess.TimeoutExpired:
        but = "" if address == "auto" else "something listens there, but "
        rule = f"{but}no cluster answers within {ANSWER_S:g} s{HINT}"
        raise MnfpnError(Problem(f"`ray` {address}", rule)) from None
    if why:
        raise MnfpnError(Problem(f"`ray` {address}", f"does not answer: {why}{HINT}"))


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep the handlers that end a sweep in good order: Ray replaces them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)
