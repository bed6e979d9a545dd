"""A network as quantisers make it, computed in float32: weights and maps are rounded to the values that int8 has.

Weights are symmetric per output channel (-127 to 127), maps affine per tensor (0 to 255) over the ranges seen in
calibration. A map is rounded where it is read, so behind the activation of its layer, and the inputs and results of
additions and merges are rounded as well, as ONNX Runtime's quantiser in the QDQ format does (Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", sections 2 and 3).

Quantisers fold a batch norm into the convolution before it. Here it stays: it multiplies each output channel, and
rounding with a scale for each output channel gives the same weights before it and behind it. The rounding of biases
to int32 is left out: its noise is below a thousandth of that of the weights.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.quantization.layers import QuantisedLayer, quantised_layers
from mnfpn_cli.quantization.quantization import Passes
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
    "add add_ sub sub_ rsub mul mul_ div div_ cat concat stack upsample_bilinear2d upsample_bicubic2d avg_pool2d "
    "adaptive_avg_pool2d _adaptive_avg_pool2d mean sigmoid sigmoid_ hardsigmoid hardsigmoid_ silu silu_ hardswish "
    "hardswish_ gelu leaky_relu leaky_relu_ elu elu_ tanh mish native_group_norm group_norm native_layer_norm "
    "layer_norm"
)
"""Operations between layers that a quantiser quantises too: their inputs and their result are rounded."""

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
    def owner(self) -> str:
        """The layer that a map's noise is put down to: the one that made it.

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

    def rounded(self, x: Tensor) -> Tensor:
        """Return a tensor with the nearest values that int8 has."""
        scale = (self.high - self.low) / 255
        if scale < torch.finfo(torch.float32).tiny:
            return x
        return torch.fake_quantize_per_tensor_affine(x, scale, round(-self.low / scale), 0, 255)


@dataclass(frozen=True)
class Parts:
    """What of a network is in int8: the weights of layers, by path, and maps."""

    weights: frozenset[str] = frozenset()
    maps: frozenset[QuantisedMap] = frozenset()

    def __or__(self, other: "Parts") -> "Parts":
        return Parts(self.weights | other.weights, self.maps | other.maps)

    def __and__(self, other: "Parts") -> "Parts":
        return Parts(self.weights & other.weights, self.maps & other.maps)


