"""Which layer loses the precision of int8: planted faults are named, and the advice does what it says."""

import math
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.documents.noise import NoiseRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.quantization.float_advice import LEAST_GAIN_DB, MOST_MACS, choose_float
from mnfpn_cli.quantization.layers import expand_keep_float
from mnfpn_cli.quantization.noise import MOST_EXAMINED, layer_noise, snr_of
from mnfpn_cli.quantization.quantization import Passes, Quantization
from tests.quantization.planted import FAULTS, Fault, images, sane_network

CALIBRATION, JUDGED = images(4, seed=3), images(1, seed=4)


def silent(doing: str, share: float) -> None:
    """Report no progress."""


def noise_of(network: nn.Module, *keep_float: str, judged: Passes = JUDGED) -> NoiseRecord:
    """The record of a network, some layers of which stay in float32."""
    paths = expand_keep_float(network, keep_float)
    return layer_noise(network, Quantization(CALIBRATION, paths), judged, silent)


@cache
def noise_of_fault(fault: Fault) -> NoiseRecord:
    """The record of a network with a fault, worked out once."""
    return noise_of(fault.network())


@cache
def noise_of_sane() -> NoiseRecord:
    """The record of the network without a fault, worked out once."""
    return noise_of(sane_network())


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_layer_of_a_planted_fault_has_the_most_noise(fault: Fault) -> None:
    """Of a channel scaled up, a blown-up bias, a rare outlier, outlier weights; at any kind of layer.

    Where the fault widens the range of a map, the next layer reads it, an addition may too, and a resize passes it
    on: still the layer that made the map is named, and not those.
    """
    first, second, *_ = noise_of_fault(fault).layers
    assert first.path == fault.path
    assert first.noise_share > 1.2 * second.noise_share


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_the_table_tells_a_fault_of_the_weights_from_one_of_the_map(fault: Fault) -> None:
    """Outlier weights are the weights' own; all other faults here widen the range of the map."""
    first = noise_of_fault(fault).layers[0]
    assert first.weights_share is not None
    if fault.plant.__name__ == "outlier_weight":
        assert first.weights_share > 0.9
    else:
        assert first.weights_share < 0.1
        assert first.high > 50


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.advised], ids=str)
def test_the_advice_begins_with_the_layer_of_the_fault(fault: Fault) -> None:
    """With those that read its map, where that is what is wrong; what remains is the noise without the fault."""
    record, sane = noise_of_fault(fault), noise_of_sane()
    first = record.advice[0]
    assert fault.path in first.paths
    assert set(first.paths) <= {fault.path, *fault.readers}
    assert first.gain_db == max(step.gain_db for step in record.advice)
    assert record.advised_db is not None
    assert sane.overall_db is not None
    if fault.head == "none":
        assert record.advised_db > sane.overall_db - 3


TOO_MANY_MACS = (
    "scaled_channel-stages.1.0.expand",
    "rare_outlier-stages.1.0.depthwise",
    "outlier_weight-pyramid.smooth.p3",
)
"""Faults of layers that have, with those that read their maps, more MACs than advice leaves in float32."""


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.advised], ids=str)
def test_where_no_advice_helps_a_sentence_says_why(fault: Fault) -> None:
    """An addition or a merge has the map and stays in int8, or what would help has too many MACs: then its gain."""
    record = noise_of_fault(fault)
    first = record.layers[0]
    assert all(fault.path not in step.paths for step in record.advice)
    has = f"{fault.path} has {100 * first.noise_share:.0f} % of the noise"
    if str(fault) in TOO_MANY_MACS:
        assert record.obstacle is not None
        assert record.obstacle.startswith(f"{has}: leaving {fault.path}")
        assert float(record.obstacle.partition("would gain ")[2].partition(" dB")[0]) > 2
        assert record.obstacle.endswith(" % of the MACs")
    else:
        assert record.obstacle == (
            f"{has}: its map has values from {first.low:.3g} to {first.high:.3g}, "
            "and an operation between layers that stays in int8 reads it"
        )


def test_the_gain_of_the_advice_is_what_keeping_these_layers_gains() -> None:
    """Its layers, given as layers to keep in float32, give the signal to noise that it names."""
    fault = next(one for one in FAULTS if str(one) == "scaled_channel-stages.3.0.project")
    record = noise_of_fault(fault)
    (step,) = record.advice
    assert record.overall_db is not None
    assert record.advised_db == pytest.approx(record.overall_db + step.gain_db)
    assert step.macs_share == pytest.approx(
        sum(one.macs_share for one in record.layers if one.path in step.paths), rel=1e-9
    )
    names = "stages.3.0.project, stages.4.0.expand and pyramid.lateral.p4"
    assert step.sentence.startswith(f"leave {names} in float32: +{step.gain_db:.1f} dB for 0.")
    assert step.sentence.endswith(" % of the MACs")
    assert record.option == f"`keep_float` {','.join(step.paths)}"
    followed = noise_of(fault.network(), *step.paths)
    assert followed.overall_db == pytest.approx(record.advised_db)
    assert {one.path for one in followed.layers if one.left_float} == set(step.paths)


