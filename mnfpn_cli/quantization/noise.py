"""Which layers lose the precision of int8, and which few to leave in float32: found by quantising them in turn.

The noise of a layer is that of its weights and of the maps that belong to it (`QuantisedMap.owner`). What a layer
gains in float32 is another matter: a runtime that leaves it in float32 still rounds its map where another layer reads
that in int8. So layers are ranked by the noise that comes from them, and gains are those of what a runtime does.
"""

import math
from collections.abc import Iterable, Mapping
from shlex import quote

from torch import Tensor, nn

from mnfpn_cli.documents.noise import FloatAdvice, LayerNoise, NoiseRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.quantization.float_advice import (
    LEAST_NOISE,
    MOST_STEPS,
    MOST_TRIED,
    FloatStep,
    Move,
    choose_float,
    gain_db,
)
from mnfpn_cli.quantization.layers import short_paths
from mnfpn_cli.quantization.quantization import Passes, Quantization
from mnfpn_cli.quantization.simulate import Parts, Simulation
from mnfpn_cli.text import ReportProgress, either, percent

MOST_EXAMINED = 8
"""The layers with the most noise, of which gains and the share of the weights are measured."""

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
    measured, paths = _Measured(simulation, judged, progress), simulation.layers
    everything = simulation.everything(asked)
    overall = measured.noise(everything)
    owned = {path: simulation.owned(path) & everything for path in paths}
    alone = {path: measured.noise(owned[path]) for path in paths}
    cumulative, so_far = dict[str, float](), Parts()
    for path in paths:
        so_far |= owned[path]
        cumulative[path] = measured.noise(so_far)
    ranked = sorted(paths, key=lambda path: -alone[path])
    examined = [path for path in ranked[:MOST_EXAMINED] if alone[path] > LEAST_NOISE]
    by_weights = {path: measured.noise(Parts(owned[path].weights)) for path in examined}
    kept = {path: measured.noise_with(asked | {path}) for path in examined if path not in asked}
    moves = dict.fromkeys(move for path in examined for move in (frozenset((path,)), simulation.freeing(path)))
    steps = choose_float(measured.noise_with, list(moves), asked, simulation.macs)
    total, all_macs, names = sum(alone.values()), sum(simulation.macs.values()), short_paths(network)
    shares = {path: macs / all_macs for path, macs in simulation.macs.items()}
    progress(DOING, 1.0)
    return NoiseRecord(
        passes=len(judged),
        calibrated_on=len(quantization.passes),
        overall_db=snr_of(overall),
        advised_db=snr_of(steps[-1].noise) if steps else None,
        option=_option(names[path] for step in steps for path in step.paths) if steps else None,
        advice=tuple(_advice(step, names, shares) for step in steps),
        layers=tuple(
            LayerNoise(
                path=names[path],
                number=paths.index(path) + 1,
                left_float=path in asked,
                macs=simulation.macs[path],
                macs_share=shares[path],
                low=simulation.made_by(path).low,
                high=simulation.made_by(path).high,
                alone_db=snr_of(alone[path]),
                cumulative_db=snr_of(cumulative[path]),
                noise_share=alone[path] / total if total else 0.0,
                weights_share=min(1.0, by_weights[path] / alone[path]) if path in by_weights else None,
                kept_gain_db=gain_db(overall, kept[path]) if path in kept else None,
            )
            for path in ranked
        ),
    )


def snr_of(noise: float) -> float | None:
    """Return the signal to noise, in dB, of a noise-to-signal ratio; None where there is no noise."""
    return -10 * math.log10(noise) if noise > LEAST_NOISE else None


class _Measured:
    """Measures the noise of parts in int8; each set of parts once."""

    def __init__(self, simulation: Simulation, judged: Passes, progress: ReportProgress) -> None:
        self._simulation, self._judged, self._progress = simulation, judged, progress
        self._most = 2 * len(simulation.layers) + MOST_EXAMINED * 4 + MOST_TRIED * MOST_STEPS
        self._found: dict[Parts, float] = {}
        self._float = [simulation.outputs(inputs) for inputs in judged]
        self._signals = [power for power in _powers(self._float)]

    def noise_with(self, in_float: Move) -> float:
        """Measure the noise with everything in int8 but some layers."""
        return self.noise(self._simulation.everything(in_float))

    def noise(self, parts: Parts) -> float:
        """Return the noise over the signal: averaged over the outputs, each over all passes.

        Raises:
            MnfpnError: where the outputs have other shapes than in float32, or are no finite numbers.
        """
        if parts not in self._found:
            self._progress(DOING, min(len(self._found) / self._most, 1.0))
            self._found[parts] = self._measure(parts)
        return self._found[parts]

    def _measure(self, parts: Parts) -> float:
        differences = list[list[Tensor]]()
        for inputs, expected in zip(self._judged, self._float, strict=True):
            outputs = self._simulation.outputs(inputs, parts)
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


def _advice(step: FloatStep, names: Mapping[str, str], shares: Mapping[str, float]) -> FloatAdvice:
    paths, share = tuple(names[path] for path in step.paths), sum(shares[path] for path in step.paths)
    return FloatAdvice(
        paths=paths,
        gain_db=step.gain_db,
        macs_share=share,
        sentence=f"leave {either(paths, 'and')} in float32: {step.gain_db:+.1f} dB "
        f"for {percent(share, '.2g')} of the MACs",
    )


def _option(paths: Iterable[str]) -> str:
    return " ".join(f"`keep_float` {quote(path)}" for path in paths)
