"""ptflops' MACs, by its hooks on modules and its patches of functions (ptflops 0.7.5, pytorch_ops.py)."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from mnfpn_cli.audit.counters import functions as shared
from mnfpn_cli.audit.counters.record import CountError, FunctionCall, Record, visits
from mnfpn_cli.audit.counters.recurrent import CELLS, LAYERS, by_weights
from mnfpn_cli.trace.observe import ModuleCall, Shape

ModuleRule = Callable[[ModuleCall], int]


def count_ptflops(record: Record) -> int:
    """What ``get_model_complexity_info`` gives: types that it knows, exactly, and functions that it patches.

    What is both, as ``nn.ReLU`` that calls ``F.relu``, counts twice. Modules are for one image of the batch, functions
    for all of it; several inputs are given by name, where it takes the batch for one image.
    """
    summed = visits(record.network, lambda one: _rule(one) is not None)
    ruled = ((_rule(call.module), call) for call in record.calls)
    modules = sum(rule(call) * summed[call.module] for rule, call in ruled if rule is not None)
    patched = (call for call in shared.seen_by_patches(record) if call.function in FUNCTIONS)
    inputs = record.facts.inputs
    batch = inputs[0].shape[0] if len(inputs) == 1 else 1
    return int(modules / batch + sum(FUNCTIONS[call.function](call) for call in patched))


def doubts(record: Record) -> tuple[str, ...]:
    """Why its number may be another."""
    deformable = any(type(module).__name__ == "DeformConv2d" for module in record.facts.paths)
    return (*shared.doubts_of_patches(record), *["its rule for DeformConv2d is not derived"] * deformable)


def _rule(module: nn.Module) -> ModuleRule | None:
    """By the very type; timm is not imported here, and told by name."""
    kind = type(module)
    timm = kind.__name__ == "Attention" and kind.__module__ in TIMM
    return _timm_attention if timm else MODULES.get(kind)


def _read(call: ModuleCall) -> Shape:
    if not call.inputs:
        raise CountError(f"ptflops fails where {type(call.module).__name__} is called with keywords alone")
    return call.inputs[0]


def _convolution(call: ModuleCall) -> int:
    """MACs and bias adds."""
    weight, output = call.module.get_parameter("weight"), call.outputs[0]
    bias = prod(output) if call.module.bias is not None else 0
    return output[0] * weight.numel() * prod(output[2:]) + bias


def _transposed(call: ModuleCall) -> int:
    weight, read, output = call.module.get_parameter("weight"), _read(call), call.outputs[0]
    bias = prod(output) if call.module.bias is not None else 0
    return read[0] * weight.numel() * prod(read[2:]) + bias


def _linear(call: ModuleCall) -> int:
    read, columns = _read(call), call.outputs[0][-1]
    return prod(read[:-1]) * (read[-1] * columns + (columns if call.module.bias is not None else 0))


def _norm(call: ModuleCall) -> int:
    """Two an element with ``affine``; one without, and for ``nn.LayerNorm``, which has no attribute of that name."""
    return prod(_read(call)) * (2 if getattr(call.module, "affine", False) else 1)


def _outputs(call: ModuleCall) -> int:
    return prod(call.outputs[0])


def _inputs(call: ModuleCall) -> int:
    return prod(_read(call))


def _upsample(call: ModuleCall) -> int:
    """The first image alone."""
    return prod(call.outputs[0][1:])


def _recurrent(call: ModuleCall) -> int:
    return by_weights(call.module, _read(call), flops=False)


def _attention(call: ModuleCall) -> int:
    """Its own formula, whatever torch does."""
    if len(call.inputs) != 3:
        raise CountError("ptflops fails where nn.MultiheadAttention is not called with three positional inputs")
    assert isinstance(call.module, nn.MultiheadAttention)
    length = 1 if call.module.batch_first else 0
    (q, wide), (k, kdim), (v, vdim) = ((shape[length], shape[2]) for shape in call.inputs)
    flops = q * wide + q * wide * wide + k * kdim * kdim + v * vdim * vdim + q * vdim * (vdim + 1)
    if call.module.in_proj_bias is not None:
        flops += (q + k + v) * wide
    heads = int(call.module.num_heads)
    return call.inputs[0][1 - length] * (flops + heads * q * k * (wide // heads + 1 + vdim // heads))


def _timm_attention(call: ModuleCall) -> int:
    """Scaling, products and softmax; the dense layers below it are lost, as the sum ends here."""
    batch, tokens, _ = _read(call)
    heads, width = call.module.num_heads, call.module.head_dim
    assert isinstance(heads, int)
    assert isinstance(width, int)
    return batch * heads * (tokens * width + tokens * tokens * (2 * width + 1))


TIMM = ("timm.layers.attention", "timm.models.vision_transformer")
"""Where the attention is that it imports, in newer and in older versions."""

MODULES: dict[type[nn.Module], ModuleRule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed),
    **dict.fromkeys((nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU), _outputs),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _inputs),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _inputs),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _inputs),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm), _norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _norm),
    **dict.fromkeys((*LAYERS, *CELLS), _recurrent),
    nn.Linear: _linear,
    nn.Upsample: _upsample,
    nn.MultiheadAttention: _attention,
}


def _interpolate(call: FunctionCall) -> float:
    """Elements of the output; by a scale that is no whole number, what comes of multiplying."""
    scale, shape = call.get(2, "scale_factor"), call.shape(0, "input")
    pooled = prod(shape) if shared.pools(call) else 0
    if call.get(1, "size") is not None:
        return prod(call.output) + pooled
    if isinstance(scale, tuple):
        return prod(shape) * int(prod(scale)) + pooled
    return prod(shape) * float(scale) ** (len(shape) - 2) + pooled


def _addmm(call: FunctionCall) -> float:
    return shared.addmm(call) + (prod(call.shape(0, "input")) if call.get(3, "beta", 1) else 0)


def _heads(call: FunctionCall) -> float:
    """Products and softmax that ``F.multi_head_attention_forward`` takes apart, besides the module's own formula."""
    found = shared.attention(call)
    return (2 * found.product + found.scores) * found.weights


FUNCTIONS: dict[Any, shared.Rule] = {
    **dict.fromkeys((F.relu, F.prelu, F.elu, F.relu6, F.gelu, F.silu, F.softmax), shared.input_elements),
    **dict.fromkeys(shared.POOLINGS, shared.input_elements),
    **dict.fromkeys((*shared.MATMUL, *shared.MM), shared.matmul),
    **dict.fromkeys((*shared.ADDMM, torch.baddbmm), _addmm),
    **dict.fromkeys(shared.ELEMENTWISE, shared.output_elements),
    F.interpolate: _interpolate,
    F.multi_head_attention_forward: _heads,
}
