"""Follow the maps of a pass, from the layer that makes each to where a quantiser rounds it: where it is read.

A map is read by layers, by additions, merges and the like between them, and where it leaves the network. What is fused
into a layer, as its norm and its activation, reads nothing: the map behind it is what is rounded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from mnfpn_cli.quantization.layers import QuantisedLayer
from mnfpn_cli.trace.observe import named_tensors

aten = torch.ops.aten


def _packets(names: str) -> frozenset[Any]:
    return frozenset(getattr(aten, name) for name in names.split() if hasattr(aten, name))


PASSING = _packets(
    "relu relu_ relu6 relu6_ hardtanh hardtanh_ clamp clamp_ clamp_min clamp_min_ batch_norm native_batch_norm "
    "_native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm _batch_norm_with_update "
    "max_pool2d max_pool2d_with_indices adaptive_max_pool2d upsample_nearest2d _upsample_nearest_exact2d "
    "constant_pad_nd pad reflection_pad2d replication_pad2d dropout dropout_ feature_dropout native_dropout "
    "view _unsafe_view reshape _reshape_alias flatten unflatten squeeze unsqueeze permute transpose t expand "
    "contiguous clone detach alias _to_copy slice select narrow split split_with_sizes chunk unbind"
)
"""Operations whose result a quantiser rounds in place of their input: what is fused into a layer, and what moves."""

JOINING = _packets(
    "add add_ sub sub_ rsub cat concat stack upsample_bilinear2d upsample_bicubic2d avg_pool2d adaptive_avg_pool2d "
    "_adaptive_avg_pool2d mean"
)
"""Operations between layers that a quantiser quantises too: their inputs and their result are rounded."""

FLOATING = _packets(
    "mul mul_ div div_ sigmoid sigmoid_ hardsigmoid hardsigmoid_ silu silu_ hardswish hardswish_ gelu leaky_relu "
    "leaky_relu_ elu elu_ tanh mish native_group_norm group_norm native_layer_norm layer_norm"
)
"""Operations between layers that stay in float32: they read rounded maps, and only a layer behind them rounds more."""

OF_BOXES = _packets("add add_ sub sub_ rsub mul mul_ div div_")
"""Operations that also make boxes of a detector's outputs; quantised are those on maps, which have four sides."""

Key = tuple[int, int]
"""A place where a map is read: the calls of layers before it, and the reads since the last one."""


@dataclass(eq=False, slots=True)
class QuantisedMap:
    """A tensor between layers that has a scale of its own.

    Attributes:
        maker: the path of the layer that made it; None for an input, and for what an operation made.
        operands: what the operation made it of.
        readers: the paths of the layers that read it.
        joined: whether an operation between layers reads it or made it, which stays in int8 whatever its layers do.
        low: the least value in calibration, at most 0.
        high: the largest value in calibration, at least 0.
    """

    maker: str | None = None
    operands: tuple["QuantisedMap", ...] = ()
    readers: list[str] = field(default_factory=list)
    joined: bool = False
    low: float = 0.0
    high: float = 0.0

    @property
    def in_int8(self) -> bool:
        """Whether it is rounded whatever reads it: a layer made it, or an operation in int8 makes or reads it."""
        return self.maker is not None or self.joined

    @property
    def owner(self) -> str:
        """The layer whose noise the map's is: the one that made it.

        A sum belongs to the layer of its widest operand, which decides how coarse it is, and an input to the layer
        that reads it first.
        """
        if self.maker is not None:
            return self.maker
        if self.operands:
            return max(self.operands, key=lambda one: one.high - one.low).owner
        return self.readers[0]

    def passed(self) -> "QuantisedMap":
        """Return a map for what an activation, a view or the like made of this one: its range may be another."""
        if self.maker is not None:
            return QuantisedMap(self.maker)
        return QuantisedMap(None, self.operands or (self,), joined=self.joined)

    def is_float(self, layers: frozenset[str]) -> bool:
        """Whether runtimes keep the map in float32 when these layers stay in float32: all that make or read it."""
        made_in_float = self.maker is None or self.maker in layers
        return not self.joined and made_in_float and layers.issuperset(self.readers)