class Simulation:
    """A network of which any part can be in int8.

    Attributes:
        layers: the paths of the convolutions and dense layers, in the order in which they first run.
        macs: the MACs of each in a pass.
        maps: the tensors that have a scale, in the order in which they are first read.
    """

    def __init__(self, network: nn.Module, calibration: Passes):
        """Copy a network, and see the range of each map in calibration passes.

        Raises:
            MnfpnError: where no convolution and no dense layer runs.
        """
        self._network = deepcopy(network).eval()
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch lacks this overload
        self._modules = quantised_layers(self._network)
        self._float = {path: layer.weight.detach() for path, layer in self._modules.items()}
        self._int8 = {path: per_channel(weight) for path, weight in self._float.items()}
        self._maps: dict[Key, QuantisedMap] = {}
        self.macs: dict[str, int] = {}
        for inputs in calibration:
            self.macs = self._watch(inputs, self._calibrated).macs
        if not self.macs:
            raise MnfpnError("no convolution and no dense layer runs, so nothing can be quantised")
        self.layers = tuple(self.macs)
        self.maps = tuple(dict.fromkeys(self._maps.values()))

    def everything(self, keep_float: frozenset[str] = frozenset()) -> Parts:
        """Return all parts, but those that a runtime keeps in float32 when these layers stay in float32."""
        weights = frozenset(self.layers) - keep_float
        return Parts(weights, frozenset(one for one in self.maps if not one.is_float(keep_float)))

    def owned(self, path: str) -> Parts:
        """Return the parts that a layer's noise comes from: its weights, and the maps that belong to it."""
        return Parts(frozenset((path,)), frozenset(one for one in self.maps if one.owner == path))

    def freeing(self, path: str) -> frozenset[str]:
        """Return the layers that must stay in float32 for the maps of a layer to stay so, as far as they can."""
        maps = [one for one in self.maps if one.owner == path and not one.joined]
        return frozenset((path, *(reader for one in maps for reader in one.readers)))

    def made_by(self, path: str) -> QuantisedMap:
        """Return the map that a layer makes, behind its activation; one without a range where nothing reads it."""
        return next((one for one in self.maps if one.maker == path), QuantisedMap(path))

    def outputs(self, inputs: Sequence[Tensor], parts: Parts = Parts()) -> list[Tensor]:
        """Return the floating-point outputs of a pass with some parts in int8."""

        def read(key: Key, x: Tensor, _: QuantisedMap) -> Tensor:
            found = self._maps.get(key)
            return found.rounded(x) if found in parts.maps and found is not None else x

        with self._weights(parts.weights):
            return self._watch(inputs, read).outputs

    def _calibrated(self, key: Key, x: Tensor, made: QuantisedMap) -> Tensor:
        one = self._maps.setdefault(key, made)
        if x.numel():
            low, high = (bound.item() for bound in torch.aminmax(x))
            one.low, one.high = min(one.low, low), max(one.high, high)
        return x

    @contextmanager
    def _weights(self, paths: frozenset[str]) -> Iterator[None]:
        """Put the weights of some layers into int8 for a while."""
        try:
            for path in paths:
                self._modules[path].weight.data = self._int8[path]
            yield
        finally:
            for path in paths:
                self._modules[path].weight.data = self._float[path]

    @torch.no_grad()
    def _watch(self, inputs: Sequence[Tensor], read: "Read") -> "_WatchedPass":
        watched = _WatchedPass(read)
        hooks = [
            hook
            for path, layer in self._modules.items()
            for hook in (
                layer.register_forward_pre_hook(watched.before(path)),
                layer.register_forward_hook(watched.behind(path)),
            )
        ]
        try:
            copies = [_channels_last(x.clone()) for x in inputs]
            with watched:
                outputs = self._network(*copies)
            watched.finish(outputs)
        finally:
            for hook in hooks:
                hook.remove()
        return watched


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def per_channel(weight: Tensor) -> Tensor:
    """Return weights (out, …) with the nearest values that int8 has with a scale for each output channel."""
    largest = weight.abs().flatten(1).amax(dim=1)  # (out,)
    scale = (largest / 127).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


Read = Callable[[Key, Tensor, QuantisedMap], Tensor]
"""Is called with each map where it is read, and returns what is read in its place."""


class _WatchedPass(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows maps from the layers that make them to where they are read, in one pass.

    Attributes:
        macs: the MACs of each layer, in the order in which they run.
        outputs: the floating-point outputs.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap __torch_dispatch__ for its compiler, and import the compiler; nothing is compiled here.
        return False

    def __init__(self, read: Read) -> None:
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
        """Read the outputs: those that layers made are rounded too."""
        for _, x in named_tensors(outputs):
            if x.is_floating_point():
                made = self._found(x)
                self.outputs.append(x if made is None else self._reading(x, made))

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
        joins = packet in JOINING and (packet not in OF_BOXES or all(x.dim() == 4 for x in marked))
        operands = tuple(self._made[x] for x in marked)
        for one in operands:
            one.joined |= joins
        result = func(*self._all_read(func, args), **kwargs)
        for x in _tensors(result):
            if joins:
                self._mark(x, QuantisedMap(None, operands, joined=True))
            elif x in self._made:
                del self._made[x]
        return result

    def _all_read(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments of an operation as it reads them; what it overwrites stays the same tensor."""

        def read(value: Any, overwritten: bool) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(read(item, overwritten) for item in value)
            if not isinstance(value, Tensor) or value not in self._made:
                return value
            x = self._reading(value, self._made[value])
            return value.copy_(x) if overwritten and x is not value else x

        writes = [one.alias_info is not None and one.alias_info.is_write for one in func._schema.arguments]
        return tuple(read(value, write) for value, write in zip(args, writes, strict=False))

    def _reading(self, x: Tensor, made: QuantisedMap) -> Tensor:
        key, self._reads = (self._calls, self._reads), self._reads + 1
        return self._read(key, x, made)

    def _found(self, x: Tensor) -> QuantisedMap | None:
        return self._made[x] if x in self._made else None  # its `get` has no types

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
