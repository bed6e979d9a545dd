"""thop's MACs, by its hooks on modules (thop 0.1.1-2209072238, profile.py and vision/basic_hooks.py)."""

from collections.abc import Callable
from math import prod

from torch import nn

from mnfpn_cli.audit.counters.record import CountError, Record, visits
from mnfpn_cli.audit.counters.recurrent import CELLS, LAYERS, by_gates
from mnfpn_cli.trace.observe import ModuleCall

Rule = Callable[[ModuleCall], int]


def count_thop(record: Record) -> int:
    """What ``profile(network, inputs)`` gives: types that it knows, exactly, and nothing below them.

    A module that two parents share is hooked twice, and summed twice.
    """
    hooked = visits(record.network)
    summed = visits(record.network, lambda one: one is not record.network and _ends(one))
    known = (call for call in record.calls if type(call.module) in RULES and call.module in summed)
    return sum(RULES[type(call.module)](call) * hooked[call.module] * summed[call.module] for call in known)


def _ends(module: nn.Module) -> bool:
    """Whether the sum goes no deeper: at every type that has a rule, containers excepted."""
    return type(module) in RULES or type(module) in FREE


def _read(call: ModuleCall) -> tuple[int, ...]:
    if not call.inputs:
        raise CountError(f"thop fails where {type(call.module).__name__} is called with keywords alone")
    return call.inputs[0]


def _convolution(call: ModuleCall) -> int:
    """MACs of a convolution; the same formula for transposed ones, which it does not fit."""
    weight, groups = call.module.get_parameter("weight"), call.module.groups
    assert isinstance(groups, int)
    return prod(call.outputs[0]) * (_read(call)[1] // groups) * prod(weight.shape[2:])


def _norm(call: ModuleCall) -> int:
    """Two an element, four with scale and shift."""
    affine = getattr(call.module, "affine", False) or getattr(call.module, "elementwise_affine", False)
    return prod(_read(call)) * (4 if affine else 2)


def _linear(call: ModuleCall) -> int:
    assert isinstance(call.module, nn.Linear)
    return call.module.in_features * prod(call.outputs[0])


def _softmax(call: ModuleCall) -> int:
    shape, dim = _read(call), call.module.dim
    if not isinstance(dim, int):
        raise CountError("thop fails on nn.Softmax without dim")
    return prod(shape) // shape[dim] * (3 * shape[dim] - 1)


def _average(call: ModuleCall) -> int:
    return prod(call.outputs[0])


def _adaptive_average(call: ModuleCall) -> int:
    """The ratio of the sides and one, for each element of the output; an input without a batch loses a side."""
    sides = zip(_read(call)[2:], call.outputs[0][2:], strict=True)
    return int((prod(before / after for before, after in sides) + 1) * prod(call.outputs[0]))


def _upsample(call: ModuleCall) -> int:
    each = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}
    return each.get(str(call.module.mode), 0) * prod(call.outputs[0])


def _prelu(call: ModuleCall) -> int:
    return prod(_read(call))


def _recurrent(call: ModuleCall) -> int:
    return by_gates(call.module, _read(call))


RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm), _norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _norm),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _average),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_average),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), _upsample),
    **dict.fromkeys((*LAYERS, *CELLS), _recurrent),
    nn.Linear: _linear,
    nn.Softmax: _softmax,
    nn.PReLU: _prelu,
}
"""Types that cost something."""

FREE: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Dropout, nn.PixelShuffle, nn.ZeroPad2d)
"""Types that it knows and that cost nothing."""