ReadMap = Callable[[Key, Tensor, QuantisedMap], Tensor]
"""Is called with each map where it is read, and returns what is read in its place."""


class FollowedPass(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows maps from the layers that make them to where they are read, in one pass.

    Attributes:
        macs: the MACs of each layer, in the order in which they run.
        outputs: the floating-point outputs.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap __torch_dispatch__ for its compiler, and import the compiler; nothing is compiled here.
        return False

    def __init__(self, read: ReadMap) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, int] = {}
        self.outputs: list[Tensor] = []
        self._read = read
        self._made = WeakTensorKeyDictionary()
        self._calls = self._reads = self._inside = 0

    def before(self, path: str) -> Callable[..., Any]:
        """Return the hook before a layer, which reads its input."""

        def hook(_: nn.Module, args: tuple[Any, ...]) -> Any:
            self._inside += 1
            if not args or self._inside > 1:
                return None
            made = self._found(args[0]) or self._mark(args[0], QuantisedMap())
            if path not in made.readers:
                made.readers.append(path)
            return (self._reading(args[0], made), *args[1:])

        return hook

    def behind(self, path: str) -> Callable[..., Any]:
        """Return the hook behind a layer, which marks its output."""

        def hook(layer: QuantisedLayer, _: tuple[Any, ...], output: Tensor) -> None:
            self._inside -= 1
            self._calls, self._reads = self._calls + 1, 0
            each = layer.weight[0].numel()
            self.macs[path] = self.macs.get(path, 0) + output.numel() * each
            self._mark(output, QuantisedMap(path))

        return hook

    def finish(self, outputs: Any) -> None:
        """Read the outputs: those that layers, or operations in int8, made are rounded too."""
        for _, x in named_tensors(outputs):
            if x.is_floating_point():
                made = self._found(x)
                self.outputs.append(self._reading(x, made) if made and made.in_int8 else x)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Follow an operation outside of layers."""
        packet, kwargs = func.overloadpacket, kwargs or {}
        marked = [x for x in _tensors(args) if x in self._made] if not self._inside else []
        if not marked:
            return func(*args, **kwargs)
        if packet in PASSING:
            result, source = func(*args, **kwargs), self._made[marked[0]]
            for x in _tensors(result):
                self._mark(x, source.passed())
            return result
        of_maps = packet not in OF_BOXES or all(x.dim() == 4 for x in marked)
        joins, follows = packet in JOINING and of_maps, packet in JOINING | FLOATING and of_maps
        operands = tuple(self._made[x] for x in marked)
        for one in operands:
            one.joined |= joins
        result = func(*self._all_read(func, args), **kwargs)
        for x in _tensors(result):
            if follows:
                self._mark(x, QuantisedMap(None, operands, joined=joins))
            elif x in self._made:
                del self._made[x]
        return result

    def _all_read(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments of an operation as it reads them; what it overwrites stays the same tensor."""

        def read(value: Any, overwritten: bool) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(read(item, overwritten) for item in value)
            if not isinstance(value, Tensor) or value not in self._made or not self._made[value].in_int8:
                return value
            x = self._reading(value, self._made[value])
            return value.copy_(x) if overwritten and x is not value else x

        writes = [one.alias_info is not None and one.alias_info.is_write for one in func._schema.arguments]
        return tuple(read(value, write) for value, write in zip(args, writes, strict=False))

    def _reading(self, x: Tensor, made: QuantisedMap) -> Tensor:
        key, self._reads = (self._calls, self._reads), self._reads + 1
        return self._read(key, x, made)

    def _found(self, x: Tensor) -> QuantisedMap | None:
        found: QuantisedMap | None = self._made.get(x, None)  # type: ignore[no-untyped-call]
        return found

    def _mark(self, x: Tensor, made: QuantisedMap) -> QuantisedMap:
        if x.is_floating_point():
            self._made[x] = made
        return made


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of arguments, in lists too."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
