"""A Ray cluster: connect to it, list its nodes, and run functions on one of them."""

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
"""The time in which a port must accept a connection."""

ANSWER_S = 15.0
"""The time in which a cluster must answer."""

ADDRESS = re.compile(r"(ray://)?(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]?#]+):([0-9]{1,5})")
PROBE = (
    "import sys; from mnfpn_cli.sweep.ray.cluster import connect_ray; "
    "error = connect_ray(sys.argv[1]); print(error); sys.exit(bool(error))"
)
HINT = (
    "; does the cluster run (`ray status` on one of its nodes)? From other machines it is ray://host:10001, "
    "with RAY_AUTH_MODE=token where it wants a token"
)
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray prints the logs of its nodes to standard output, where results belong, at any log level.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",
}
ACCELERATOR = "accelerator_type:"
"""The prefix of Ray's resources that name a kind of GPU."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster: ``auto``, its address, or ``local`` for a new one on this machine.

    Raises:
        UsageError: where the address is not valid.
        MnfpnError: where Ray is not installed, the cluster does not answer within 20 s, or stops answering later.
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
        _check_answer(address)
    import ray
    from ray import cloudpickle

    with _restored_signal_handlers():
        problem = connect_ray(address)
    if problem:
        raise MnfpnError(Problem(f"`ray` {address}", problem))
    cloudpickle.register_pickle_by_value(worker)  # type: ignore[no-untyped-call]
    try:
        yield
    except BrokenPipeError:
        raise  # standard output's, not Ray's
    except (ray.exceptions.RayError, ConnectionError) as error:
        rule = f"the cluster does not answer any more: {error_line(error)}"
        raise MnfpnError(Problem(f"`ray` {address}", rule)) from error
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Check that a cluster answers, in a process that can be killed: Ray itself would wait for minutes, or abort.

    Raises:
        MnfpnError: where none does.
    """
    command = [sys.executable, "-c", PROBE, address]
    try:
        if address != "auto":
            check_port(address)
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, start_new_session=True)
        answer = " ".join((done.stdout or done.stderr[-300:]).split())
        problem = answer.replace("`", "'") if done.returncode else ""
    except OSError as error:
        problem = str(error)
    except subprocess.TimeoutExpired:
        listening = "" if address == "auto" else "something listens there, but "
        rule = f"{listening}no cluster answers within {ANSWER_S:g} s{HINT}"
        raise MnfpnError(Problem(f"`ray` {address}", rule)) from None
    if problem:
        raise MnfpnError(Problem(f"`ray` {address}", f"does not answer: {problem}{HINT}"))


def check_port(address: str) -> None:
    """Open a connection to an address, and close it.

    Raises:
        OSError: where nothing listens there.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=CONNECT_S):
        pass


def connect_ray(address: str) -> str:
    """Connect this process to a cluster; return the error, or an empty text."""
    import ray

    options: dict[str, Any] = {} if "://" in address else {"log_to_driver": False}  # unknown to a client's server
    options |= {"logging_level": "error"} | ({"include_dashboard": False} if address == "local" else {})
    try:
        ray.init(address, **options)
        ray.nodes()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  any that Ray may raise
        return " ".join(str(error).replace("`", "'").split()) or type(error).__name__
    return ""


@contextmanager
def _restored_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers that Ray replaces: those of this process end a sweep in good order."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)


def error_line(error: BaseException) -> str:
    """Return one line of an error of Ray's: some hold tracebacks, or pages of logs."""
    cause = getattr(error, "cause", None) or error
    return " ".join(first_line(cause).split())[:300] or type(cause).__name__


class Reservation(NamedTuple):
    """The cores and GPUs of a node that a worker reserves; ``kind``: the worker's, as in `Worker`."""

    kind: str
    cpus: float
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster. A machine that leaves and joins again is another node.

    Attributes:
        id: Ray's id.
        name: the host name, with more where two nodes have the same.
        cpus, gpus: the cores and GPUs that Ray may reserve.
        accelerators: the kinds of its GPUs, as Ray names them.
    """

    id: str
    name: str
    cpus: float
    gpus: int
    accelerators: tuple[str, ...]

    def __str__(self) -> str:
        """Its name, cores and GPUs."""
        kinds = f" ({', '.join(self.accelerators)})" if self.accelerators else ""
        return f"{self.name} has {self.cpus:g} cores, {self.gpus} GPUs{kinds}"

    def reservations(self, devices: Collection[str], accelerator: str | None = None) -> list[Reservation]:
        """Return what each worker for some devices reserves here; with an accelerator, only where the node has it.

        For the CPU a worker reserves the whole node; for GPUs each worker reserves one, with its share of the cores.
        Where runs need both, a node with GPUs has one worker: a run on its CPU would slow those on its GPUs.
        """
        if accelerator and accelerator.lower() not in map(str.lower, self.accelerators):
            return []
        if self.gpus and not {"auto", "cuda"}.isdisjoint(devices):
            each_gpu = [Reservation("cuda", self.cpus // self.gpus, 1)] * self.gpus
            return [Reservation("", self.cpus, 1)] if "cpu" in devices else each_gpu
        return [Reservation("cpu", self.cpus)] if self.cpus >= 1 and not {"auto", "cpu"}.isdisjoint(devices) else []


def living_nodes() -> list[Node]:
    """Return the nodes that the cluster has now.

    Raises:
        ConnectionError: where its head is gone: Ray would wait a minute for it, then end this process without an error.
    """
    import ray

    try:
        if not ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
            check_port(ray.get_runtime_context().gcs_address)
    except OSError as error:
        raise ConnectionError(f"its head is gone: {error.strerror or error}") from error
    return parse_nodes(ray.nodes())  # type: ignore[no-untyped-call]


def parse_nodes(listed: Sequence[Any]) -> list[Node]:
    """Return the living nodes of what `ray.nodes` returns, each with the shortest name that no other one has."""
    living = [entry for entry in listed if entry["Alive"]]
    uses = Counter(name for entry in living for name in set(_names(entry)))
    nodes = []
    for entry in living:
        resources, name = entry["Resources"], next(name for name in _names(entry) if uses[name] == 1)
        kinds = sorted(key.removeprefix(ACCELERATOR) for key in resources if key.startswith(ACCELERATOR))
        nodes.append(Node(entry["NodeID"], name, resources.get("CPU", 0.0), int(resources.get("GPU", 0)), tuple(kinds)))
    return nodes


def _names(entry: Any) -> list[str]:
    """Return the names that a node may have, the shortest first."""
    host, address = entry["NodeManagerHostname"], entry["NodeManagerAddress"]
    return [host, *(f"{host} ({more})" for more in (entry.get("NodeName") or address, address, entry["NodeID"][:6]))]


def on_node(remote: Any, node: Node, **options: Any) -> Any:
    """Return a function or class as a remote one that runs on this node alone."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    this_node = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(remote).options(scheduling_strategy=this_node, **options)
