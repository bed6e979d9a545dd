"""Record a pass of a network: the calls of its modules, the operations of torch, and the tensors that it uses."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from math import prod
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from mnfpn_cli.trace.meta import run_on_meta
from mnfpn_cli.trace.operations import (
    OPERATIONS,
    OperationKind,
    bias_elements,
    check_channels,
    check_not_empty,
    is_uncounted,
    macs_of,
)
from mnfpn_cli.trace.storages import LiveStorages, is_alias, storage_key

TensorShape = tuple[int, ...]
"""The sides of a tensor, batch included."""

aten = torch.ops.aten

READS_VALUES = {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
"""The operations that hand values of tensors to Python."""


@dataclass(eq=False, slots=True)
class ModuleCall:
    """One call of a module.

    Attributes:
        module: the module that was called.
        caller: the innermost module that was running at that time; None for the network itself.
        inputs: the shapes of the tensors among its positional arguments.
        outputs: the shapes of the tensors that it returned.
    """

    module: nn.Module
    caller: nn.Module | None
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of torch that is in ``OPERATIONS``.

    Attributes:
        kind: the kind of work.
        name: its name in a table of layers.
        kernel: its name in torch, as ``upsample_bilinear2d``.
        inside: the innermost module that was running.
        output: the shape of the first output.
        macs: MACs for the whole batch.
        bias: elements that a bias was added to.
        read: elements of its first tensor argument.
    """

    kind: OperationKind
    name: str
    kernel: str
    inside: nn.Module
    output: TensorShape
    macs: int
    bias: int
    read: int

    @property
    def elements(self) -> int:
        """The elements of the first output."""
        return prod(self.output)


