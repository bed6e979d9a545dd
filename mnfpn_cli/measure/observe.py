"""Watching a network run: which modules are called, what each returns, and what else is computed between them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from mnfpn_cli.measure.meta import run_on_meta

aten = torch.ops.aten

Shape = tuple[int, ...]

FUNCTIONS = {
    aten.upsample_bilinear2d.default: "resize",
    aten.upsample_nearest2d.default: "resize",
    aten.add.Tensor: "add",
    aten.add_.Tensor: "add",
    aten.cat.default: "concat",
    aten.relu.default: "relu",
}
"""Operations that cost something and are usually called as functions, so that no module stands for them."""


@dataclass
class ModuleCall:
    """One call of a module: what it returned, and the MACs of what it multiplies itself, for the whole batch."""

    module: nn.Module
    outputs: tuple[Shape, ...] = ()
    macs: int = 0


@dataclass(frozen=True)
class FunctionCall:
    """A functional step in a module's forward that its child modules do not account for."""

    module: nn.Module
    name: str
    output: Shape


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every call of a module and every functional step, in the order in which they begin."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap __torch_dispatch__ for its compiler, and import that for it; nothing is compiled here.
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[ModuleCall | FunctionCall] = []
        self._open: list[ModuleCall] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record while the block runs; torch's global hooks are taken off at its end, however it ends."""
        before = module_hooks.register_module_forward_pre_hook(self._enter)
        after = module_hooks.register_module_forward_hook(self._leave)
        try:
            with self:
                yield
        finally:
            before.remove()
            after.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See one operation of torch."""
        result = run_on_meta(func, args, kwargs or {})
        if result is NotImplemented:
            result = func(*args, **(kwargs or {}))
        if self._open:
            self._record(self._open[-1], func, args, result)
        return result

    def _record(self, inside: ModuleCall, func: Any, args: tuple[Any, ...], result: Any) -> None:
        if func is aten.convolution.default:
            inside.macs += _convolution_macs(args[1], result)
        elif func is aten.addmm.default:
            inside.macs += args[1].numel() * result.shape[1]
        elif func in FUNCTIONS and any(inside.module.children()):
            self.calls.append(FunctionCall(inside.module, FUNCTIONS[func], tuple(result.shape)))

    def _enter(self, module: nn.Module, _args: Any) -> None:
        call = ModuleCall(module)
        self.calls.append(call)
        self._open.append(call)

    def _leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._open.pop().outputs = tuple(_shapes(output))


def _convolution_macs(weight: Tensor, output: Tensor) -> int:
    """MACs of a convolution: every weight once for each image and each cell of the output."""
    return weight.numel() * output.shape[0] * output.shape[2:].numel()


def _shapes(output: Any) -> Iterator[Shape]:
    if isinstance(output, Tensor):
        yield tuple(output.shape)
    elif isinstance(output, tuple | list):
        for item in output:
            yield from _shapes(item)
