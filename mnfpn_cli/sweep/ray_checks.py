"""Whether a node of a Ray cluster can measure: asked before it gets its first cell."""

from collections.abc import Mapping
from typing import Any

from mnfpn_cli import __version__
from mnfpn_cli.space.cells import KEY_VERSION
from mnfpn_cli.sweep.ray_nodes import Node


def on_node(remote: Any, node: Node, **more: Any) -> Any:
    """A remote function or class for this node and no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False), **more)


def asking(node: Node) -> Any:
    """Ask a node what it has: a reference to what `look_around` will say there."""
    import ray

    from mnfpn_cli.sweep.ray_node import look_around

    return on_node(ray.remote(look_around), node, num_cpus=0).remote()


def problem_of(said: Mapping[str, Any]) -> str:
    """Why a node cannot measure, by what it said; empty where it can."""
    version = said.get("version")
    if version is None:
        return f"its Python ({said['python']}) has no mnfpn: pip install mnfpn=={__version__}"
    if version != __version__:
        return f"it has mnfpn {version}, this is {__version__}"
    if said.get("key_version") != KEY_VERSION:
        return f"its mnfpn measures cells of version {said.get('key_version')}, this one of {KEY_VERSION}"
    if not said["torch"]:
        return f"its Python ({said['python']}) has no torch"
    return ""
