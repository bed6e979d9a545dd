"""What executes convolutions and matrix products: torch's own operations, oneDNN's, and quantised ones.

A trace counts the layers of a network; here are the operations that a runtime put in their place.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from mnfpn_cli.trace.operations import macs_of

aten = torch.ops.aten

LIBRARIES = ("mkldnn", "mkl", "onednn")
"""The namespaces of operations that torch calls in place of its own on CPUs; they are private to torch."""

FIRST_OPERANDS = ("X", "qx")
"""The names that these libraries give to the tensor that is multiplied by weights."""

COMPUTED_IN = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
    torch.int8: "int8",
    torch.uint8: "int8",
    torch.qint8: "int8",
    torch.quint8: "int8",
}
"""What layers compute in, by the dtype of their operands: of quantised ones, maps may be unsigned."""

CONVERSIONS = ("_to_copy", "convert_element_type", "quantize_per_tensor", "dequantize_per_tensor")
"""Operations that return their input in another dtype."""


@dataclass(frozen=True, slots=True)
class Product:
    """A convolution or matrix product: what it computes in, and its MACs for the whole batch."""

    dtype: str
    macs: int


def product_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Product | None:
    """Return what an operation multiplies and adds; None for operations that do not.

    ``args``, ``kwargs`` and ``result`` need shapes and dtypes alone: fake tensors will do.
    """
    if getattr(func, "namespace", "") in LIBRARIES:
        named = named_arguments(func, args)
        operand = next((named[name] for name in FIRST_OPERANDS if name in named), None)
        macs = 0 if operand is None else _library_macs(func.overloadpacket.__name__, operand, named, result)
    else:
        packet = getattr(func, "overloadpacket", None)
        operand = next((value for value in args if isinstance(value, Tensor)), None)
        macs = _recurrent_macs(*args[:3]) if packet is aten.mkldnn_rnn_layer else macs_of(packet, args, kwargs, result)
    return Product(_computed_in(operand), macs) if macs and operand is not None else None


def named_arguments(func: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the positional arguments of an operation by their names."""
    return {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)}


def _recurrent_macs(sequence: Tensor, of_input: Tensor, of_state: Tensor) -> int:
    """Return the MACs of a layer of an LSTM, whose gates are products with each element (length, batch, features)."""
    return prod(sequence.shape[:2]) * (of_input.numel() + of_state.numel())


def _library_macs(name: str, operand: Tensor, named: dict[str, Any], result: Tensor) -> int:
    """Return the MACs of an operation of a library, whose weights may be in an order of its own."""
    if "linear" in name:
        return prod(result.shape) * operand.shape[-1]
    if "conv" not in name:
        return 0
    weight: Tensor = named["W"] if "W" in named else named["qw"]
    if "transpose" in name:
        return prod(operand.shape) * (result.shape[1] // int(named["groups"])) * prod(weight.shape[2:])
    return prod(result.shape) * prod(weight.shape[1:])  # (out, in / groups, ...), whatever its order in memory


def is_conversion(func: Any, args: tuple[Any, ...], result: Any) -> bool:
    """Return whether an operation only converts a tensor from one dtype that layers compute in to another."""
    if getattr(getattr(func, "overloadpacket", None), "__name__", "") not in CONVERSIONS:
        return False
    dtypes = [COMPUTED_IN.get(tensor.dtype) for tensor in (args[0], result) if isinstance(tensor, Tensor)]
    return len(dtypes) == 2 and None not in dtypes and dtypes[0] != dtypes[1]


def _computed_in(operand: Tensor) -> str:
    return COMPUTED_IN.get(operand.dtype, str(operand.dtype).removeprefix("torch."))
