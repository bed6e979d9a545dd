"""Our own kernels compute the same as eager, into memory of their own, and are left out where they cannot be made."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.devices.threads import cpu_threads
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.runtimes import fused
from mnfpn_cli.runtimes.fused import kernels
from mnfpn_cli.runtimes.fused.blocks import KernelBlock
from mnfpn_cli.runtimes.fused.folded import Optimizations, can_pack
from mnfpn_cli.runtimes.runtime import Job, as_tensors
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.network.comparing import SEEDS
from tests.runtimes.test_fused import CPU, ROUNDING, difference, network_of, preset, rounding
from tests.strategies import settings_and_size
from tests.tiers import at_most

ONEDNN = can_pack("float32")


def optimizations(dtype: torch.dtype = torch.float32) -> Optimizations:
    """All of them, or skip where the kernels for a dtype cannot be made."""
    if (made := kernels.kernels_for(dtype)) is None:
        pytest.skip(f"no kernels of `fused` for {dtype}: no C++ compiler, or the processor has no instructions for it")
    return Optimizations(packed=ONEDNN, added=ONEDNN, early=ONEDNN, kernels=made)


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Look for a compiler anew, and keep what it makes in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels.kernels_for.cache_clear()
    yield
    kernels.kernels_for.cache_clear()


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread, and more than share a small map evenly."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@at_most(25)
@torch.inference_mode()
@given(settings_and_size(), SEEDS, st.integers(1, 2))
def test_every_network_is_the_same(case: tuple[NetworkSettings, Size], seed: int, batch: int) -> None:
    """Of any widths and strides, which fill no vectors, and of maps with fewer pixels than a tile."""
    network_settings, size = case
    network = network_of(network_settings, seed)
    images = torch.rand(batch, network_settings.in_channels, *size)
    limit = rounding(network, images)
    assert difference(network, images, optimizations()) < limit


@pytest.mark.usefixtures("threads")
@torch.inference_mode()
@pytest.mark.parametrize("name", ["mobilenetv2-classifier", "mobilenetv2-keras", "mobilenetv2-dynamic-fpn"])
@pytest.mark.parametrize("size", [Size(33, 70), Size(129, 97)])
def test_threads_share_the_work(name: str, size: Size) -> None:
    """By rows where there are many, else by channels."""
    network, images = network_of(preset(name, size)), torch.rand(2, 3, *size)
    limit = rounding(network, images)
    assert difference(network, images, optimizations()) < limit


@pytest.mark.slow
@pytest.mark.usefixtures("anew")
@torch.inference_mode()
@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2"])
def test_narrower_vectors_compute_the_same(capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that has less than this one, or where torch was told to use less."""
    if capability not in ("DEFAULT", torch.backends.cpu.get_cpu_capability()) and not _has_avx512():
        pytest.skip(f"this processor has no {capability}")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    kernels.kernels_for.cache_clear()
    size = Size(65, 97)
    for name in ("mobilenetv2-fpnlite", "mobilenetv2-fpn"):
        network, images = network_of(preset(name, size)), torch.rand(1, 3, *size)
        limit = rounding(network, images)
        assert difference(network, images, optimizations()) < limit


def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@torch.inference_mode()
def test_maps_have_one_place_and_taps_do_not_share_it() -> None:
    """Every pass writes a block's output where it wrote it before; the pyramid's taps are all there at its end."""
    network = fused.fuse(network_of(NetworkSettings()), optimizations()).to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(1, 3, 64, 96)
    places: list[list[int]] = []
    for block in network.modules():
        if isinstance(block, KernelBlock) and block.buffer:
            block.register_forward_hook(lambda _block, _x, y: places[-1].append(y.data_ptr()))
    for _ in range(2):
        places.append([])
        network(images)
    buffers = [block.buffer for block in network.modules() if isinstance(block, KernelBlock)]
    taps = {buffer for buffer in buffers if buffer and buffer.startswith("stage")}
    assert places[0] == places[1]
    assert len(taps) == len(network.tapped)
    assert len(set(places[0])) < len(places[0]) / 2
    assert all(buffers.count(tap) == 1 for tap in taps)


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("channels", [1, 7, 16, 24, 100, 128, 256, 272])
def test_rows_of_any_width_are_summed(channels: int, threads: int) -> None:
    """As torch sums them: whole vectors, several at once, and what is left."""
    random = torch.Generator().manual_seed(channels)
    rows, sums = torch.rand(50, channels, generator=random), torch.full((33, channels), float("nan"))
    indices = torch.randint(50, (33, 12), generator=random, dtype=torch.int32)
    weights = torch.rand(33, 12, generator=random)
    with cpu_threads(threads):
        kernels.add_rows(indices, weights, rows, sums)
    expected = torch.nn.functional.embedding_bag(indices, rows, mode="sum", per_sample_weights=weights)
    assert torch.allclose(sums, expected, rtol=1e-5)


@torch.inference_mode()
def test_a_level_that_is_smoothed_early_has_one_place() -> None:
    """It may be larger than what the C library keeps. So the next pass overwrites it."""
    network = network_of(NetworkSettings())
    prepared = fused.prepare(Job(network, True, (torch.rand(2, 3, 64, 96),), CPU, "float32"))
    levels = list(network.get_submodule("pyramid.early").children())
    assert levels
    first = prepared.run()
    before = [level.clone() for level in first]
    prepared.inputs[0].mul_(0.5)
    second = prepared.run()
    for place in range(len(levels)):
        assert first[place].data_ptr() == second[place].data_ptr()
        assert not torch.equal(second[place], before[place])


@torch.inference_mode()
def test_a_nan_stays_one() -> None:
    """An activation does not hide it, as eager's does not."""
    network = fused.fuse(network_of(preset("mobilenetv2-classifier", Size(64, 64))), optimizations())
    network.to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert network(torch.full((1, 3, 64, 64), float("nan"))).isnan().all()


@pytest.mark.usefixtures("anew")
@torch.inference_mode()
@pytest.mark.parametrize("compiler", ["/no/such/compiler", "false", "true"])
def test_without_a_compiler_torch_runs_all(compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there, fails, or makes no library; what is fused by torch still is."""
    monkeypatch.setenv("CXX", compiler)
    assert not fused.available_optimizations(CPU, "float32").kernels
    size = Size(65, 97)
    network, images = network_of(preset("mobilenetv2-fpn", size)).float(), torch.rand(1, 3, *size)
    expected = as_tensors(network(images))
    prepared = fused.prepare(Job(deepcopy(network), True, (images,), CPU, "float32"))
    assert largest_difference(prepared.outputs(prepared.run()), expected) < ROUNDING
    assert [one.kind for one in prepared.warnings] == ["no_kernels"]


def test_kernels_are_for_float32_on_a_cpu() -> None:
    """Elsewhere they are not even compiled."""
    assert not fused.available_optimizations(CPU, "bfloat16").kernels
    assert not fused.available_optimizations(torch.device("cuda"), "float32").kernels
