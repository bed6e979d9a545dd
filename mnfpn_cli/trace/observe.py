"""Watching a network run: which modules are called, what each returns, what is computed, and from which tensors."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from mnfpn_cli.trace.meta import run_on_meta
from mnfpn_cli.trace.operations import OPERATIONS, Kind, bias_elements, check_channels, check_not_empty, macs_of
from mnfpn_cli.trace.storages import LiveStorages, is_alias, storage_key

Shape = tuple[int, ...]

aten = torch.ops.aten


@dataclass(eq=False, slots=True)
class ModuleCall:
    """One call of a module: who called it, what it was given, and what it returned."""

    module: nn.Module
    caller: nn.Module | None
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that costs something, in a module's own forward.

    Attributes:
        kind: of work.
        name: in rows.
        kernel: the operation of torch, as ``upsample_bilinear2d``.
        inside: the innermost module that was running.
        output: the shape of the first output.
        macs: of products, for the whole batch.
        bias: elements that a bias was added to.
        read: elements of the first tensor that it was given.
    """

    kind: Kind
    name: str
    kernel: str
    inside: nn.Module
    output: Shape
    macs: int
    bias: int
    read: int

    @property
    def elements(self) -> int:
        """Elements of the output."""
        return prod(self.output)


Event = ModuleCall | Operation


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records calls of modules and operations in the order in which they begin.

    Attributes:
        events: what happened.
        used: by storage, each tensor that was used and that the pass did not make itself.
        met: the storages of those that met a map which depends on parameters, as a weight does, and a mean does not.
        live: the memory of what the pass made.
        depends: whether the shapes of tensors depended on numbers, as those of the boxes that a detector keeps do.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap __torch_dispatch__ for its compiler, and import that for it; nothing is compiled here.
        return False

    def __init__(self, on_meta: bool) -> None:
        """``on_meta``: whether real tensors are taken for empty ones of the meta device, wherever they come from."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.events: list[Event] = []
        self.used: dict[int, Tensor] = {}
        self.met: set[int] = set()
        self.live = LiveStorages()
        self.depends = False
        self._on_meta = on_meta
        self._open: list[ModuleCall] = []
        self._stand_ins: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record while the block runs."""
        with hooked(self._enter, self._leave), self:
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See one operation of torch."""
        kwargs = kwargs or {}
        learned = self._note_used(func, (*args, *kwargs.values()))
        check_channels(func.overloadpacket, args)
        if self._on_meta:
            args, kwargs = tuple(map(self._stand_in, args)), {key: self._stand_in(one) for key, one in kwargs.items()}
            if _takes_device(func):
                kwargs["device"] = torch.device("meta")
        result = run_on_meta(func, args, kwargs) if self._on_meta else NotImplemented
        if result is NotImplemented:
            result = func(*args, **kwargs)
        self.depends |= _depends_on_numbers(func, args)
        if not is_alias(func):
            for tensor in _tensors((result,)):
                self.live.made(tensor)
                if learned:
                    self.live.learned.add(storage_key(tensor))
        if self._open and func.overloadpacket in OPERATIONS:
            self._record(func.overloadpacket, args, kwargs, result)
        return result

    def _note_used(self, func: Any, values: tuple[Any, ...]) -> bool:
        """Note what comes from outside of the pass; whether anything depends on parameters."""
        outside, learned = [], False
        for tensor in _tensors(values):
            key = storage_key(tensor)
            if func is aten.lift_fresh.default:
                self.live.made(tensor)  # as torch.tensor([1, 2]) is, in a forward
            elif key in self.live:
                learned |= key in self.live.learned
            else:
                self.used.setdefault(key, tensor)
                outside.append(key)
        if learned:
            self.met.update(outside)
        return learned or any(key in self.live.learned for key in outside)

    def _stand_in(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value if value.is_meta else self._empty(value)
        if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
            return type(value)(map(self._stand_in, value))
        return value

    def _empty(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._stand_ins:
            empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            self._stand_ins[id(tensor)] = tensor, empty
        return self._stand_ins[id(tensor)][1]

    def _record(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        kind, name = OPERATIONS[packet]
        output = next((tuple(tensor.shape) for tensor in _tensors((result,))), ())
        check_not_empty(kind, name, output, args)
        macs, bias = macs_of(packet, args, kwargs, result), bias_elements(packet, args, prod(output))
        read = next((tensor.numel() for tensor in _tensors(args)), 0)
        self.events.append(Operation(kind, name, packet.__name__, self._open[-1].module, output, macs, bias, read))

    def _enter(self, module: nn.Module, args: Any) -> None:
        caller = self._open[-1].module if self._open else None
        call = ModuleCall(module, caller, shapes_of(args))
        self.events.append(call)
        self._open.append(call)

    def _leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._open.pop().outputs = shapes_of(output)


@contextmanager
def hooked(enter: Callable[[nn.Module, Any], None], leave: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """Hear of every call of every module, registered or not; torch's global hooks are taken off, however it ends."""
    before = module_hooks.register_module_forward_pre_hook(enter)
    after = module_hooks.register_module_forward_hook(leave)
    try:
        yield
    finally:
        before.remove()
        after.remove()


@cache
def _takes_device(func: Any) -> bool:
    """Whether an operation is told the device that it makes its result on."""
    return any(argument.name == "device" for argument in func._schema.arguments)


@cache
def _may_depend_on_numbers(func: Any) -> bool:
    return torch.Tag.dynamic_output_shape in func.tags


def _depends_on_numbers(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether the shape of a result depends on numbers: of an index, where that is a mask."""
    if func is aten.index.Tensor:
        return any(one.dtype in (torch.bool, torch.uint8) for one in _tensors((args[1],)))
    return _may_depend_on_numbers(func)


def _tensors(values: tuple[Any, ...]) -> Iterator[Tensor]:
    """The tensors that an operation takes or returns: one by one, or in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, Tensor))


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a value, with its place in it: ``0``, ``p3``, ``boxes.1``; no name where it is the value."""
    if isinstance(value, Tensor):
        yield name, value
        return
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = zip(value._fields, value, strict=True)
    elif isinstance(value, list | tuple | set):
        items = enumerate(value)
    elif is_dataclass(value) and not isinstance(value, type):
        items = ((field.name, getattr(value, field.name)) for field in fields(value))
    for key, item in items:
        yield from named_tensors(item, f"{name}.{key}" if name else str(key))


def shapes_of(value: Any) -> tuple[Shape, ...]:
    """The shapes of all tensors in a value."""
    return tuple(tuple(tensor.shape) for _, tensor in named_tensors(value))
