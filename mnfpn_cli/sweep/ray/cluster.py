"""A Ray cluster: the connection to it, and its nodes."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.sweep.ray import worker
from mnfpn_cli.text import first_line

CONNECT_S = 3.0
ANSWER_S = 15.0
ADDRESS = re.compile(r"(ray://)?(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]?#]+):([0-9]{1,5})")
ASK = "import sys; from mnfpn_cli.sweep.ray.cluster import ask; why = ask(sys.argv[1]); print(why); sys.exit(bool(why))"
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


ACCELERATOR = "accelerator_type:"


class Share(NamedTuple):
    """What a worker reserves of its node. ``kind``: as `Worker` has it."""

    kind: str
    cpus: float
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine as Ray knows it; a machine that joins again is another node.

    ``cpus``, ``gpus``: that Ray may give away. ``accelerators``: the kinds of its GPUs.
    """

    id: str
    name: str
    cpus: float
    gpus: int
    accelerators: tuple[str, ...]

    def __str__(self) -> str:
        """Its name, and what it has."""
        kinds = f" ({', '.join(self.accelerators)})" if self.accelerators else ""
        return f"{self.name} has {self.cpus:g} cores, {self.gpus} GPUs{kinds}"

    def shares(self, devices: Collection[str], accelerator: str | None = None) -> list[Share]:
        """Return what workers for some devices reserve here, where it has GPUs of a kind if one is named.

        Each GPU with a part of the cores, or the whole node for the CPU. Where runs need both, a node with GPUs has one
        worker: a run on its CPU would slow those on its GPUs.
        """
        if accelerator and accelerator.lower() not in map(str.lower, self.accelerators):
            return []
        if self.gpus and not {"auto", "cuda"}.isdisjoint(devices):
            apart = [Share("cuda", self.cpus // self.gpus, 1)] * self.gpus
            return [Share("", self.cpus, 1)] if "cpu" in devices else apart
        return [Share("cpu", self.cpus)] if self.cpus >= 1 and not {"auto", "cpu"}.isdisjoint(devices) else []


def alive() -> list[Node]:
    """Return the nodes that are part of the cluster now.

    Raises:
        ConnectionError: where its head is gone: Ray would wait a minute for it, then end this process without an error.
    """
    import ray

    try:
        if not ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
            knock(ray.get_runtime_context().gcs_address)
    except OSError as error:
        raise ConnectionError(f"its head is gone: {error.strerror or error}") from error
    return nodes_of(ray.nodes())  # type: ignore[no-untyped-call]


def nodes_of(listed: Sequence[Any]) -> list[Node]:
    """Return the living nodes of a list of Ray's, each by the shortest name that no other of them has."""
    living = [one for one in listed if one["Alive"]]
    known = Counter(name for one in living for name in set(_names(one)))
    nodes = []
    for one in living:
        had, name = one["Resources"], next(name for name in _names(one) if known[name] == 1)
        kinds = sorted(key.removeprefix(ACCELERATOR) for key in had if key.startswith(ACCELERATOR))
        nodes.append(Node(one["NodeID"], name, had.get("CPU", 0.0), int(had.get("GPU", 0)), tuple(kinds)))
    return nodes


def on_node(remote: Any, node: Node, **options: Any) -> Any:
    """Return a function or class as a remote one for this node and no other."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(remote).options(scheduling_strategy=there, **options)


def _names(one: Any) -> list[str]:
    host, address = one["NodeManagerHostname"], one["NodeManagerAddress"]
    return [host, *(f"{host} ({more})" for more in (one.get("NodeName") or address, address, one["NodeID"][:6]))]
