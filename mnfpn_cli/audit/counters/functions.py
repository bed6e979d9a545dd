"""Rules that counters of functions share, on the shapes that a function was called with."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from mnfpn_cli.audit.counters.record import CountError, FunctionCall, Record

Rule = Callable[[FunctionCall], float]

CONVOLUTIONS: tuple[Any, ...] = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED: tuple[Any, ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
POOLINGS: tuple[Any, ...] = tuple(
    getattr(F, f"{name}_pool{sides}d{indices}")
    for name in ("avg", "max", "adaptive_avg", "adaptive_max")
    for sides in (1, 2, 3)
    for indices in ("", "_with_indices")
    if hasattr(F, f"{name}_pool{sides}d{indices}")
)
MATMUL: tuple[Any, ...] = (torch.matmul, torch.Tensor.matmul)
MM: tuple[Any, ...] = (torch.mm, torch.Tensor.mm, torch.bmm, torch.Tensor.bmm)
ADDMM: tuple[Any, ...] = (torch.addmm, torch.Tensor.addmm)
CELLS: tuple[Any, ...] = (torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell)
ELEMENTWISE: tuple[Any, ...] = (torch.mul, torch.Tensor.mul, torch.add, torch.Tensor.add)
METHODS: frozenset[Any] = frozenset((torch.Tensor.mul, torch.Tensor.add))
"""What Python's own ``sum()`` and ``math.prod()`` call too, unseen by patches, as a call of the method is not."""
JOINT: frozenset[Any] = frozenset(
    (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d, F.local_response_norm, torch.tensordot, torch.chain_matmul)
)
"""Functions that call counted ones out of sight."""


def input_elements(call: FunctionCall) -> float:
    """One for each element of the input."""
    return prod(call.shape(0, "input"))


def output_elements(call: FunctionCall) -> float:
    """One for each element of the output."""
    return prod(call.output)


def matmul(call: FunctionCall) -> float:
    """MACs of a product, as tools have them: elements on the left times columns on the right."""
    return prod(call.shape(0, "input")) * call.shape(1, "other" if "other" in call.keywords else "mat2")[-1]


def addmm(call: FunctionCall) -> float:
    """MACs of a product that something is added to."""
    first, second = addmm_factors(call)
    return prod(first) * second[-1]


def addmm_factors(call: FunctionCall) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of the factors: ``mat1, mat2`` of addmm, ``batch1, batch2`` of baddbmm."""
    names = ("batch1", "batch2") if call.function in (torch.baddbmm, torch.Tensor.baddbmm) else ("mat1", "mat2")
    return call.shape(1, names[0]), call.shape(2, names[1])


def linear(call: FunctionCall) -> float:
    """MACs of a dense layer."""
    return prod(call.shape(0, "input")) * call.shape(1, "weight")[0]


def convolution(call: FunctionCall) -> float:
    """MACs of a convolution: each weight once for each place of the output."""
    weight = call.shape(1, "weight")
    batch = call.output[0] if len(call.output) == len(weight) else 1
    return batch * prod(weight) * prod(call.output[2 - len(weight) :])


def pools(call: FunctionCall) -> bool:
    """Whether ``F.interpolate`` calls adaptive pooling, which counts by itself."""
    return bool(call.get(3, "mode", "nearest") == "area")


def einsum(call: FunctionCall) -> float:
    """FLOPs as numpy's ``einsum_path`` prints them, four digits of them: what both fvcore and calflops read."""
    import numpy as np

    operands = call.arguments[1:]
    if len(operands) == 1 and not hasattr(operands[0], "__slots__"):
        operands = operands[0]
    arrays = [np.broadcast_to(np.zeros(()), shape) for shape in operands]
    text = np.einsum_path(call.arguments[0].replace(" ", ""), *arrays, optimize="optimal")[1]
    found = next((line for line in text.split("\n") if "optimized flop" in line.lower()), None)
    if found is None:
        raise CountError(f"einsum {call.arguments[0]}")
    return int(float(found.split(":")[-1]))


@dataclass(frozen=True, slots=True)
class Attention:
    """What one call of ``F.multi_head_attention_forward`` computes.

    Attributes:
        projections: MACs of the four dense layers.
        scores: elements of queries times keys, over all heads.
        product: MACs of either of the two products.
        weights: whether torch is asked for the attention itself, and thus takes products and softmax apart.
    """

    projections: int
    scores: int
    product: int
    weights: bool


def attention(call: FunctionCall) -> Attention:
    """The parts of multi-head attention without masks.

    Raises:
        CountError: for masks and for added keys, which change what torch calls.
    """
    query, key, value = call.shape(0, "query"), call.shape(1, "key"), call.shape(2, "value")
    masks = (call.get(14, "key_padding_mask"), call.get(16, "attn_mask"), call.get(7, "bias_k"))
    weights = bool(call.get(15, "need_weights", True))
    if call.get(9, "add_zero_attn", False) or masks[2] is not None or (weights and masks != (None, None, None)):
        raise CountError("attention with masks or added keys is not derived")
    width, heads = call.get(3, "embed_dim_to_check"), call.get(4, "num_heads")
    batch = query[1] if len(query) == 3 else 1
    projections = (prod(query) + prod(key) + prod(value) + prod(query)) * width
    scores = batch * heads * query[0] * key[0]
    return Attention(projections, scores, scores * (width // heads), weights)


def seen_by_patches(record: Record) -> list[FunctionCall]:
    """The calls that a tool sees which puts its own functions in the place of torch's."""
    return [call for call in record.functions if not call.by_operator and not call.kept]


def doubts_of_patches(record: Record) -> tuple[str, ...]:
    """Why a tool that patches functions may have seen something else."""
    functions = {call.function for call in seen_by_patches(record)}
    doubts = []
    if functions & METHODS:
        doubts.append("additions by sum() are taken for the method add()")
    if functions & JOINT:
        doubts.append("functions are used that call counted ones themselves")
    return tuple(doubts)
