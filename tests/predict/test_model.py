"""A model finds the law of a planted machine from a few runs, and knows how far to trust itself."""

import re

import numpy as np
import pytest

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.predict.choose import is_enough
from mnfpn_cli.predict.model import LEAST_SAMPLES, LatencyModel, Prediction, Sample
from mnfpn_cli.settings.input import Size
from tests.predict.machines import Law, law, measured, networks, old_process_law, planned, without_layers


def _errors(predictions: list[Prediction], samples: list[Sample]) -> np.ndarray:
    pairs = zip(predictions, samples, strict=True)
    return np.array([abs(prediction.seconds / sample.seconds - 1) for prediction, sample in pairs])


def _predicted(samples: list[Sample], others: list[Sample]) -> tuple[LatencyModel, list[Prediction]]:
    model = LatencyModel.fit(samples)
    return model, model.predict([sample.planned for sample in others])


@pytest.mark.parametrize("machine", [law, old_process_law])
def test_timed_layers_predict_other_networks(machine: Law) -> None:
    """Thirty runs with the times of their layers, in either kind of process: 95 % of others within 10 %."""
    samples = measured(networks(70), law=machine)
    model, predictions = _predicted(samples[:30], samples[30:])
    errors = _errors(predictions, samples[30:])
    assert np.median(errors) < 0.03
    assert np.mean(errors <= 0.1) >= 0.95
    assert is_enough(model)


def test_times_alone_predict_other_networks() -> None:
    """Without the times of layers, the errors are larger: the median is within 6 %, and 75 % of runs within 10 %."""
    samples = without_layers(measured(networks(120, runtime="openvino")))
    _, predictions = _predicted(samples[:30], samples[30:])
    errors = _errors(predictions, samples[30:])
    assert np.median(errors) < 0.06
    assert np.mean(errors <= 0.1) >= 0.75


@pytest.mark.parametrize("noise", [0.01, 0.08])
def test_intervals_cover_what_is_then_measured(noise: float) -> None:
    """Most: nine in ten on average, which three times thirty runs do not show exactly."""
    inside = list[bool]()
    for seed in range(3):
        samples = measured(networks(80, seed, "openvino"), noise, layers=False, seed=seed)
        _, predictions = _predicted(samples[:30], samples[30:])
        inside += [one.low <= s.seconds <= one.high for one, s in zip(predictions, samples[30:], strict=True)]
    assert 0.75 <= np.mean(inside) <= 0.99
    assert all(one.low < one.seconds < one.high for one in predictions)


def test_a_noisy_machine_is_never_known_well_enough() -> None:
    """Errors of cross-validation are one per run, and of the size of the noise."""
    samples = measured(networks(30), noise=0.2, layers=False)
    model = LatencyModel.fit(samples)
    assert len(model.errors) == len(samples)
    assert 0.05 < np.median(np.abs(model.errors)) < 0.5
    assert not is_enough(model)


@pytest.mark.parametrize("count", [0, 1, LEAST_SAMPLES - 2, LEAST_SAMPLES - 1])
def test_too_few_runs_are_refused(count: int) -> None:
    """The message says how many more are needed."""
    samples = measured(networks(count)) if count else []
    with pytest.raises(MnfpnError, match=rf"{LEAST_SAMPLES - count} more (is|are) needed") as raised:
        LatencyModel.fit(samples)
    assert re.match(r"[0-9]+ measured runs? cannot predict others: ", str(raised.value))
    assert raised.value.exit_code == 1


def test_a_network_unlike_all_measured_ones_is_called_so() -> None:
    """One that is larger or smaller, and one with layers of another kind; what was measured is not."""
    samples = measured(networks(20), layers=False)
    model = LatencyModel.fit(samples)
    large, small, other = model.predict(
        [
            planned(1.2, 192, "conv", Size(1024, 1024)),
            planned(0.35, 48, "separable", Size(32, 32)),
            planned(0.75, 96, "conv", Size(224, 224), upsample="nearest"),
        ]
    )
    assert large.extrapolated == "more MACs than in any run that was measured"
    assert small.extrapolated == "fewer MACs than in any run that was measured"
    assert other.extrapolated == "no run that was measured has top-down nearest"
    assert not any(one.extrapolated for one in model.predict([sample.planned for sample in samples]))


def test_an_interval_is_wider_where_less_is_known() -> None:
    """Far from what was measured."""
    samples = measured(networks(30), layers=False)
    model = LatencyModel.fit(samples)
    near, far = model.predict([samples[0].planned, planned(1.4, 256, "conv", Size(1600, 1600))])
    assert far.high / far.seconds > near.high / near.seconds


def test_the_same_samples_make_the_same_model() -> None:
    """To the last digit; another seed leaves out other runs together."""
    samples = measured(networks(12))
    model, same, other = (LatencyModel.fit(samples, seed) for seed in (0, 0, 1))
    runs = [sample.planned for sample in samples]
    assert model.predict(runs) == same.predict(runs)
    assert model.errors == same.errors != other.errors


def test_one_run_that_went_wrong_does_not_spoil_the_others() -> None:
    """A run that took three times as long counts for little."""
    samples = measured(networks(60), layers=False)
    wrong = [Sample(samples[0].planned, 3 * samples[0].seconds), *samples[1:30]]
    _, predictions = _predicted(wrong, samples[30:])
    assert np.median(_errors(predictions, samples[30:])) < 0.06


def test_kinds_that_were_not_timed_have_a_law_all_the_same() -> None:
    """Layers whose times are missing, as of a container that no hook saw, are predicted as those alike."""
    samples = measured(networks(40))
    cut = [
        Sample(
            one.planned, one.seconds, {id: time for id, time in (one.layers or {}).items() if "lateral" not in id[0]}
        )
        for one in samples
    ]
    _, predictions = _predicted(cut[:30], samples[30:])
    assert np.median(_errors(predictions, samples[30:])) < 0.05


def test_nothing_to_predict_is_no_error() -> None:
    """An empty list."""
    assert LatencyModel.fit(measured(networks(LEAST_SAMPLES), layers=False)).predict([]) == []
