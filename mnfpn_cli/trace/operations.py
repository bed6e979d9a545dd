"""The operations of torch that a trace records: the kind of each, its name, and its MACs."""

from functools import cache
from typing import Any, Literal

import torch
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

OperationKind = Literal[
    "convolution", "dense", "batch_norm", "norm", "activation", "resize", "addition", "product", "pooling", "copy"
]

_NAMES: dict[OperationKind, str] = {
    "convolution": "convolution conv_transpose2d",
    "dense": "addmm mm bmm baddbmm _trilinear _scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention",
    "batch_norm": "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm "
    "_batch_norm_with_update",
    "norm": "native_layer_norm native_group_norm _fused_rms_norm",
    "activation": "relu relu_ hardtanh hardtanh_ silu silu_ gelu gelu_ hardswish hardswish_ hardsigmoid hardsigmoid_ "
    "sigmoid sigmoid_ tanh tanh_ leaky_relu leaky_relu_ elu elu_ _softmax _safe_softmax _log_softmax mish mish_ "
    "softplus _prelu_kernel glu clamp clamp_ clamp_min clamp_min_ exp",
    "resize": "upsample_bilinear2d upsample_nearest2d upsample_bicubic2d upsample_nearest1d upsample_linear1d "
    "upsample_trilinear3d upsample_nearest3d _upsample_nearest_exact2d _upsample_bilinear2d_aa grid_sampler_2d",
    "addition": "add add_ sub sub_",
    "product": "mul mul_ div div_ pow",
    "pooling": "max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d mean _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_max_pool2d sum",
    "copy": "cat stack constant_pad_nd reflection_pad2d replication_pad2d roll",
}
_SHORT = {
    "convolution": "conv",
    "addmm": "linear",
    "mm": "matmul",
    "bmm": "matmul",
    "baddbmm": "matmul",
    "_trilinear": "bilinear",
    "cat": "concat",
    "hardtanh": "clamp",
    "constant_pad_nd": "pad",
    "native_batch_norm": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
}


def _short(name: str, kind: OperationKind) -> str:
    """Return the common name of an operation."""
    if kind == "resize":
        return "resize"
    if "scaled_dot_product" in name:
        return "attention"
    plain = name.removesuffix("_")
    return _SHORT.get(plain, plain.removeprefix("_").removeprefix("safe_").removesuffix("_with_indices"))


OPERATIONS: dict[Any, tuple[OperationKind, str]] = {
    getattr(aten, name): (kind, _short(name, kind))
    for kind, names in _NAMES.items()
    for name in names.split()
    if hasattr(aten, name)
}
"""The kind of each operation, and its name in a table of layers."""


def _bilinear_flops(_x: Any, weight: Any, *_rest: Any, out_val: Any) -> int:
    """Return the FLOPs of ``nn.Bilinear``, by weights (out, features, other features): each is in one MAC per row."""
    return 2 * int(out_val.numel()) * int(weight.shape[1]) * int(weight.shape[2])


_FORMULAS: dict[Any, Any] = {
    **flop_registry,
    # torch has no formula for its attention kernel for CPUs
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._trilinear: _bilinear_flops,
}

_UNCOUNTED = (
    "mv addmv dot vdot addbmm _sparse_addmm sparse_sampled_addmm quantized_lstm quantized_gru _int_mm _scaled_mm "
    "_weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros "
    "_dyn_quant_matmul_4bit _grouped_mm _scaled_grouped_mm _sparse_semi_structured_mm _sparse_semi_structured_linear "
    "_flash_attention_forward _efficient_attention_forward conv_tbc _cdist_forward"
)
"""The operations of torch that multiply and add, and are not in ``OPERATIONS``."""


def macs_of(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Return half the FLOPs of torch's own formula for an operation; 0 for operations without a formula."""
    formula = _FORMULAS.get(packet)
    return int(formula(*args, **kwargs, out_val=result)) // 2 if formula else 0


@cache
def is_uncounted(func: Any) -> bool:
    """Return whether an operation multiplies and adds, but its MACs are not counted: quantised and sparse ones."""
    name = func.overloadpacket.__name__
    if func.namespace == "quantized":
        return "pack" not in name and any(product in name for product in ("linear", "conv", "matmul"))
    return (func.namespace == "aten" and name in _UNCOUNTED.split()) or name == "deform_conv2d"


def bias_elements(packet: Any, args: tuple[Any, ...], outputs: int) -> int:
    """Return the elements that a bias is added to: all outputs of a convolution or dense layer with a bias, else 0."""
    biased = (packet is aten.convolution and args[2] is not None) or packet is aten.addmm
    return outputs if biased else 0


def check_channels(packet: Any, args: tuple[Any, ...]) -> None:
    """Check the channels of the input of a convolution against its weights; torch does so only on real tensors.

    Raises:
        RuntimeError: where they differ.
    """
    if packet is not aten.convolution:
        return
    x, weight, transposed, groups = args[0], args[1], args[6], args[8]
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    if x.shape[-weight.dim() + 1] != channels:
        raise RuntimeError(f"the input of a convolution must have {channels} channels, got shape {tuple(x.shape)}")


WINDOWED: tuple[OperationKind, ...] = ("convolution", "pooling", "resize")
"""The kinds of operations on windows of a map, which torch refuses where no window fits."""


def check_not_empty(kind: OperationKind, name: str, output: tuple[int, ...], args: tuple[Any, ...]) -> None:
    """Check that an operation on windows of a map has an output; torch does so only on real tensors.

    Raises:
        RuntimeError: where its output is empty.
    """
    if kind in WINDOWED and 0 in output and isinstance(args[0], torch.Tensor) and args[0].numel():
        raise RuntimeError(f"{name} has an empty output for an input of shape {tuple(args[0].shape)}")
