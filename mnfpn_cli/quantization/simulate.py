"""A network as quantisers make it, computed in float32: weights and maps are rounded to the values that int8 has.

Weights are symmetric per output channel (-127 to 127), maps affine per tensor (0 to 255) over the ranges seen in
calibration. A map is rounded where it is read, so behind the activation of its layer, and the inputs and results of
additions and merges are rounded as well, as ONNX Runtime's quantiser in the QDQ format does (Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", sections 2 and 3).

Quantisers fold a batch norm into the convolution before it. Here it stays: it multiplies each output channel, and
rounding with a scale for each output channel gives the same weights before it and behind it. The rounding of biases
to int32 is left out: its noise is below a thousandth of that of the weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.copies import copy_network
from mnfpn_cli.quantization.follow import FollowedPass, Key, QuantisedMap, ReadMap
from mnfpn_cli.quantization.layers import quantised_layers
from mnfpn_cli.quantization.quantization import Passes


@dataclass(frozen=True)
class QuantisedParts:
    """What of a network is in int8: the weights of layers, by path, and maps."""

    weights: frozenset[str] = frozenset()
    maps: frozenset[QuantisedMap] = frozenset()

    def __or__(self, other: "QuantisedParts") -> "QuantisedParts":
        return QuantisedParts(self.weights | other.weights, self.maps | other.maps)

    def __and__(self, other: "QuantisedParts") -> "QuantisedParts":
        return QuantisedParts(self.weights & other.weights, self.maps & other.maps)


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
            MnfpnError: where no convolution and no dense layer runs, or one computes its weights in each pass.
        """
        self._network = copy_network(network).eval()
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch lacks this overload
        self._modules = quantised_layers(self._network)
        for path, layer in self._modules.items():
            if is_parametrized(layer):
                raise MnfpnError(f"{path} computes its weights in each pass, by a parametrization: remove that first")
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

    def everything(self, keep_float: frozenset[str] = frozenset()) -> QuantisedParts:
        """Return all parts, but those that a runtime keeps in float32 when these layers stay in float32."""
        weights = frozenset(self.layers) - keep_float
        return QuantisedParts(weights, frozenset(one for one in self.maps if not one.is_float(keep_float)))

    def owned(self, path: str) -> QuantisedParts:
        """Return the parts that a layer's noise comes from: its weights, and the maps that belong to it."""
        return QuantisedParts(frozenset((path,)), frozenset(one for one in self.maps if one.owner == path))

    def freeing(self, path: str) -> frozenset[str]:
        """Return the layers that must stay in float32 for the maps of a layer to stay so, as far as they can."""
        maps = [one for one in self.maps if one.owner == path and not one.joined]
        return frozenset((path, *(reader for one in maps for reader in one.readers)))

    def made_by(self, path: str) -> QuantisedMap:
        """Return the map that a layer makes, behind its activation; one without a range where nothing reads it."""
        return next((one for one in self.maps if one.maker == path), QuantisedMap(path))

    def outputs(self, inputs: Sequence[Tensor], parts: QuantisedParts = QuantisedParts()) -> list[Tensor]:
        """Return the floating-point outputs of a pass with some parts in int8."""

        def read(key: Key, x: Tensor, _: QuantisedMap) -> Tensor:
            found = self._maps.get(key)
            return rounded(x, found.low, found.high) if found in parts.maps and found is not None else x

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
    def _watch(self, inputs: Sequence[Tensor], read: ReadMap) -> FollowedPass:
        watched = FollowedPass(read)
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


def rounded(x: Tensor, low: float, high: float) -> Tensor:
    """Return a tensor with the nearest of the 256 values that int8 has from ``low``, at most 0, to ``high``."""
    scale = (high - low) / 255
    if scale < torch.finfo(torch.float32).tiny:
        return x
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)
