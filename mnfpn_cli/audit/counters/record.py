"""What counters see of a network: calls of modules, and calls of torch's functions."""

import dis
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.trace.facts import Facts
from mnfpn_cli.trace.observe import ModuleCall, Shape, hooked, shapes_of
from mnfpn_cli.trace.passes import run_pass
from mnfpn_cli.trace.storages import left_as_it_was, storage_key


class CountError(Exception):
    """A tool fails on a network, or its number cannot be derived; the text says why."""


class TensorShape(tuple[int, ...]):
    """A tensor among the arguments of a function: its shape, told from other tuples."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class FunctionCall:
    """One call of a function of torch by a network's own code; what that function calls itself is not seen.

    Attributes:
        function: as ``F.relu``, ``torch.Tensor.add``.
        inside: the innermost registered module that was running.
        by_operator: whether it was written as ``+``, ``*``, ``@``, which no tool that patches functions sees.
        kept: whether the module holds the function itself, as ``self.activation = F.relu``: patched too late.
        arguments: by position; a shape in the place of each tensor.
        keywords: by name, likewise.
        output: the shape of the first tensor that it returned.
    """

    function: Any
    inside: nn.Module
    by_operator: bool
    kept: bool
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    output: Shape

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument, however it was given."""
        return self.arguments[position] if position < len(self.arguments) else self.keywords.get(name, default)

    def shape(self, position: int, name: str) -> Shape:
        """The shape of an argument that is a tensor.

        Raises:
            CountError: where it is none.
        """
        found = self.get(position, name)
        if not isinstance(found, TensorShape):
            raise CountError(f"{getattr(self.function, '__name__', self.function)} was called without {name}")
        return found


@dataclass(frozen=True)
class Record:
    """All that counters see of a network that was looked at."""

    facts: Facts

    @cached_property
    def functions(self) -> tuple[FunctionCall, ...]:
        """The functions that it calls; the network is run once more, to see them.

        Layers that are not registered stay in the mode that they are in: no tool's ``eval()`` reaches them.

        Raises:
            CountError: where that fails, or where TorchScript calls them out of sight.
        """
        facts = self.facts
        if any(isinstance(module, torch.jit.ScriptModule) for module in facts.paths):
            raise CountError("what TorchScript calls cannot be seen")
        recorder = _Recorder(set(facts.paths))
        try:
            with left_as_it_was(facts.others, values=facts.seen.how == "real"), recorder.watching():
                run_pass(facts.network, facts.inputs, facts.seen.how)
        except ModelError as error:
            raise CountError(f"the network failed when it was run once more: {error}") from error
        return tuple(recorder.functions)

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self.facts.network

    @cached_property
    def calls(self) -> tuple[ModuleCall, ...]:
        """The calls of modules in its tree: a layer in a plain list has no hooks."""
        events = self.facts.seen.events
        return tuple(event for event in events if isinstance(event, ModuleCall) and event.module in self.facts.paths)

    @property
    def unregistered(self) -> list[Tensor]:
        """The tensors that took part, and that the network does not have in its tree."""
        found = [tensor for one in self.facts.hidden for tensor in _tensors_of(one.found)]
        return [one for one in found if self.facts.used(one) and storage_key(one) not in self.facts.state]


def _tensors_of(found: nn.Module | Tensor) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [*found.parameters(), *found.buffers()]


def visits(network: nn.Module, stop: Callable[[nn.Module], bool] = lambda _: False) -> Counter[nn.Module]:
    """How often a walk by ``children()`` meets each module: one that two parents share, twice.

    ``stop``: modules that the walk does not go below.
    """
    found = Counter([network])
    for child in () if stop(network) else network.children():
        found.update(visits(child, stop))
    return found


class _Recorder(TorchFunctionMode):
    """Records calls of functions that return tensors."""

    def __init__(self, registered: set[nn.Module]) -> None:
        super().__init__()
        self.functions: list[FunctionCall] = []
        self._registered = registered
        self._open: list[nn.Module] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record while the block runs."""
        with hooked(self._enter, self._leave), self:
            yield

    def _enter(self, module: nn.Module, _args: Any) -> None:
        self._open.append(module if module in self._registered or not self._open else self._open[-1])

    def _leave(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        self._open.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See one call of a function."""
        kwargs = kwargs or {}
        frame = sys._getframe(1)
        # torch reports x + y as torch.Tensor.add; only the caller's bytecode says which of the two was written
        by_operator = dis.opname[frame.f_code.co_code[frame.f_lasti]] == "BINARY_OP"
        result = func(*args, **kwargs)
        if self._open and isinstance(result, Tensor | tuple | list):
            inside = self._open[-1]
            kept = any(value is func for value in vars(inside).values())
            keywords = {name: _described(value) for name, value in kwargs.items()}
            output = next(iter(shapes_of(result)), ())
            call = FunctionCall(func, inside, by_operator, kept, _described(args), keywords, output)
            self.functions.append(call)
        return result


def _described(value: Any) -> Any:
    """A value with shapes in the place of tensors: a record keeps none alive."""
    if isinstance(value, Tensor):
        return TensorShape(value.shape)
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return tuple(map(_described, value))
    return value
