"""The nodes of a Ray cluster, and the places on them where cells can be measured."""

import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.sweep.ray.connect import CONNECT_S

ACCELERATOR = "accelerator_type:"


@dataclass(frozen=True, slots=True)
class Node:
    """A machine as Ray knows it: the same one that joins again is another node.

    Attributes:
        id: Ray's.
        host: the machine's name.
        address: its IP address.
        label: the name that it was given when it joined; the address where it was given none.
        cpus, gpus: that Ray may give away.
        accelerators: the kinds of its GPUs.
    """

    id: str
    host: str
    address: str
    label: str
    cpus: float
    gpus: int
    accelerators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What cells are for: devices (``auto``, ``cpu``, ``cuda``), on nodes with GPUs of a kind where one is named."""

    devices: frozenset[str]
    accelerator: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where one cell at a time is measured, and what is reserved for that. ``kind``: as `Lane` has it."""

    kind: str
    cpus: float
    gpus: int = 0
    accelerator: str | None = None


def alive() -> dict[str, Node]:
    """The nodes that are part of the cluster now, by their ids."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {one["NodeID"]: _node(one) for one in nodes if one["Alive"]}


def check_head() -> None:
    """Make sure that the cluster's head is there: Ray waits a minute for it, then ends this process on the spot.

    Raises:
        ConnectionError: where it is not.
    """
    import ray

    if ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
        return  # the client's server asks it
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            pass
    except OSError as error:
        raise ConnectionError(f"its head is gone: {error.strerror or error}") from error


def places(node: Node, wanted: Wanted) -> list[Place]:
    """Where on a node cells are measured.

    Each of its GPUs is a place, with its share of the cores; or the whole node is one, for the CPU. Where cells for
    both are wanted, a node with GPUs is one place for both: a cell on its CPU would slow those on its GPUs.
    """
    accelerator = next((one for one in node.accelerators if _same(one, wanted.accelerator)), None)
    if wanted.accelerator is not None and accelerator is None:
        return []
    if node.gpus and wanted.devices & {"auto", "cuda"}:
        if "cpu" in wanted.devices:
            return [Place("", node.cpus, 1, accelerator)]
        return [Place("cuda", node.cpus // node.gpus, 1, accelerator)] * node.gpus
    if node.cpus >= 1 and wanted.devices & {"auto", "cpu"}:
        return [Place("cpu", node.cpus)]
    return []


def check_wanted(address: str, nodes: Collection[Node], wanted: Wanted) -> None:
    """Make sure that every cell has a node that can measure it.

    Raises:
        MnfpnError: where one has none, with what there is.
    """
    chosen = [node for node in nodes if places(node, wanted)]
    if wanted.accelerator is not None and not chosen:
        kinds = sorted({one for node in nodes for one in node.accelerators})
        rule = f"must be a kind of GPU that the cluster has ({', '.join(kinds) or 'it has none'})"
        raise MnfpnError(f"--accelerator: {rule}, got '{wanted.accelerator}'")
    if "cuda" in wanted.devices and not any(node.gpus for node in chosen):
        raise MnfpnError(f"--device cuda: none of the cluster's nodes has a GPU, of {len(nodes)} at {address}")
    if not chosen:
        raise MnfpnError(f"--ray {address}: no node of the cluster has a core to measure on")


def node_name(node: Node, others: Iterable[Node]) -> str:
    """What rows call a node: the machine's name, with what tells it from others of that name that are there."""
    same = [one for one in others if one.host == node.host and one.id != node.id]
    if not same:
        return node.host
    for attribute in ("label", "address"):
        if getattr(node, attribute) not in {getattr(one, attribute) for one in same}:
            return f"{node.host} ({getattr(node, attribute)})"
    return f"{node.host} ({node.id[:6]})"


def _same(one: str, other: str | None) -> bool:
    return other is not None and one.lower() == other.lower()


def _node(said: Mapping[str, Any]) -> Node:
    resources: Mapping[str, float] = said["Resources"]
    kinds = tuple(sorted(key.removeprefix(ACCELERATOR) for key in resources if key.startswith(ACCELERATOR)))
    address = said["NodeManagerAddress"]
    return Node(
        said["NodeID"],
        said["NodeManagerHostname"],
        address,
        said.get("NodeName") or address,
        resources.get("CPU", 0.0),
        int(resources.get("GPU", 0)),
        kinds,
    )
