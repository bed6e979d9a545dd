"""The simulation of int8: what it rounds, that it changes nothing else, and that ONNX Runtime's quantiser agrees."""

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as torch's documentation names it
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.quantization.layers import expand_keep_float
from mnfpn_cli.quantization.quantization import Passes
from mnfpn_cli.quantization.simulate import QuantisedParts, Simulation, per_channel
from tests.needs import needs_onnx
from tests.quantization.onnx_quantiser import quantised_outputs
from tests.quantization.planted import FAULTS, Fault, images, sane_network

CALIBRATION, JUDGED = images(8, seed=3), images(2, seed=4)


def snr(outputs: list[list[Tensor]], expected: list[list[Tensor]]) -> float:
    """Signal to noise in dB, the noise averaged over the outputs."""
    ratios = [
        sum(float((x - y).square().sum()) for x, y in zip(ours, theirs, strict=True))
        / sum(float(y.square().sum()) for y in theirs)
        for ours, theirs in zip(zip(*outputs, strict=True), zip(*expected, strict=True), strict=True)
    ]
    return -10 * math.log10(sum(ratios) / len(ratios))


def fault(name: str) -> Fault:
    """A planted fault by its name."""
    return next(one for one in FAULTS if str(one) == name)


CASES = [
    ("scaled_channel-stages.3.0.project", ["stages.3.0.project", "stages.4.0.expand", "pyramid.lateral.p4"]),
]
MORE_CASES = [
    ("", []),
    ("classifier", []),
    ("scaled_channel-stages.3.0.project", []),
    ("scaled_channel-stages.3.0.project", ["stages.3.0.project"]),
    ("blown_bias-pyramid.lateral.p4", ["pyramid.lateral.p4"]),
    ("outlier_weight-stages.4.0.expand", ["stages.4.0.expand"]),
]


@needs_onnx
@pytest.mark.parametrize(
    ("planted", "keep_float"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_CASES)]
)
def test_the_quantiser_of_onnx_runtime_loses_as_much(planted: str, keep_float: list[str], tmp_path: Path) -> None:
    """Within 2 dB, of sane weights and of faults; also with layers left in float32, where maps may stay in int8."""
    network = fault(planted).network() if "-" in planted else sane_network(planted or "none")
    paths = expand_keep_float(network, keep_float)
    simulation = Simulation(network, CALIBRATION)
    expected = [simulation.outputs(inputs) for inputs in JUDGED]
    ours = [simulation.outputs(inputs, simulation.everything(paths)) for inputs in JUDGED]
    theirs = quantised_outputs(network, CALIBRATION, JUDGED, paths, tmp_path)
    assert snr(ours, expected) == pytest.approx(snr(theirs, expected), abs=2)