TraceEvent = ModuleCall | Operation


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records module calls and operations in the order in which they begin.

    A tensor is *outside* where the pass used it but did not make it: parameters, buffers, constants. A tensor is
    *learned* where its values depend on parameters, as those of all maps after the first layer.

    Attributes:
        events: the calls and operations.
        used: the outside tensors, by the keys of their storages.
        combined: the keys of outside storages that an operation combined with a learned tensor, as it does with
            weights. The mean of images is not among them: it is combined with the image.
        live: the storages that the pass made, and the bytes that are alive.
        data_dependent: whether shapes depended on values, as those of a detector's boxes do.
        reads_values: whether Python code read values of tensors, as an ``if`` on a tensor does.
        uncounted: the names of operations that multiply and add, and whose MACs are not counted.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap __torch_dispatch__ for its compiler, and import the compiler; nothing is compiled here.
        return False

    def __init__(self, on_meta: bool) -> None:
        """Start with no records. ``on_meta``: replace real tensors by empty ones on the meta device."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.events: list[TraceEvent] = []
        self.used: dict[int, Tensor] = {}
        self.combined: set[int] = set()
        self.live = LiveStorages()
        self.data_dependent = False
        self.reads_values = False
        self.uncounted: set[str] = set()
        self._thread = get_ident()
        self._on_meta = on_meta
        self._running: list[ModuleCall] = []
        self._meta_tensors: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record the passes of the block."""
        with call_hooks(self._enter, self._leave), self:
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation of torch, and record it."""
        kwargs = kwargs or {}
        learned = self._record_inputs(func, (*args, *kwargs.values()))
        check_channels(func.overloadpacket, args)
        if self._on_meta:
            args, kwargs = self._args_on_meta(func, args, kwargs)
        result = run_on_meta(func, args, kwargs) if self._on_meta else NotImplemented
        if result is NotImplemented:
            result = func(*args, **kwargs)
        self.data_dependent |= _has_data_dependent_shape(func, args)
        self.reads_values |= func in READS_VALUES
        if is_uncounted(func):
            self.uncounted.add(func._schema.name)
        self._record_outputs(func, result, learned)
        if self._running and func.overloadpacket in OPERATIONS:
            self._record_operation(func.overloadpacket, args, kwargs, result)
        return result

    def _record_inputs(self, func: Any, values: tuple[Any, ...]) -> bool:
        """Record the outside tensors among the arguments of an operation; return whether its result is learned."""
        outside, learned = [], False
        for tensor in _tensors(values):
            key = storage_key(tensor)
            if func is aten.lift_fresh.default:
                self.live.add(tensor)  # torch.tensor([1, 2]) in a forward
            elif key in self.live:
                learned |= key in self.live.learned
            else:
                self.used.setdefault(key, tensor)
                outside.append(key)
        if learned:
            self.combined.update(outside)
        return learned or any(key in self.live.learned for key in outside)

    def _record_outputs(self, func: Any, result: Any, learned: bool) -> None:
        """Record the storages that an operation made."""
        if is_alias(func):
            return
        for tensor in _tensors((result,)):
            self.live.add(tensor)
            if learned:
                self.live.learned.add(storage_key(tensor))

    def _args_on_meta(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of an operation with all tensors, and the device argument, on the meta device."""
        kwargs = {name: self._to_meta(value) for name, value in kwargs.items()}
        if _takes_device(func):
            kwargs["device"] = torch.device("meta")
        return tuple(map(self._to_meta, args)), kwargs

    def _to_meta(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value if value.is_meta else self._meta_tensor(value)
        if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
            return type(value)(map(self._to_meta, value))
        return value

    def _meta_tensor(self, tensor: Tensor) -> Tensor:
        """Return the empty meta tensor that replaces a real one: the same tensor each time."""
        if id(tensor) not in self._meta_tensors:
            empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            self._meta_tensors[id(tensor)] = tensor, empty  # keep the real one, or another could get its id
        return self._meta_tensors[id(tensor)][1]

    def _record_operation(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        kind, name = OPERATIONS[packet]
        output = next((tuple(tensor.shape) for tensor in _tensors((result,))), ())
        check_not_empty(kind, name, output, args)
        macs, bias = macs_of(packet, args, kwargs, result), bias_elements(packet, args, prod(output))
        read = next((tensor.numel() for tensor in _tensors(args)), 0)
        self.events.append(Operation(kind, name, packet.__name__, self._running[-1].module, output, macs, bias, read))

    def _enter(self, module: nn.Module, args: Any) -> None:
        if get_ident() != self._thread:  # another thread runs a network of its own
            return
        caller = self._running[-1].module if self._running else None
        call = ModuleCall(module, caller, shapes_of(args))
        self.events.append(call)
        self._running.append(call)

    def _leave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        if get_ident() == self._thread:
            self._running.pop().outputs = shapes_of(output)


@contextmanager
def call_hooks(enter: Callable[[nn.Module, Any], None], leave: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """In the block, call ``enter`` before and ``leave`` after each call of any module, registered or not."""
    before = module_hooks.register_module_forward_pre_hook(enter)
    after = module_hooks.register_module_forward_hook(leave)
    try:
        yield
    finally:
        before.remove()
        after.remove()


@cache
def _takes_device(func: Any) -> bool:
    """Return whether an operation has an argument for the device of its result."""
    return any(argument.name == "device" for argument in func._schema.arguments)


def _has_data_dependent_shape(func: Any, args: tuple[Any, ...]) -> bool:
    """Return whether the shape of a result depends on values, as that of an indexing by a mask does."""
    if func is aten.index.Tensor:
        return any(index.dtype in (torch.bool, torch.uint8) for index in _tensors((args[1],)))
    return _is_tagged_dynamic(func)


@cache
def _is_tagged_dynamic(func: Any) -> bool:
    return torch.Tag.dynamic_output_shape in func.tags


def _tensors(values: tuple[Any, ...]) -> Iterator[Tensor]:
    """Yield the dense tensors among the arguments or results of an operation, also those in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            if value.layout is torch.strided:  # a sparse one has no storage
                yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, Tensor) and item.layout is torch.strided)


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in a value with its path in it: ``0``, ``p3``, ``boxes.1``; empty for the value itself."""
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


def shapes_of(value: Any) -> tuple[TensorShape, ...]:
    """Return the shapes of all tensors in a value."""
    return tuple(tuple(tensor.shape) for _, tensor in named_tensors(value))
