"""The fused runtime in int8: as near to float32 as quantisers come, and what is to stay in floating point does."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.quantization.layers import quantised_layers
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.quantization.simulate import Simulation
from mnfpn_cli.runtimes import eager, fused
from mnfpn_cli.runtimes.fused import calibration, kernels
from mnfpn_cli.runtimes.fused.folded import Folded, FoldedConv, MapRange, Optimizations
from mnfpn_cli.runtimes.fused.levels import KernelLevel
from mnfpn_cli.runtimes.fused.weights import MOST_INPUTS, in_eight_bits
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, as_tensors
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.network.comparing import SEEDS
from tests.runtimes.test_fused import CPU, ROUNDING, network_of, preset, random_images
from tests.runtimes.test_fused_kernels import has_many_values
from tests.strategies import settings_and_size
from tests.tiers import at_most

here = fused.unavailable_reason(CPU, "int8", False)
quantises = pytest.mark.skipif(here is not None, reason=f"fused in int8 {here}")
SIZE = Size(65, 97)


def job(network: nn.Module, images: Tensor, *keep_float: str) -> Job:
    """A job in int8 on a copy of a network, calibrated with the images that it runs on."""
    quantization = Quantization([(images,)], frozenset(keep_float))
    return Job(deepcopy(network), True, (images,), CPU, "int8", quantization=quantization)


def outputs_of(one: Job) -> list[Tensor]:
    """The outputs of a job."""
    prepared = fused.prepare(one)
    return [output.clone() for output in prepared.outputs(prepared.run())]


def graph_of(one: Job) -> ExecutedGraph:
    """What a job executes."""
    prepared = fused.prepare(one)
    assert prepared.graph is not None
    return prepared.graph()


def noise(found: list[Tensor], exact: list[Tensor]) -> float:
    """The power of the differences over that of the outputs, on average."""
    pairs = [(y, x) for y, x in zip(found, exact, strict=True) if x.square().sum() > 0]
    ratios = [float((y - x).square().sum() / x.square().sum()) for y, x in pairs]
    return sum(ratios) / max(len(ratios), 1)


def noises(network: nn.Module, images: Tensor) -> tuple[float, float]:
    """The noise of the runtime, and that of everything rounded, as quantisers do."""
    simulation = Simulation(network, [(images,)])
    exact = simulation.outputs((images,))
    rounded = simulation.outputs((images,), simulation.everything())
    return noise(outputs_of(job(network, images)), exact), noise(rounded, exact)


@quantises
@at_most(25)
@torch.inference_mode()
@given(settings_and_size().filter(has_many_values), SEEDS)
def test_every_network_has_the_noise_of_int8(case: tuple[NetworkSettings, Size], seed: int) -> None:
    """At most about that of a network whose sums and depthwise convolutions are rounded too."""
    network_settings, size = case
    network = network_of(network_settings, seed).float()
    own, simulated = noises(network, random_images(seed, 1, network_settings, size, dtype=torch.float32))
    assert own < 2 * simulated + 1e-4


@quantises
@torch.inference_mode()
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_the_noise_of_int8(name: str) -> None:
    """All kinds of pyramids, heads and backbones: none is worse than what rounds more."""
    settings = preset(name, SIZE)
    if not has_many_values((settings, SIZE)):
        pytest.skip("the noise of a few scores is no mean")
    own, simulated = noises(network_of(settings).float(), torch.rand(1, 3, *SIZE))
    assert 0 < own < 1.5 * simulated


@quantises
@torch.inference_mode()
@pytest.mark.parametrize("name", ["mobilenetv2-fpnlite", "mobilenetv2-classifier", "resnet-fpn"])
def test_all_but_depthwise_convolutions_are_in_int8(name: str) -> None:
    """As many MACs as eager does, of which those of depthwise convolutions are in float32."""
    one = job(network_of(preset(name, SIZE)).float(), torch.rand(1, 3, *SIZE))
    graph = graph_of(replace(one, network=deepcopy(one.network)))
    exact = eager.prepare(replace(one, dtype="float32", quantization=None)).graph
    assert exact is not None
    layers = exact().operators
    expected = {
        "int8": sum(one.macs for one in layers if "depthwise" not in one.name),
        "float32": sum(one.macs for one in layers if "depthwise" in one.name),
    }
    assert {dtype: sum(one.macs for one in graph.operators if one.dtype == dtype) for dtype in expected} == expected


@quantises
@torch.inference_mode()
@pytest.mark.parametrize("name", ["mobilenetv2-fpn", "mobilenetv2-classifier", "resnet-fpn"])
def test_layers_that_are_to_stay_in_floating_point_do(name: str) -> None:
    """They alone, in blocks, pyramids and classifiers; the outputs are nearer then."""
    network, images = network_of(preset(name, SIZE)).float(), torch.rand(1, 3, *SIZE)
    layers = [path for path, layer in quantised_layers(network).items() if getattr(layer, "groups", 1) == 1]
    for path in (layers[0], layers[3], layers[-1]):
        before, kept = graph_of(job(network, images)), graph_of(job(network, images, path))
        changed = {one.name for one in kept.operators if one.dtype == "float32"} - {
            one.name for one in before.operators if one.dtype == "float32"
        }
        assert len(changed) == 1
        assert path.startswith(changed.pop())


@quantises
@torch.inference_mode()
@pytest.mark.parametrize("name", ["mobilenetv2-fpn", "mobilenetv2-classifier", "resnet-fpn", "mobilenetv2-fpnlite"])
def test_a_network_that_stays_in_floating_point_is_the_same(name: str) -> None:
    """With every layer left, nothing is rounded."""
    network, images = network_of(preset(name, SIZE)).float(), torch.rand(1, 3, *SIZE)
    whole = job(network, images, *quantised_layers(network))
    assert graph_of(replace(whole, network=deepcopy(network))).share_in("int8") == 0
    assert largest_difference(outputs_of(whole), as_tensors(network(images))) < ROUNDING


@quantises
@torch.inference_mode()
def test_a_level_is_smoothed_early_in_int8_too() -> None:
    """What mixes the coarser map reads that map, and is quantised."""
    network, images = network_of(preset("mobilenetv2-fpn", SIZE)).float(), torch.rand(1, 3, *SIZE)
    one = job(network, images)
    graph = graph_of(one)
    assert any(isinstance(module, KernelLevel) and module.level.mix for module in one.network.modules())
    assert {operator.dtype for operator in graph.operators if ".mix" in operator.name} == {"int8"}


@quantises
@torch.inference_mode()
def test_values_beyond_the_calibrated_ones_become_the_nearest() -> None:
    """An image that is brighter than all that calibrated is as the brightest of them."""
    settings = NetworkSettings.model_validate({"stages": [(1, 8, 1, 2)], "pyramid": {"channels": 8, "levels": ["p2"]}})
    network, images = network_of(settings).float(), torch.rand(1, 3, 32, 48)
    images[0, 0, 0, 0] = 1.0
    prepared = fused.prepare(job(network, images))
    prepared.inputs[0].fill_(1.0)
    brightest = [output.clone() for output in as_tensors(prepared.run())]
    prepared.inputs[0].fill_(50.0)
    assert all(map(torch.equal, as_tensors(prepared.run()), brightest))


@torch.inference_mode()
def test_a_range_is_that_of_all_passes() -> None:
    """And holds zero, which padding is."""
    conv = FoldedConv(Folded(torch.ones(1, 1, 1, 1), None, 1, 0, 1), Optimizations()).float()
    network = nn.Sequential(conv)
    calibration.calibrate(network, [(torch.full((1, 1, 2, 2), value),) for value in (3.0, -1.0, 2.0)])
    assert conv.reads == MapRange(-1.0, 3.0)
    assert (conv.reads.step, conv.reads.zero) == (4 / 255, 64)
    alone = FoldedConv(Folded(torch.ones(1, 1, 1, 1), None, 1, 0, 1), Optimizations()).float()
    calibration.calibrate(nn.Sequential(alone), [(torch.full((1, 1, 2, 2), 3.0),)])
    assert alone.reads == MapRange(0.0, 3.0)
    assert MapRange().step == 1.0


@torch.inference_mode()
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_calibrate_nothing(value: float) -> None:
    """The message says where they are."""
    conv = FoldedConv(Folded(torch.ones(1, 1, 1, 1), None, 1, 0, 1), Optimizations())
    network = nn.Sequential(OrderedDict(first=conv))
    with pytest.raises(MnfpnError, match=r"first reads values in calibration that are no finite numbers"):
        calibration.calibrate(network.float(), [(torch.full((1, 1, 2, 2), value),)])


@torch.inference_mode()
@pytest.mark.parametrize(("inputs", "quantised"), [(MOST_INPUTS, True), (MOST_INPUTS + 1, False)])
def test_sums_do_not_exceed_32_bits(inputs: int, quantised: bool) -> None:
    """A layer of so many inputs that its largest sum would, stays in floating point."""
    assert (255 * 127 * inputs < 2**31) == quantised
    conv = FoldedConv(Folded(torch.ones(1, inputs, 1, 1), None, 1, 0, 1), Optimizations()).float()
    calibration.calibrate(nn.Sequential(conv), [(torch.ones(1, inputs, 1, 1),)])
    assert (conv.reads is not None) == quantised


@given(SEEDS)
@at_most(25)
def test_weights_are_the_nearest_in_eight_bits(seed: int) -> None:
    """With a step for each output; one without weights has zeros."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    weight[2] = 0
    whole, steps = in_eight_bits(weight)
    error = (whole * steps.view(4, 1, 1, 1) - weight).abs()
    assert whole.dtype == torch.int8
    assert (whole.abs().amax((1, 2, 3)) == torch.tensor([127, 127, 0, 127])).all()
    assert (error <= steps.view(4, 1, 1, 1) / 2 + 1e-9).all()


def test_int8_needs_instructions_a_compiler_and_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """In that order; without a compiler that works, preparing says so."""
    cases: list[tuple[bool, list[str], str | None]] = [
        (False, ["c++"], "needs the instructions avx512_vnni, which this processor lacks or torch may not use"),
        (True, [], "needs a C++ compiler: g++, clang++, or the one that the environment variable CXX names"),
        (True, ["c++"], None),
    ]
    for runs, compiler, reason in cases:
        monkeypatch.setattr(kernels, "runs_on_processor", lambda _dtype, runs=runs: runs)
        monkeypatch.setattr(kernels, "_compiler", lambda compiler=compiler: compiler)
        assert fused.unavailable_reason(CPU, "int8", False) == reason
    assert fused.unavailable_reason(torch.device("cuda"), "int8", False) == "runs int8 on the CPU alone"
    assert "inference only" in (fused.unavailable_reason(CPU, "int8", True) or "")
    monkeypatch.setattr(fused, "kernels_for", lambda _dtype: None)
    with pytest.raises(MnfpnError, match="its own kernels for int8 could not be compiled"):
        fused.prepare(job(network_of(preset("mobilenetv2-fpn", SIZE)).float(), torch.rand(1, 3, *SIZE)))
