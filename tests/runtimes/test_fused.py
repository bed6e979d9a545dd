"""The fused runtime computes the same as eager for every network from settings, or gives a reason why it cannot."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.runtimes import eager, fused
from mnfpn_cli.runtimes.fused import folded, resized
from mnfpn_cli.runtimes.fused.folded import FoldedConv, Optimizations, fold, parts
from mnfpn_cli.runtimes.runtime import Job, as_tensors
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings, Upsample
from tests.network.comparing import SEEDS, TOLERANCE, randomised
from tests.strategies import settings_and_size
from tests.tiers import at_most

CPU = torch.device("cpu")
ROUNDING = 1e-4
"""Of each output's largest absolute value, in float32. Where terms cancel, as in a few logits, it can be more: eager is
then as far from float64, and so far is allowed. Whether it is rounding at all, the test in float64 says."""

OPTIMIZATIONS = (
    Optimizations(),
    Optimizations(early=True),
    Optimizations(packed=True),
    Optimizations(packed=True, added=True),
    Optimizations(packed=True, added=True, early=True),
)
needs_onednn = pytest.mark.skipif(not folded.can_pack("float32"), reason="this torch has no oneDNN")
needs_bfloat16 = pytest.mark.skipif(not folded.can_pack("bfloat16"), reason="oneDNN has no bfloat16 here")


def preset(name: str, size: Size) -> NetworkSettings:
    """The settings of a preset, for a size."""
    return NetworkSettings.model_validate(read_preset(name).value).at(size)


def network_of(network_settings: NetworkSettings, seed: int = 0) -> Network:
    """A network in float64 whose biases and batch norm's statistics are random, as those of `build_network` are not."""
    return randomised(lambda: Network(plan_network(network_settings)), seed)


