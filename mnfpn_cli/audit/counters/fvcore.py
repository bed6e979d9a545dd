"""fvcore's count, by its rules for operations of a trace (fvcore 0.1.5, nn/flop_count.py and nn/jit_handles.py)."""

from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from mnfpn_cli.audit.counters.functions import (
    ADDMM,
    CELLS,
    CONVOLUTIONS,
    JOINT,
    MATMUL,
    MM,
    TRANSPOSED,
    Rule,
    addmm,
    attention,
    convolution,
    einsum,
    input_elements,
    linear,
    matmul,
    pools,
)
from mnfpn_cli.audit.counters.record import CountError, FunctionCall, Record


def count_fvcore(record: Record) -> int:
    """What ``FlopCountAnalysis(network, inputs).total()`` gives: MACs, and its own weights for other operations."""
    if any(one.requires_grad for one in record.unregistered):
        raise CountError("fvcore fails where parameters are not registered: their layer is in a plain list, as a rule")
    if any(call.function in JOINT for call in record.functions):
        raise CountError("functions are used that call counted ones themselves")
    return int(sum(RULES[call.function](call) for call in record.functions if call.function in RULES))


def doubts(record: Record) -> tuple[str, ...]:
    """Why its number may be another: torch has a shorter way through attention where no gradients are wanted."""
    modules = {call.inside for call in record.functions if call.function is F.multi_head_attention_forward}
    joined = any(isinstance(one, nn.MultiheadAttention) and one.batch_first for one in modules)
    return ("under torch.no_grad() it misses nn.MultiheadAttention",) if joined else ()


def _convolution(call: FunctionCall) -> float:
    """``padding="same"`` traces to an operation that has no rule."""
    return 0 if isinstance(call.get(4, "padding"), str) else convolution(call)


def _transposed(call: FunctionCall) -> float:
    x, weight = call.shape(0, "input"), call.shape(1, "weight")
    return x[0] * prod(weight) * prod(x[2:])


def _normalized(call: FunctionCall, each: int) -> float:
    shape = call.shape(0, "input")
    if not 2 <= len(shape) <= 5:
        raise CountError(f"fvcore fails where an input of {len(shape)} dimensions is normalised")
    return each * prod(shape)


def _batch_norm(call: FunctionCall) -> float:
    """Two an element in inference, one without scale and shift; with the batch's own statistics as any other norm."""
    affine = call.get(3, "weight") is not None
    if call.get(5, "training", False):
        return _normalized(call, 5 if affine else 4)
    return input_elements(call) * (2 if affine else 1)


def _group_norm(call: FunctionCall) -> float:
    return _normalized(call, 5 if call.get(2, "weight") is not None else 4)


def _instance_norm(call: FunctionCall) -> float:
    return _normalized(call, 5 if call.get(3, "weight") is not None else 4)


def _interpolate(call: FunctionCall) -> float:
    """Four an element for bilinear, one for nearest; other modes have no rule, save ``area``, which is pooling."""
    mode = call.get(3, "mode", "nearest")
    if len(call.output) != 4 or call.get(6, "antialias", False):
        return 0
    if pools(call):
        return input_elements(call)
    return {"nearest": 1, "bilinear": 4}.get(mode, 0) * prod(call.output)


def _grid_sample(call: FunctionCall) -> float:
    return 4 * prod(call.output)


def _attention(call: FunctionCall) -> float:
    """The dense layers, and the products where torch takes them apart; fused attention has no rule."""
    found = attention(call)
    return found.projections + 2 * found.product * found.weights


def _cell(call: FunctionCall) -> float:
    """The dense layers of a recurrent cell; ``nn.LSTM`` and its kind are one operation that has no rule."""
    return call.shape(0, "input")[0] * (prod(call.shape(2, "w_ih")) + prod(call.shape(3, "w_hh")))


def _einsum(call: FunctionCall) -> float:
    return einsum(call) // 2


RULES: dict[Any, Rule] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(TRANSPOSED, _transposed),
    **dict.fromkeys((*MATMUL, *MM), matmul),
    **dict.fromkeys(ADDMM, addmm),
    **dict.fromkeys(CELLS, _cell),
    F.linear: linear,
    torch.einsum: _einsum,
    F.batch_norm: _batch_norm,
    F.group_norm: _group_norm,
    F.layer_norm: _group_norm,
    F.instance_norm: _instance_norm,
    F.interpolate: _interpolate,
    F.adaptive_avg_pool2d: input_elements,
    F.grid_sample: _grid_sample,
    F.multi_head_attention_forward: _attention,
}
"""What a function's operations are counted as."""
