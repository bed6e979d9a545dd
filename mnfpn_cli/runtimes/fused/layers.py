"""Which layers the modules of a fused network compute: some compute several."""

from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Any

from torch import nn

from mnfpn_cli.measure.layer_times import Calls, Layers
from mnfpn_cli.plan.pyramid import SHARED
from mnfpn_cli.plan.roofline import LayerId, LayerWork
from mnfpn_cli.runtimes.fused.blocks import KernelBlock

TOP_DOWN: LayerId = ("pyramid", "top-down")


def called_modules(network: nn.Module, run: Callable[[], object]) -> frozenset[str]:
    """Run a pass of a network, and return the paths of the modules that were called in it."""
    called = set[str]()
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            hooks.callback(module.register_forward_pre_hook(partial(_note, called, path)).remove)
        run()
    return frozenset(called)


def _note(called: set[str], path: str, _module: nn.Module, _args: Any) -> None:
    called.add(path)


def fused_calls(network: nn.Module, works: Sequence[LayerWork], called: Container[str]) -> Calls:
    """Return which layers the calls of each module of a fused network compute.

    Args:
        network: the fused network, which has the paths of the original one.
        works: the layers of the original network.
        called: the paths of the modules that a pass calls.
    """
    modules = dict(network.named_modules())
    calls = {path: list(layers) for path, layers in Layers(works).calls().items()}
    for work in works:
        block = modules.get(work.path)
        if work.path.startswith("stages.") and work.operation == "move" and block and list(block.children()):
            last = "restore" if hasattr(block, "restore") else list(dict(block.named_children()))[-1]
            calls[f"{work.path}.{last}"] = [(*calls[f"{work.path}.{last}"][0], work.id)]  # it adds the input
    if "pyramid" in modules:
        calls.update(_pyramid_calls(network.get_submodule("pyramid"), calls))
    calls.update(_level_calls(modules, works))
    calls.update(_block_calls(modules, calls, works))
    return {path: layers for path, layers in calls.items() if path in called}


def _block_calls(
    modules: Mapping[str, nn.Module], calls: Calls, works: Sequence[LayerWork]
) -> dict[str, list[tuple[LayerId, ...]]]:
    """Return the calls of blocks of kernels: each computes several layers at once, and calls none of its modules."""
    macs = {work.id: work.macs for work in works}
    made = dict[str, list[tuple[LayerId, ...]]]()
    for path, block in modules.items():
        if isinstance(block, KernelBlock) and all(conv.path in calls for conv in block.roles.values()):
            several = zip(*(calls[conv.path] for conv in block.roles.values()), strict=True)
            made[path] = [tuple(sorted(chain(*layers), key=lambda layer: -macs.get(layer, -1))) for layers in several]
    return made


def _pyramid_calls(pyramid: nn.Module, calls: Calls) -> dict[str, list[tuple[LayerId, ...]]]:
    """Return the calls of a pyramid: laterals add the coarser map, and early smoothing computes a whole level.

    The levels are smoothed from the coarsest on.
    """
    names, early = (
        list(pyramid.get_submodule("lateral")._modules),
        dict(pyramid.get_submodule("early").named_children()),
    )
    made = dict[str, list[tuple[LayerId, ...]]]()
    for name in names[:-1] if pyramid.merge == "add" else ():
        lateral = f"pyramid.lateral.{name}"
        made[lateral] = [(*calls[lateral][0], TOP_DOWN)]
        if name in early:
            smooths = (one for path, layers in calls.items() if path.startswith("pyramid.smooth.") for one in layers)
            (smooth,) = next(one for one in smooths if one[0][1] == f"smooth {name}")
            made[f"pyramid.early.{name}"] = [(smooth, *made[lateral][0])]
    later = [f"smooth {name}" for name in reversed(names) if name not in early]
    for path, layers in calls.items():
        if path.startswith(f"pyramid.smooth.{SHARED}"):
            by_part = {one[0][1]: one for one in layers}
            made[path] = [by_part[part] for part in later if part in by_part] or list(layers)
    return made


def _level_calls(modules: Mapping[str, nn.Module], works: Sequence[LayerWork]) -> dict[str, list[tuple[LayerId, ...]]]:
    """Return the calls of towers that levels shared: each level has one of its own, with its norms folded in."""
    made = defaultdict[str, list[LayerWork]](list)
    for work in works:
        kind, _, level = work.part.partition(" ")
        own = work.path.replace(f".{SHARED}.", f".{level}.").replace(f".norms.{level}.", f".{level}.tower.")
        if kind == "head" and own != work.path:
            while own not in modules:
                own = own.rpartition(".")[0]
            made[own].append(work)
    return {
        path: [tuple(work.id for work in sorted(layers, key=lambda work: -work.macs))]
        for path, layers in made.items()
        if f".{layers[0].part.partition(' ')[2]}." in f"{path}."
    }
