"""Which layers lose the precision of int8, and which few to leave in float32: found by quantising them in turn.

The noise of a layer is that of its weights and of the maps that belong to it (`QuantisedMap.owner`). What a layer
gains in float32 is another matter: a runtime that leaves it in float32 still rounds its map where another layer reads
that in int8. So layers are ranked by the noise that comes from them, and gains are those of what a runtime does.
"""

import math
from collections.abc import Mapping, Sequence
from shlex import quote

from torch import Tensor, nn

from mnfpn_cli.documents.noise import FloatAdvice, LayerNoise, NoiseRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.quantization.float_advice import (
    LEAST_NOISE,
    MOST_MACS,
    MOST_STEPS,
    MOST_TRIED,
    FloatMove,
    choose_float,
    gain_db,
)
from mnfpn_cli.quantization.layers import short_paths
from mnfpn_cli.quantization.quantization import Passes, Quantization
from mnfpn_cli.quantization.simulate import QuantisedParts, Simulation
from mnfpn_cli.text import ReportProgress, either, percent

MOST_EXAMINED = 8
"""The layers with the most noise, of which gains and the share of the weights are measured."""

LEAST_EXPLAINED = 0.3
"""The share of the noise from which a layer needs a reason where no advice is about it."""

DOING = "quantising layer by layer"


def layer_noise(
    network: nn.Module, quantization: Quantization, judged: Passes, progress: ReportProgress
) -> NoiseRecord:
    """Find the noise of each layer, and which layers to leave in float32.

    For each judged pass it takes two passes a layer and at most 60 more: one judged pass gives a ranking.

    Args:
        network: the network, in float32; it is copied.
        quantization: how it is quantised; the layers that it leaves in float32 stay so.
        judged: the inputs of the passes whose outputs are compared with float32's.
        progress: is called before each measurement.

    Raises:
        MnfpnError: where nothing can be quantised, or the outputs cannot be compared.
    """
    progress(DOING, 0.0)
    simulation, asked = Simulation(network, quantization.passes), quantization.keep_float
    measured = _Measured(simulation, judged, progress)
    layers = _layers(measured, asked, short_paths(network))
    examined = [path for path, layer in layers.items() if layer.weights_share is not None]
    moves = dict.fromkeys(move for path in examined for move in (frozenset((path,)), simulation.freeing(path)))
    steps = choose_float(measured.noise_with, list(moves), asked, simulation.macs)
    advised = [layers[path] for step in steps for path in step.paths]
    obstacle = _obstacle(measured, asked, layers, advised)
    progress(DOING, 1.0)
    return NoiseRecord(
        passes=len(judged),
        calibrated_on=len(quantization.passes),
        overall_db=snr_of(measured.noise_with(asked)),
        advised_db=snr_of(steps[-1].noise) if steps else None,
        option=f"`keep_float` {quote(','.join(layer.path for layer in advised))}" if advised else None,
        advice=tuple(_advice([layers[path] for path in step.paths], step.gain_db) for step in steps),
        obstacle=obstacle,
        layers=tuple(sorted(layers.values(), key=lambda layer: -layer.noise_share)),
    )


def snr_of(noise: float) -> float | None:
    """Return the signal to noise, in dB, of a noise-to-signal ratio; None where there is no noise."""
    return -10 * math.log10(noise) if noise > LEAST_NOISE else None


class _Measured:
    """Measures the noise of parts in int8; each set of parts once."""

    def __init__(self, simulation: Simulation, judged: Passes, progress: ReportProgress) -> None:
        self.simulation, self._judged, self._progress = simulation, judged, progress
        self._most = 2 * len(simulation.layers) + MOST_EXAMINED * 4 + MOST_TRIED * MOST_STEPS
        self._found: dict[QuantisedParts, float] = {}
        self._float = [simulation.outputs(inputs) for inputs in judged]
        self._signals = _powers(self._float)

    def noise_with(self, in_float: FloatMove) -> float:
        """Measure the noise with everything in int8 but some layers."""
        return self.noise(self.simulation.everything(in_float))

    def noise(self, parts: QuantisedParts) -> float:
        """Return the noise over the signal: averaged over the outputs, each over all passes.

        Raises:
            MnfpnError: where the outputs have other shapes than in float32, or are no finite numbers.
        """
        if parts not in self._found:
            self._progress(DOING, min(len(self._found) / self._most, 1.0))
            self._found[parts] = self._measure(parts)
        return self._found[parts]

    def _measure(self, parts: QuantisedParts) -> float:
        differences = list[list[Tensor]]()
        for inputs, expected in zip(self._judged, self._float, strict=True):
            outputs = self.simulation.outputs(inputs, parts)
            if [x.shape for x in outputs] != [x.shape for x in expected]:
                raise MnfpnError("the shapes of its outputs depend on values: they cannot be compared with float32's")
            differences.append([x - y for x, y in zip(outputs, expected, strict=True)])
        ratios = [noise / signal for noise, signal in zip(_powers(differences), self._signals, strict=True) if signal]
        found = sum(ratios) / max(len(ratios), 1)
        if not math.isfinite(found):
            raise MnfpnError("its outputs in float32 or int8 are not finite numbers, and cannot be compared")
        return found


