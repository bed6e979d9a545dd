"""The nodes of a Ray cluster, and the shares of them that workers reserve."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mnfpn_cli.sweep.ray.connect import knock

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