def random_images(
    seed: int, batch: int, network_settings: NetworkSettings, size: Size, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Images for a network, others for each seed: Hypothesis seeds torch's own generator alike for all examples."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, network_settings.in_channels, *size, dtype=dtype, generator=generator)


def rounding(network: Network, images: Tensor) -> float:
    """How far a pass in float32 may be from eager's, for a network in float64."""
    exact, eagers = as_tensors(network(images.double())), as_tensors(deepcopy(network).float()(images))
    return max(ROUNDING, 10 * largest_difference(eagers, exact))


def difference(network: Network, images: Tensor, optimizations: Optimizations) -> float:
    """How far the fused network is from eager, in the dtype of the images; the farther of two passes."""
    ours = fused.fuse(deepcopy(network), optimizations)
    ours = ours.to(dtype=images.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    expected = as_tensors(network.to(images.dtype)(images))
    images = images.to(memory_format=torch.channels_last)
    return max(largest_difference(as_tensors(ours(images)), expected) for _ in range(2))


@torch.inference_mode()
@given(settings_and_size(), SEEDS, st.integers(1, 2))
def test_what_is_computed_is_the_same_to_the_rounding_of_float64(
    case: tuple[NetworkSettings, Size], seed: int, batch: int
) -> None:
    """Folded, and smoothed early wherever that is possible: another order of sums, nothing else."""
    network_settings, size = case
    network = network_of(network_settings, seed)
    images = random_images(seed, batch, network_settings, size, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resized, "is_cheaper", lambda _lateral, _smooth: True)
        assert difference(network, images, Optimizations(early=True)) < TOLERANCE


@given(settings_and_size())
def test_no_batch_norm_is_left(case: tuple[NetworkSettings, Size]) -> None:
    """Each is folded, those behind convolutions that levels share too; group norms depend on the image, and stay."""
    network = Network(plan_network(case[0]))
    kept = sum(isinstance(module, torch.nn.GroupNorm) for module in network.modules())
    left = list(fused.fuse(network, Optimizations()).modules())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in left)
    assert sum(isinstance(module, torch.nn.GroupNorm) for module in left) == kept


@needs_onednn
@at_most(25)
@torch.inference_mode()
@given(settings_and_size(), SEEDS, st.integers(1, 2), st.sampled_from(OPTIMIZATIONS))
def test_every_optimization_computes_the_same_in_float32(
    case: tuple[NetworkSettings, Size], seed: int, batch: int, optimizations: Optimizations
) -> None:
    """With oneDNN's convolutions, their activations and sums, on networks of every kind."""
    network_settings, size = case
    network = network_of(network_settings, seed)
    images = random_images(seed, batch, network_settings, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resized, "is_cheaper", lambda _lateral, _smooth: True)
        limit = rounding(network, images)
        assert difference(network, images, optimizations) < limit


@torch.inference_mode()
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_runs_as_prepared(name: str) -> None:
    """Two images of odd sides; the outputs of a pass stay as they are in the next."""
    size = Size(97, 131)
    network_settings = preset(name, size)
    network, images = network_of(network_settings), torch.rand(2, 3, *size)
    limit = rounding(network, images)
    expected = as_tensors(network.float()(images))
    prepared = fused.prepare(Job(deepcopy(network), True, (images,), CPU, "float32"))
    first = prepared.outputs(prepared.run())
    kept = [tensor.clone() for tensor in first]
    assert largest_difference(prepared.outputs(prepared.run()), expected) < limit
    assert all(torch.equal(one, other) for one, other in zip(first, kept, strict=True))


@torch.inference_mode()
@pytest.mark.parametrize("missing", folded.ONEDNN)
def test_a_torch_without_the_private_operators_runs_without_them(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked up; one that is not there leaves folding and the order in memory."""
    monkeypatch.setattr(folded, "ONEDNN", (*folded.ONEDNN, f"{missing}_of_another_torch"))
    assert replace(fused.available_optimizations(CPU, "float32"), kernels=None) == Optimizations()
    size = Size(65, 97)
    network_settings = preset("resnet-fpn", size)
    network, images = network_of(network_settings).float(), torch.rand(1, 3, *size)
    expected = as_tensors(network(images))
    prepared = fused.prepare(Job(network, True, (images,), CPU, "float32"))
    assert largest_difference(prepared.outputs(prepared.run()), expected) < ROUNDING


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_rounds_what_was_folded_once(dtype: DType) -> None:
    """Folding happens in float64: the weights are the nearest to the exact ones that the dtype has."""
    network_settings = NetworkSettings()
    network = network_of(network_settings).float()
    stem, half = fold(parts(network.stem)), getattr(torch, dtype)
    fused.prepare(Job(network, True, (torch.rand(1, 3, 64, 64),), CPU, dtype))
    found = next(module for module in network.stem.modules() if isinstance(module, FoldedConv))
    assert stem.bias is not None
    assert found.bias is not None
    assert torch.equal(found.weight, stem.weight.to(half))
    assert torch.equal(found.bias, stem.bias.to(half))


@torch.inference_mode()
def test_half_precision_runs() -> None:
    """By oneDNN's convolutions where it computes in bfloat16, else by torch's own; two images, in every pass.

    Each is a draw of what sixty layers of roundings to eight bits add up to: one may be twice as far off as the other.
    """
    network_settings = NetworkSettings()
    network, images = build_network(network_settings), torch.rand(2, 3, 65, 97)
    expected = as_tensors(network(images))
    jobs = [Job(deepcopy(network), True, (images,), CPU, "bfloat16") for _ in range(2)]
    ours, eagers = (runtime.prepare(job).run for runtime, job in zip((fused, eager), jobs, strict=True))
    limit = 5 * largest_difference(as_tensors(eagers()), expected)
    for _ in range(2):
        found = as_tensors(ours())
        assert {tensor.dtype for tensor in found} == {torch.bfloat16}
        assert largest_difference(found, expected) < limit


def noise_in(network: Network, images: Tensor, dtype: torch.dtype, exact: Sequence[Tensor]) -> float:
    """The noise in all outputs together in a dtype, as a share of the signal."""
    order = torch.channels_last
    network.to(dtype=dtype, memory_format=order)  # type: ignore[call-overload]
    found = as_tensors(network(images.to(dtype=dtype, memory_format=order)))
    noise = sum((one.double() - other).square().sum() for one, other in zip(found, exact, strict=True))
    return float(noise / sum(other.square().sum() for other in exact))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("dtype", "optimizations"),
    [pytest.param("bfloat16", one, marks=needs_bfloat16 if one.packed else ()) for one in OPTIMIZATIONS]
    + [("float16", Optimizations(early=True))],
)
@pytest.mark.parametrize("name", ["mobilenetv2-fpn", "resnet-fpn"])
def test_no_optimization_adds_noise_in_half_precision(
    name: str, dtype: DType, optimizations: Optimizations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most a decibel to eager's, which is what two orders of rounding differ by: weights are rounded once."""
    monkeypatch.setattr(resized, "is_cheaper", lambda _lateral, _smooth: True)
    size, half = Size(65, 97), getattr(torch, dtype)
    network, images = network_of(preset(name, size)), torch.rand(1, 3, *size, dtype=torch.float64)
    exact = as_tensors(network(images))
    eagers = noise_in(deepcopy(network), images, half, exact)
    assert noise_in(fused.fuse(network, optimizations), images, half, exact) < 10**0.1 * eagers


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_only_folded_where_the_processor_does_not_compute_in_it(
    dtype: DType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or where this torch does not say so; float32 always has what oneDNN has, and a GPU none of it."""
    monkeypatch.setattr(fused, "kernels_for", lambda _dtype: None)
    own = replace(fused.available_optimizations(CPU, "float32"), kernels=None)
    for answer, expected in ((True, own), (False, Optimizations())):
        monkeypatch.setattr(torch.ops.mkldnn, "_answer", lambda answer=answer: answer, raising=False)
        monkeypatch.setitem(folded.SUPPORTED, dtype, "_answer")
        assert fused.available_optimizations(CPU, dtype) == expected
    monkeypatch.setitem(folded.SUPPORTED, dtype, "_no_such_answer")
    assert fused.available_optimizations(CPU, dtype) == Optimizations()
    assert fused.available_optimizations(torch.device("cuda"), "float32") == Optimizations()


def test_training_is_refused_and_inference_is_not() -> None:
    """Training needs batch norm unfolded."""
    assert "batch norm" in (fused.unavailable_reason(CPU, "float32", True) or "")
    assert fused.unavailable_reason(CPU, "float32", False) is None


@pytest.mark.parametrize(
    ("name", "levels"), [("mobilenetv2-fpn", ["p2", "p3", "p4"]), ("resnet-fpn", []), ("mobilenetv2-fpnlite", [])]
)
def test_levels_are_smoothed_early_where_taps_are_narrow(name: str, levels: list[str]) -> None:
    """MobileNetV2's are; ResNet's have as many channels as the pyramid, or more; a separable smoothing is cheap."""
    pyramid = build_network(preset(name, Size(64, 64))).pyramid
    assert pyramid is not None
    assert list(fused.early_levels(pyramid, Optimizations(early=True))) == levels
    assert fused.early_levels(pyramid, Optimizations()) == {}


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
@pytest.mark.parametrize(("coarse", "fine"), [((1, 1), (5, 8)), ((3, 4), (5, 8)), ((5, 3), (10, 6)), ((2, 1), (2, 2))])
def test_the_table_moves_what_torch_resizes(coarse: tuple[int, int], fine: tuple[int, int], upsample: Upsample) -> None:
    """Each row summed as the table says is the resized map, moved by each offset of a 3×3, zeros coming in."""
    rows = torch.rand(1, 9, *coarse, dtype=torch.float64)  # a map for each offset
    table = resized.resize_table(rows, torch.Size(fine), upsample)
    found = (rows[0].permute(1, 2, 0).flatten()[table.indices] * table.weights).sum(1)
    larger = F.interpolate(rows, fine, mode=upsample, align_corners=None if upsample == "nearest" else False)
    moved = F.conv2d(larger, torch.eye(9, dtype=torch.float64).view(1, 9, 3, 3), padding=1)
    torch.testing.assert_close(found.view(fine), moved[0, 0])


@needs_onednn
@torch.inference_mode()
def test_a_tap_is_not_overwritten_by_the_block_behind_it() -> None:
    """A stage's first block may add its input, which the pyramid takes too."""
    stages = [(1, 16, 1, 2), (1, 16, 2, 1), (2, 24, 1, 2)]
    network_settings = NetworkSettings.model_validate({"stages": stages, "pyramid": {"taps": "first"}})
    network = network_of(network_settings)
    assert network.tapped[0] == 0
    assert difference(network, torch.rand(1, 3, 65, 97), OPTIMIZATIONS[-1]) < ROUNDING
