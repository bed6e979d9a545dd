"""The layers of a network that a quantiser quantises, and the paths by which a user names them."""

from collections.abc import Iterable

from torch import nn

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

QuantisedLayer = nn.Conv2d | nn.Linear
"""What has weights in int8: a convolution, or a dense layer."""


def quantised_layers(network: nn.Module) -> dict[str, QuantisedLayer]:
    """Return the convolutions and dense layers of a network by their paths; a shared one has its first path."""
    return {path: module for path, module in network.named_modules() if isinstance(module, QuantisedLayer)}


def expand_keep_float(network: nn.Module, paths: Iterable[str]) -> frozenset[str]:
    """Return the paths of the layers that stay in float32.

    Args:
        network: the network.
        paths: of layers, and of modules of which all layers are meant, as ``head``.

    Raises:
        UsageError: where a path is none of the network, or no layer is below it.
    """
    layers, modules = quantised_layers(network), dict(network.named_modules(remove_duplicate=False))
    found, problems = set[str](), list[Problem]()
    for path in paths:
        module = modules.get(path) if path else None
        below = quantised_layers(module).values() if module is not None else ()
        found |= {name for name, layer in layers.items() if any(layer is one for one in below)}
        if module is None:
            rule = "must be the path of a layer, or of a module that has layers"
            hint = did_you_mean(path, filter(None, modules))
            problems.append(Problem("`keep_float`", rule, f"'{path}'", hint))
        elif not below:
            rule = "must have a convolution or dense layer, which alone are quantised"
            problems.append(Problem("`keep_float`", rule, f"'{path}', of class {type(module).__name__}"))
    if problems:
        raise UsageError(*problems)
    return frozenset(found)


def short_paths(network: nn.Module) -> dict[str, str]:
    """Return for each layer the path of the outermost module that has no other layer.

    As ``stages.1.0.depthwise`` for ``stages.1.0.depthwise.conv``, which has a norm and an activation beside it.
    """
    layers = quantised_layers(network)
    return {path: _shortest(path, layers) for path in layers}


def _shortest(path: str, layers: Iterable[str]) -> str:
    parts = path.split(".")
    for length in range(1, len(parts)):
        start = ".".join(parts[:length])
        if sum(one == start or one.startswith(f"{start}.") for one in layers) == 1:
            return start
    return path