def test_noise_powers_of_the_parts_add_up_to_about_all_noise() -> None:
    """The last layer's figure up to it is that of everything; the shares add up to one."""
    record = noise_of_sane()
    last = max(record.layers, key=lambda one: one.number)
    assert last.cumulative_db == record.overall_db
    assert sorted(one.number for one in record.layers) == list(range(1, len(record.layers) + 1))
    assert sum(one.noise_share for one in record.layers) == pytest.approx(1.0)
    assert sum(one.macs_share for one in record.layers) == pytest.approx(1.0)
    alone = sum(10 ** (-(one.alone_db or math.inf) / 10) for one in record.layers)
    assert -10 * math.log10(alone) == pytest.approx(record.overall_db, abs=2.5)
    noise = [one.noise_share for one in record.layers]
    assert noise == sorted(noise, reverse=True)
    assert [one.kept_gain_db is not None for one in record.layers] == [
        place < MOST_EXAMINED for place in range(len(record.layers))
    ]


def test_advice_takes_few_macs_and_each_layer_gains_its_decibel() -> None:
    """In every network here."""
    for record in [noise_of_sane(), *map(noise_of_fault, FAULTS)]:
        assert sum(step.macs_share for step in record.advice) <= MOST_MACS
        assert all(step.gain_db >= LEAST_GAIN_DB * len(step.paths) for step in record.advice)
        assert (record.option is None) == (record.advised_db is None) == (not record.advice)


NOISES = {
    frozenset(): 1.0,
    frozenset("a"): 0.9,
    frozenset("b"): 0.9,
    frozenset("ab"): 0.1,
    frozenset("c"): 0.5,
    frozenset("abc"): 0.09,
}


def test_layers_are_chosen_together_where_only_together_they_gain() -> None:
    """And one more is not, that gains less than a decibel on top of them."""
    moves, macs = [frozenset(one) for one in ("a", "b", "ab", "c")], {"a": 1, "b": 1, "c": 1, "d": 997}
    (step,) = choose_float(lambda kept: NOISES[kept], moves, frozenset(), macs)
    assert (step.paths, step.noise) == (("a", "b"), 0.1)
    assert step.gain_db == pytest.approx(10.0)


def test_layers_with_too_many_macs_are_not_chosen() -> None:
    """At most a twentieth stays in float32, all steps together."""
    moves, macs = [frozenset(one) for one in ("a", "b", "ab", "c")], {"a": 30, "b": 30, "c": 40, "d": 900}
    (step,) = choose_float(lambda kept: NOISES[kept], moves, frozenset(), macs)
    assert step.paths == ("c",)
    assert choose_float(lambda kept: NOISES[kept], moves, frozenset(), {"a": 1, "b": 1, "c": 1}) == []


def test_a_network_that_loses_nothing_has_no_noise_and_no_advice() -> None:
    """Its weights and its map have values that int8 has exactly; the figures are null, and JSON can say them."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    passes = [(torch.tensor([[255.0]]),)]
    record = layer_noise(nn.Sequential(layer), Quantization(passes), passes, silent)
    (only,) = record.layers
    assert (record.overall_db, record.advised_db, record.advice) == (None, None, ())
    assert (only.alone_db, only.noise_share, only.weights_share, only.kept_gain_db) == (None, 0.0, None, None)
    assert NoiseRecord.model_validate_json(record.model_dump_json()) == record


def test_progress_goes_from_nothing_to_all() -> None:
    """And never back."""
    shares = list[float]()
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    layer_noise(network, Quantization(CALIBRATION), JUDGED, lambda _, share: shares.append(share))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(shares) > 5


class Chooser(nn.Module):
    """A network whose output is as long as its values say."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, 64) to (n,)."""
        y: Tensor = self.layer(x)
        return y[(1000 * y).round() % 2 > 0]


def test_outputs_that_cannot_be_compared_are_an_error() -> None:
    """Of other shapes, as boxes of a detector that finds others, or no finite numbers."""
    torch.manual_seed(0)
    passes = [(torch.randn(1, 64),) for _ in range(4)]
    with pytest.raises(MnfpnError, match="the shapes of its outputs depend on values"):
        layer_noise(Chooser(), Quantization(passes), passes, silent)
    broken = nn.Linear(64, 2)
    nn.init.constant_(broken.bias, math.inf)
    with pytest.raises(MnfpnError, match="are not finite numbers"):
        layer_noise(broken, Quantization(passes), passes, silent)


def test_no_noise_is_no_number_of_decibels() -> None:
    """Noise of a hundredth is 20 dB."""
    assert snr_of(0.0) is None
    assert snr_of(0.01) == pytest.approx(20.0)
