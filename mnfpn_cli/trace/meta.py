"""The output shapes of the most common operations, so that a pass on the meta device need not ask torch for them.

Under a dispatch mode, torch computes these shapes by Python code that first imports its compiler. That takes 2 s: more
than the rest of `mnfpn summary` without `import torch`. All other operations are left to torch, and so are inputs that
torch refuses.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


def run_on_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of an operation on meta tensors; ``NotImplemented`` where torch must run it."""
    rule = SHAPE_RULES.get(func)
    if rule is None or kwargs or not _on_meta(args[0]):
        return NotImplemented
    return rule(*args)


def _on_meta(argument: Any) -> bool:
    first = argument[0] if isinstance(argument, list | tuple) else argument
    return isinstance(first, Tensor) and first.is_meta


def _convolution(
    x: Tensor,
    weight: Tensor,
    _bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    *_rest: Any,
) -> Any:
    if transposed:
        return NotImplemented
    dimensions = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    sides = [(side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in dimensions]
    return x.new_empty((x.shape[0], weight.shape[0], *sides))


def _batch_norm(x: Tensor, *_rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(0), x.new_empty(0)


def _in_place(x: Tensor, *_rest: Any) -> Tensor:
    return x


def _add(x: Tensor, y: Any) -> Any:
    same = isinstance(y, Tensor) and (x.shape, x.dtype, x.device) == (y.shape, y.dtype, y.device)
    return x.new_empty(x.shape) if same else NotImplemented


def _resize(x: Tensor, size: list[int], *_rest: Any) -> Tensor:
    return x.new_empty((*x.shape[:2], *size))


def _max_pool(x: Tensor, kernel: list[int], stride: list[int], padding: tuple[int, ...] = (0, 0), *rest: Any) -> Any:
    if rest or not len(x.shape[2:]) == len(kernel) == len(stride) == len(padding):
        return NotImplemented
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return NotImplemented  # torch refuses it
    sides = zip(x.shape[2:], kernel, stride, padding, strict=True)
    output = x.new_empty((*x.shape[:2], *((side + 2 * p - k) // s + 1 for side, k, s, p in sides)))
    return output, output.new_empty(output.shape, dtype=torch.int64)


def _mean(x: Tensor, dims: list[int], keepdim: bool = False, *_rest: Any) -> Any:
    if not keepdim or any(not -x.dim() <= dim < 0 for dim in dims):
        return NotImplemented
    return x.new_empty([1 if index - x.dim() in dims else side for index, side in enumerate(x.shape)])


def _concat(tensors: list[Tensor], dim: int = 0) -> Any:
    first = tensors[0]
    axis = dim % max(first.dim(), 1)
    # The sides of each beside the one that grows: where they differ, torch refuses, in its own words.
    rests = {(*tensor.shape[:axis], None, *tensor.shape[axis + 1 :], tensor.dtype, tensor.device) for tensor in tensors}
    if len(rests) > 1 or not -first.dim() <= dim < first.dim():
        return NotImplemented
    sides = list(first.shape)
    sides[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return first.new_empty(sides)


def _dense(bias: Tensor, x: Tensor, weight: Tensor) -> Any:
    if bias.shape != weight.shape[1:]:
        return NotImplemented
    return bias.new_empty((x.shape[0], weight.shape[1]))


def _relu(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


SHAPE_RULES: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: _convolution,
    aten.native_batch_norm.default: _batch_norm,
    aten.hardtanh_.default: _in_place,
    aten.relu_.default: _in_place,
    aten.relu.default: _relu,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten.mean.dim: _mean,
    aten.cat.default: _concat,
    aten.addmm.default: _dense,
    aten.add.Tensor: _add,
    aten.upsample_bilinear2d.default: _resize,
    aten.upsample_nearest2d.default: _resize,
}
"""For each operation, the function that returns its empty result, or ``NotImplemented``."""


class WithoutArithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Skips the most common operations on CPU tensors: results have the right shapes and arbitrary values.

    The code of a network sees tensors on the CPU, as in a real pass; on the meta device it may run other branches.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap __torch_dispatch__ for its compiler, and import the compiler; nothing is compiled here.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation of torch, or return an empty tensor of its shape."""
        rule = None if kwargs else SHAPE_RULES.get(func)
        result = rule(*args) if rule else NotImplemented
        return func(*args, **(kwargs or {})) if result is NotImplemented else result