def test_without_parts_in_int8_the_outputs_are_those_of_the_network() -> None:
    """And the network that was given is as it was."""
    network = sane_network()
    before = deepcopy(network.state_dict())
    simulation = Simulation(network, CALIBRATION[:1])
    simulation.outputs(JUDGED[0], simulation.everything())
    with torch.no_grad():
        expected = network(*JUDGED[0])
    for ours, theirs in zip(simulation.outputs(JUDGED[0]), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_weights_have_255_values_with_a_scale_for_each_output_channel() -> None:
    """Symmetric: 0 stays 0, and the largest stays what it is; a channel of zeros stays one."""
    weight = torch.randn(4, 8, 3, 3) * torch.tensor([1e-3, 1.0, 1e3, 0.0])[:, None, None, None]
    rounded = per_channel(weight)
    for channel, original in zip(rounded, weight, strict=True):
        assert torch.allclose(channel, original, atol=float(original.abs().max()) / 254)
        assert channel.unique().numel() <= 255
    assert not rounded[3].any()


def conv(channels: int = 3) -> nn.Conv2d:
    """A convolution from seeded weights."""
    return nn.Conv2d(channels, 4, 3, padding=1)


class Written(nn.Module):
    """A network as others write it: functions in place of modules, in place, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.shared, self.dense, self.idle = conv(), conv(4), nn.Linear(8, 2), conv()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (n, 3, h, w) to (n, 2), and a sum of indices, which is a whole number."""
        y = F.relu(self.a(x), inplace=True)
        z = self.shared(y)
        z += self.shared(F.max_pool2d(y, 1))
        pooled = torch.cat((z.mean((2, 3)), y.amax((2, 3))), dim=1)
        logits = self.dense(pooled)
        return {"scores": logits.softmax(1), "class": logits.argmax(1)}


@pytest.fixture
def written() -> Simulation:
    """The simulation of that network."""
    torch.manual_seed(0)
    return Simulation(Written(), [(torch.randn(1, 3, 8, 8),) for _ in range(2)])


def test_layers_are_those_that_run_with_their_macs(written: Simulation) -> None:
    """In order; one that runs twice has the MACs of both runs."""
    assert written.macs == {"a": 64 * 4 * 27, "shared": 2 * 64 * 4 * 36, "dense": 16}
    assert written.layers == ("a", "shared", "dense")


def test_a_map_is_rounded_behind_the_activation_and_belongs_to_the_layer_that_made_it(written: Simulation) -> None:
    """An image belongs to the layer that reads it first, a sum to the layer of its widest operand."""
    of_a = [one for one in written.maps if one.maker == "a"]
    assert {one.low for one in of_a} == {0.0}  # behind the ReLU
    (image,) = (one for one in written.maps if one.readers == ["a"])
    assert (image.owner, image.maker) == ("a", None)
    sums = [one for one in written.maps if one.operands]
    assert sums
    assert {one.owner for one in sums} <= {"a", "shared"}


def test_what_is_no_layer_and_no_addition_or_merge_is_not_rounded(written: Simulation) -> None:
    """The scores are a softmax: it reads rounded logits, and nobody rounds what it returns."""
    (scores,) = written.outputs((torch.randn(1, 3, 8, 8),), written.everything())
    assert float(scores.sum()) == pytest.approx(1.0, abs=1e-6)


class Gated(nn.Module):
    """A network with a SiLU, which is no layer and no addition, and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.gate = conv(), conv(4), conv(4)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w) to (n, 4, h, w)."""
        y = F.silu(self.a(x))
        gated: Tensor = self.b(y) * self.gate(y).sigmoid()
        return gated


def test_activations_that_are_not_fused_and_gates_compute_in_float32() -> None:
    """They read what layers made, rounded; the map behind a SiLU belongs to its layer, and is rounded by its reader."""
    torch.manual_seed(0)
    simulation = Simulation(Gated(), [(torch.randn(1, 3, 8, 8),)])
    maps = [(one.owner, one.maker, tuple(one.readers), one.joined) for one in simulation.maps]
    assert maps == [
        ("a", None, ("a",), False),
        ("a", "a", (), False),  # what the SiLU reads
        ("a", None, ("b", "gate"), False),
        ("gate", "gate", (), False),  # what the sigmoid reads; its result is not rounded
        ("b", "b", (), False),
    ]


def test_a_map_stays_in_float32_where_all_that_make_and_read_it_do() -> None:
    """And no addition or merge reads it, which runtimes leave in int8."""
    simulation = Simulation(sane_network(), CALIBRATION[:1])
    made = {one.maker: one for one in simulation.maps if one.maker}
    chain = ("stages.1.0.expand.conv", "stages.1.0.depthwise.conv")
    assert made[chain[0]].is_float(frozenset(chain))
    assert not made[chain[0]].is_float(frozenset(chain[:1]))
    assert not made["stages.2.1.project.conv"].is_float(frozenset(simulation.layers))
    kept = simulation.everything(frozenset(chain))
    assert made[chain[0]] not in kept.maps
    assert kept.weights == set(simulation.layers) - set(chain)
    assert simulation.freeing(chain[0]) == set(chain)


def test_all_parts_together_are_the_parts_of_all_layers() -> None:
    """Each weight and each map belongs to one layer: no noise is counted twice, none is left out."""
    simulation = Simulation(sane_network(), CALIBRATION[:1])
    owned = [simulation.owned(path) for path in simulation.layers]
    together = QuantisedParts()
    for parts in owned:
        together |= parts
    assert together == simulation.everything()
    assert sum(len(parts.maps) for parts in owned) == len(simulation.maps)


def test_a_layer_that_computes_its_weights_in_each_pass_is_refused() -> None:
    """As under a weight norm: its weights cannot be rounded from outside."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    with pytest.raises(MnfpnError, match=r"^0 computes its weights in each pass, by a parametrization: remove"):
        Simulation(nn.Sequential(layer), JUDGED)


def test_a_network_without_layers_cannot_be_quantised() -> None:
    """It has no convolution and no dense layer, or none that runs."""
    with pytest.raises(MnfpnError, match=r"^no convolution and no dense layer runs, so nothing can be quantised$"):
        Simulation(nn.ReLU(), JUDGED)


def passes(*values: float) -> Passes:
    """Passes on one number each."""
    return [(torch.full((1, 1), value),) for value in values]


def test_a_value_out_of_the_range_of_calibration_is_clipped() -> None:
    """The range is that of all calibration passes, and has 0."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    simulation = Simulation(layer, passes(-1.0, 3.0))
    (output,) = simulation.outputs(passes(100.0)[0], simulation.everything())
    assert output.item() == pytest.approx(3.0, abs=4 / 255)
    (image, result) = simulation.maps
    assert (image.low, image.high, result.low, result.high) == (-1.0, 3.0, -1.0, 3.0)