def _powers(passes: list[list[Tensor]]) -> list[float]:
    """Return the sum of the squares of each output, over all passes."""
    return [sum(x.double().square().sum().item() for x in outputs) for outputs in zip(*passes, strict=True)]


def _layers(measured: _Measured, asked: FloatMove, names: Mapping[str, str]) -> dict[str, LayerNoise]:
    """Measure each layer, in the order in which they run; some figures only of those with the most noise."""
    simulation = measured.simulation
    everything, macs = simulation.everything(asked), simulation.macs
    owned = {path: simulation.owned(path) & everything for path in simulation.layers}
    alone = {path: measured.noise(parts) for path, parts in owned.items()}
    cumulative, so_far = dict[str, float](), QuantisedParts()
    for path, parts in owned.items():
        so_far |= parts
        cumulative[path] = measured.noise(so_far)
    noisy = sorted((path for path in alone if alone[path] > LEAST_NOISE), key=lambda path: -alone[path])
    by_weights = {path: measured.noise(QuantisedParts(owned[path].weights)) for path in noisy[:MOST_EXAMINED]}
    overall, total = measured.noise(everything), sum(alone.values())
    kept = {path: measured.noise_with(asked | {path}) for path in by_weights if path not in asked}
    return {
        path: LayerNoise(
            path=names[path],
            number=number,
            left_float=path in asked,
            macs=macs[path],
            macs_share=macs[path] / sum(macs.values()),
            low=simulation.made_by(path).low,
            high=simulation.made_by(path).high,
            alone_db=snr_of(alone[path]),
            cumulative_db=snr_of(cumulative[path]),
            noise_share=alone[path] / total if total else 0.0,
            weights_share=min(1.0, by_weights[path] / alone[path]) if path in by_weights else None,
            kept_gain_db=gain_db(overall, kept[path]) if path in kept else None,
        )
        for number, path in enumerate(simulation.layers, start=1)
    }


def _advice(layers: Sequence[LayerNoise], gain: float) -> FloatAdvice:
    return FloatAdvice(
        paths=tuple(layer.path for layer in layers),
        gain_db=gain,
        macs_share=sum(layer.macs_share for layer in layers),
        sentence=f"leave {_listed(layers)} in float32: {gain:+.1f} dB for {_share(layers)} of the MACs",
    )


def _obstacle(
    measured: _Measured, asked: FloatMove, layers: Mapping[str, LayerNoise], advised: Sequence[LayerNoise]
) -> str | None:
    """Return why the layer with the most noise is not advised; None where it is, or has little noise."""
    path, worst = max(layers.items(), key=lambda item: item[1].noise_share)
    if worst in advised or worst.noise_share < LEAST_EXPLAINED or worst.weights_share is None:
        return None
    has = f"{worst.path} has {percent(worst.noise_share, '.0f')} of the noise"
    by_map = worst.weights_share < 0.5
    freeing = measured.simulation.freeing(path) if by_map else frozenset((path,))
    if by_map and freeing == {path}:
        values = f"its map has values from {worst.low:.3g} to {worst.high:.3g}"
        return f"{has}: {values}, and an operation between layers that stays in int8 reads it"
    needed = [layer for path, layer in layers.items() if path in freeing - asked]
    if sum(layer.macs_share for layer in needed) <= MOST_MACS:
        return None
    gain = gain_db(measured.noise_with(asked), measured.noise_with(asked | freeing))
    return f"{has}: leaving {_listed(needed)} in float32 would gain {gain:.1f} dB for {_share(needed)} of the MACs"


def _listed(layers: Sequence[LayerNoise]) -> str:
    return either([layer.path for layer in layers], "and")


def _share(layers: Sequence[LayerNoise]) -> str:
    return percent(sum(layer.macs_share for layer in layers), ".2g")
