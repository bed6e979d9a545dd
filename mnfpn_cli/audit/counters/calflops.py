"""calflops' FLOPs, by its patches of functions (calflops 0.3.2, pytorch_ops.py), its errors included."""

from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from mnfpn_cli.audit.counters import functions as shared
from mnfpn_cli.audit.counters.record import CountError, FunctionCall, Record, visits
from mnfpn_cli.audit.counters.recurrent import CELLS, LAYERS, by_weights


def count_calflops(record: Record) -> int:
    """What ``calculate_flops`` gives: functions that it patches, each on the account of the module that calls it.

    A layer in a plain list is on its owner's account; what is on the account of a module that two parents share counts
    twice.
    """
    if not any(True for _ in record.network.parameters()):
        raise CountError("calflops fails on a network without parameters")
    summed = visits(record.network)
    patched = (call for call in shared.seen_by_patches(record) if call.function in FUNCTIONS)
    recurrent = (call for call in record.calls if type(call.module) in (*LAYERS, *CELLS))
    steps = sum(by_weights(call.module, call.inputs[0], flops=True) * summed[call.module] for call in recurrent)
    return int(steps + sum(FUNCTIONS[call.function](call) * summed[call.inside] for call in patched))


def _convolution(call: FunctionCall) -> float:
    bias = prod(call.output) if call.get(2, "bias") is not None else 0
    return 2 * shared.convolution(call) + bias


def _transposed(call: FunctionCall) -> float:
    """Its own: groups divide twice, and the output's size is worked out as that of a plain convolution."""
    shape, weight = call.shape(0, "input"), call.shape(1, "weight")
    groups = int(call.get(6, "groups", 1))
    macs = shape[0] * prod(shape[2:]) * shape[1] * (weight[1] // groups) * prod(weight[2:])
    if call.get(2, "bias") is None:
        return 2 * macs
    numbers = [call.get(3, "stride", 1), call.get(4, "padding", 0), call.get(7, "dilation", 1)]
    each = zip(*(one if isinstance(one, tuple) else (one,) * len(shape[2:]) for one in numbers), strict=True)
    sides: list[int] = [
        (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, (stride, padding, dilation) in zip(shape[2:], weight[2:], each, strict=True)
    ]
    return 2 * macs + weight[1] * shape[0] * prod(sides)


def _linear(call: FunctionCall) -> float:
    return 2 * shared.linear(call)


def _matmul(call: FunctionCall) -> float:
    return 2 * shared.matmul(call)


def _addmm(call: FunctionCall) -> float:
    return 2 * shared.addmm(call) + prod(call.shape(0, "input"))


def _batch_norm(call: FunctionCall) -> float:
    affine = call.get(3, "weight") is not None
    each = (5 if affine else 4) if call.get(5, "training", False) else (2 if affine else 1)
    return each * shared.input_elements(call)


def _norm(call: FunctionCall) -> float:
    """Of layers and groups."""
    return (5 if call.get(2, "weight") is not None else 4) * shared.input_elements(call)


def _instance_norm(call: FunctionCall) -> float:
    return (5 if call.get(3, "weight") is not None else 4) * shared.input_elements(call)


def _interpolate(call: FunctionCall) -> float:
    """Its own: height times width, channels and batch forgotten; by a scale, the elements of the input."""
    if not call.arguments:
        raise CountError("calflops fails where F.interpolate is called with keywords alone")
    size, pooled = call.get(1, "size"), shared.input_elements(call) if shared.pools(call) else 0
    if size is None:
        return shared.input_elements(call) + pooled
    return (prod(size) if isinstance(size, tuple) else int(size)) + pooled


def _attention(call: FunctionCall) -> float:
    """The dense layers, and softmax where torch takes attention apart; ``torch.bmm`` is not patched."""
    found = shared.attention(call)
    return 2 * found.projections + found.scores * found.weights


ACTIVATIONS: tuple[Any, ...] = (F.relu, F.prelu, F.elu, F.leaky_relu, F.relu6, F.silu, F.gelu, F.softmax)
FUNCTIONS: dict[Any, shared.Rule] = {
    **dict.fromkeys(shared.CONVOLUTIONS, _convolution),
    **dict.fromkeys(shared.TRANSPOSED, _transposed),
    **dict.fromkeys((*ACTIVATIONS, *shared.POOLINGS), shared.input_elements),
    **dict.fromkeys(shared.MATMUL, _matmul),
    **dict.fromkeys((*shared.ADDMM, torch.baddbmm), _addmm),
    **dict.fromkeys(shared.ELEMENTWISE, shared.output_elements),
    F.linear: _linear,
    F.batch_norm: _batch_norm,
    F.layer_norm: _norm,
    F.group_norm: _norm,
    F.instance_norm: _instance_norm,
    F.interpolate: _interpolate,
    F.multi_head_attention_forward: _attention,
    torch.einsum: shared.einsum,
}
