"""Our own kernels compute the same as eager, into memory of their own, and are left out where they cannot be made."""

import os
import shlex
import subprocess
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from mnfpn_cli.devices.instructions import Instructions, this_processor
from mnfpn_cli.devices.threads import cpu_threads
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.runtimes import fused
from mnfpn_cli.runtimes.fused import kernels
from mnfpn_cli.runtimes.fused.blocks import KernelBlock, Memory
from mnfpn_cli.runtimes.fused.folded import Folded, FoldedConv, MapRange, Optimizations, can_pack
from mnfpn_cli.runtimes.fused.levels import KernelLevel
from mnfpn_cli.runtimes.fused.resized import ResizedSum
from mnfpn_cli.runtimes.fused.weights import BOUNDS
from mnfpn_cli.runtimes.runtime import Job, as_tensors
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.network.comparing import SEEDS
from tests.runtimes.test_fused import CPU, ROUNDING, difference, network_of, noise_in, preset, random_images, rounding
from tests.strategies import settings_and_size
from tests.tiers import at_most

ONEDNN = can_pack("float32")
AMX = ("amx_tile", "amx_bf16", "amx_int8")
EMULATED_AMX = Path(__file__).with_name("cpp") / "emulated_amx.h"
Kind = Literal["float32", "bfloat16", "bfloat16 by AMX", "int8", "int8 by AMX"]
IN_BFLOAT16: tuple[Kind, ...] = ("bfloat16", "bfloat16 by AMX")
IN_INT8: tuple[Kind, ...] = ("int8", "int8 by AMX")
FLOATING: tuple[Kind, ...] = ("float32", *IN_BFLOAT16)


def dtype_of(kind: Kind) -> DType:
    """What the kernels of a kind multiply in."""
    return TypeAdapter[DType](DType).validate_python(kind.partition(" ")[0])


def kernels_of(kind: Kind) -> kernels.Kernels:
    """The kernels of a kind, or skip where they cannot be made; AMX is emulated where the processor lacks it."""
    dtype, amx = dtype_of(kind), kind.endswith("AMX")
    made = kernels.made_kernels(dtype, amx=amx) or (emulated_kernels(dtype) if amx else None)
    if made is None:
        pytest.skip(f"no kernels of `fused` in {kind}: no C++ compiler, or not the instructions that they need")
    return made


@cache
def emulated_kernels(dtype: DType) -> kernels.Kernels | None:
    """Kernels that multiply by AMX, compiled with functions in place of its instructions; None where none can be."""
    with pytest.MonkeyPatch.context() as patch:
        version = zlib.crc32(EMULATED_AMX.read_bytes())  # kernels are kept by their command
        options = f"-DVERSION={version} -include {shlex.quote(str(EMULATED_AMX))}"
        patch.setenv("CXX", f"{os.environ.get('CXX', 'c++')} {options}")
        return kernels_by_amx(patch, dtype)


def kernels_by_amx(patch: pytest.MonkeyPatch, dtype: DType) -> kernels.Kernels | None:
    """Kernels that multiply by AMX, as if the processor and the system had it; None where they cannot be made."""
    usable = this_processor().usable or ()
    patch.setattr(kernels, "this_processor", lambda: Instructions(usable, (*usable, *AMX)))
    patch.setattr(kernels, "allows_amx", lambda: True)
    return kernels.made_kernels.__wrapped__(dtype, amx=True)


def optimizations(kind: Kind = "float32") -> Optimizations:
    """All of them, with the kernels of a kind."""
    return Optimizations(packed=ONEDNN, added=ONEDNN, early=ONEDNN, kernels=kernels_of(kind))


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Look for a compiler anew, and keep what it makes in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels.made_kernels.cache_clear()
    yield
    kernels.made_kernels.cache_clear()


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
    images = random_images(seed, batch, network_settings, size)
    limit = rounding(network, images)
    assert difference(network, images, optimizations()) < limit


def has_many_values(case: tuple[NetworkSettings, Size]) -> bool:
    """Whether the outputs for one image have enough values for their noise to be a mean: a few scores have not."""
    network_settings, size = case
    with torch.device("meta"), torch.inference_mode():
        network = Network(plan_network(network_settings)).eval()
        outputs = as_tensors(network(torch.empty(1, network_settings.in_channels, *size)))
    return sum(one.numel() for one in outputs) >= 500


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", IN_BFLOAT16)
@at_most(25)
@torch.inference_mode()
@given(settings_and_size().filter(has_many_values), SEEDS, st.integers(1, 2))
def test_every_network_has_the_noise_of_bfloat16(
    kind: Kind, case: tuple[NetworkSettings, Size], seed: int, batch: int
) -> None:
    """As much as torch's, folded or not, within what two orders of rounding may differ by.

    Of maps with one channel, these two differ by 24 times.
    """
    allowed, (network_settings, size) = optimizations(kind), case
    network = network_of(network_settings, seed)
    images = random_images(seed, batch, network_settings, size, dtype=torch.float64)
    exact = as_tensors(network(images))
    of_torch = deepcopy(network), fused.fuse(deepcopy(network), Optimizations())
    torchs = max(noise_in(one, images, torch.bfloat16, exact) for one in of_torch)
    noise = noise_in(fused.fuse(network, allowed), images, torch.bfloat16, exact)
    assert not noise > 4 * torchs + 1e-3  # where all outputs are zero, it is not a number


@torch.inference_mode()
@pytest.mark.parametrize("kind", IN_BFLOAT16)
@pytest.mark.parametrize("name", ["mobilenetv2-classifier", "mobilenetv2-keras", "mobilenetv2-plain-classifier"])
def test_a_classifier_has_the_noise_of_bfloat16(name: str, kind: Kind) -> None:
    """At most twice eager's, in the scores of a thousand classes."""
    allowed, size = optimizations(kind), Size(97, 131)
    network, images = network_of(preset(name, size)), torch.rand(2, 3, *size, dtype=torch.float64)
    exact = as_tensors(network(images))
    eagers = noise_in(deepcopy(network), images, torch.bfloat16, exact)
    assert noise_in(fused.fuse(network, allowed), images, torch.bfloat16, exact) < 2 * eagers


@dataclass(frozen=True)
class Block:
    """Convolutions for the kernels, and what they read, all of whole numbers.

    Attributes:
        convs: up to three, in the order in which they run.
        x: the input (n, in, h, w).
        added: what the last one adds, or none.
    """

    convs: list[Folded]
    x: Tensor
    added: Tensor | None


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Blocks of every kind, whose outputs are too small for bfloat16 to round."""
    random = torch.Generator().manual_seed(draw(SEEDS))
    channels = draw(st.one_of(st.integers(1, 40), st.sampled_from([255, 1024])))
    hidden, out = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    kernel, stride = draw(st.sampled_from([1, 3])), draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["project", "separable", "expanded"]))

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, last: bool = False) -> Folded:
        weight = torch.randint(-1, 2, (outputs, inputs // groups, kernel, kernel), generator=random)
        few = torch.rand(weight.shape, generator=random) < 12 / weight[0].numel()  # sums stay below 256
        bias = torch.randint(-3, 4, (outputs,), generator=random).double()
        return Folded((weight * few).double(), bias, stride, kernel // 2, groups, None if last else "relu6")

    def depthwise(channels: int) -> Folded:
        return conv(channels, channels, 3, stride, channels)

    match kind:
        case "project":
            convs = [conv(channels, out, kernel, stride, last=True)]
        case "separable":
            convs = [depthwise(channels), conv(channels, out, 1, last=True)]
        case _:
            convs = [conv(channels, hidden, kernel), depthwise(hidden), conv(hidden, out, 1, last=True)]
    sides = draw(st.one_of(st.tuples(st.integers(1, 20), st.integers(1, 20)), st.just((1, 200)), st.just((70, 9))))
    x = torch.randint(-2, 3, (draw(st.integers(1, 2)), channels, *sides), generator=random).double()
    made = [-(-side // stride) for side in sides]
    added = torch.randint(-3, 4, (len(x), out, *made), generator=random).double() if draw(st.booleans()) else None
    return Block(convs, x, added)


WHOLE = MapRange(-128.0, 127.0)
"""The range of a map whose steps in eight bits are whole numbers."""


@pytest.mark.parametrize("kind", [*FLOATING, *IN_INT8])
@pytest.mark.parametrize("threads", [1, 3])
@torch.inference_mode()
@given(blocks(), st.booleans())
def test_whole_numbers_are_exact(kind: Kind, threads: int, block: Block, overwrite: bool) -> None:
    """Of channels that fill no vector and no pair, on any number of threads, whatever is added and was in memory.

    In int8 their sums are, which are times a scale that is none.
    """
    made, order, memory = kernels_of(kind), torch.channels_last, Memory()
    memory.take("scratch", 2**20, torch.float32).view(torch.int32).fill_(-1)  # a NaN in both dtypes
    convs = OrderedDict((str(index), FoldedConv(conv, Optimizations())) for index, conv in enumerate(block.convs))
    for conv in convs.values():
        conv.reads = WHOLE if kind in IN_INT8 and conv.groups == 1 else None
    expected = block.x
    for index, conv in enumerate(convs.values()):
        expected = conv(expected, block.added.clone() if block.added is not None and index == len(convs) - 1 else None)
    own = KernelBlock(OrderedDict(convs), made, memory).to(made.maps)
    x, added = (None if one is None else one.to(made.maps, memory_format=order) for one in (block.x, block.added))
    with cpu_threads(threads):
        found = own(x, added, overwrite and added is not None)
    assert expected.abs().max() <= 256
    if kind in IN_INT8:
        assert (found - expected).abs().max() < 1e-3
        found = found.round()
    assert torch.equal(found.double(), expected)


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
    kernels.made_kernels.cache_clear()
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
    network = fused.fuse(network_of(NetworkSettings()), optimizations()).to(
        torch.float32, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
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


@st.composite
def levels(draw: st.DrawFn) -> tuple[ResizedSum, Tensor, Tensor]:
    """A level, smoothed early or not, the map that it convolves, and the coarser one, of small whole numbers."""
    random = torch.Generator().manual_seed(draw(SEEDS))
    channels, merged, out = draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 70))
    sides = draw(st.one_of(st.tuples(st.integers(1, 24), st.integers(1, 24)), st.sampled_from([(3, 150), (90, 2)])))
    images, early = draw(st.integers(1, 2)), draw(st.booleans())
    merged = merged if early else out

    def whole(*shape: int, most: int = 3) -> Tensor:
        return torch.randint(-most, most + 1, shape, generator=random).double()

    kernel = 3 if early else 1
    weight, bias = whole(out, channels, kernel, kernel, most=1), whole(out)
    conv = Folded(weight, bias, 1, kernel // 2, 1, draw(st.sampled_from(list(BOUNDS))))
    mix = Folded(whole(9 * out, merged, 1, 1, most=1), whole(9 * out), 1, 0, 1) if early else None
    level = ResizedSum(conv, draw(st.sampled_from(["nearest", "bilinear"])), Optimizations(), mix)
    return level, whole(images, channels, *sides), whole(images, merged, *(-(-side // 2) for side in sides))


def same_level(kind: Kind, level: ResizedSum, x: Tensor, coarse: Tensor, threads: int) -> None:
    """Whether kernels compute a level as torch does in float64, but for the rounding of its outputs."""
    made, order = kernels_of(kind), torch.channels_last
    expected = level(x, coarse).clone()
    for conv in (level, level.mix):
        if conv is not None and kind in IN_INT8:
            conv.reads = WHOLE
    memory = Memory()
    memory.take("scratch", 2**22, torch.float32).view(torch.int32).fill_(-1)  # a NaN in both dtypes
    own = KernelLevel(level.to(made.maps), made, memory)
    maps = (one.to(made.maps, memory_format=order) for one in (x, coarse))
    with cpu_threads(threads):
        found = own(*maps)
    largest = expected.abs().max().clamp(min=1)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= largest * (2**-8 if kind in IN_BFLOAT16 else ROUNDING)


@pytest.mark.parametrize("kind", [*FLOATING, *IN_INT8])
@pytest.mark.parametrize("threads", [1, 3])
@at_most(40)
@torch.inference_mode()
@given(levels())
def test_a_level_is_the_same(kind: Kind, threads: int, case: tuple[ResizedSum, Tensor, Tensor]) -> None:
    """Of any sides and channels, which fill no vector, resized in both ways, mixed before or not."""
    same_level(kind, *case, threads)


@pytest.mark.parametrize("kind", [*FLOATING, *IN_INT8])
@pytest.mark.parametrize("channels", [96, 60])
@torch.inference_mode()
def test_a_large_level_is_the_same(kind: Kind, channels: int) -> None:
    """One of which bands and groups of channels are made apart, and which goes past the caches if lines are whole."""
    random = torch.Generator().manual_seed(channels)
    weight, mixing = (
        torch.randn(*shape, generator=random) for shape in ((channels, 8, 3, 3), (9 * channels, 24, 1, 1))
    )
    mix = Folded(mixing.double().sign(), None, 1, 0, 1)
    level = ResizedSum(Folded(weight.double().sign(), None, 1, 1, 1), "bilinear", Optimizations(), mix)
    x, coarse = (torch.randint(-3, 4, shape, generator=random) for shape in ((1, 8, 257, 190), (1, 24, 129, 95)))
    same_level(kind, level, x.double(), coarse.double(), 2)


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
@pytest.mark.parametrize("kind", FLOATING)
def test_a_nan_stays_one(kind: Kind) -> None:
    """An activation does not hide it, as eager's does not."""
    made = kernels_of(kind)
    network = fused.fuse(network_of(preset("mobilenetv2-classifier", Size(64, 64))), optimizations(kind))
    network.to(made.maps, memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert network(torch.full((1, 3, 64, 64), float("nan"), dtype=made.maps)).isnan().all()


@pytest.mark.parametrize("kind", ["bfloat16 by AMX", "int8 by AMX"])
def test_kernels_by_amx_are_compiled(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its instructions, which this processor need not have: a compiler that knows them takes every one."""
    if emulated_kernels(dtype_of(kind)) is None or not _knows_amx(dtype_of(kind)):
        pytest.skip("no C++ compiler that knows AMX")
    assert kernels_by_amx(monkeypatch, dtype_of(kind))


def _knows_amx(dtype: DType) -> bool:
    command = (*kernels._compiler(), *kernels.BUILDS[dtype, True].options, "-fsyntax-only", "-xc++", "/dev/null")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("kind", "own"), [("float32", False), ("bfloat16", False), ("bfloat16 by AMX", True)])
def test_by_tiles_kernels_run_every_dense_convolution(kind: Kind, own: bool) -> None:
    """Those of a ResNet too, at which oneDNN is faster by vectors."""
    network = fused.fuse(network_of(preset("resnet-fpn", Size(64, 64))), optimizations(kind))
    assert {isinstance(block.get_submodule("spatial"), KernelBlock) for block in network.stages[1].children()} == {own}


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


@pytest.mark.parametrize(
    ("dtype", "sets", "capability", "runs", "by_amx"),
    [
        ("bfloat16", ("avx512_bf16",), "AVX512", True, False),
        ("bfloat16", ("avx512_bf16",), "AVX2", False, False),
        ("bfloat16", ("avx512_bf16", *AMX), "AVX512", True, True),
        ("bfloat16", ("avx512_bf16", *AMX), "AVX2", False, False),
        ("bfloat16", AMX, "AVX512", False, False),
        ("bfloat16", ("avx512f", "avx512_vnni"), "AVX512", False, False),
        ("bfloat16", None, "AVX512", False, False),
        ("int8", ("avx512_vnni",), "AVX512", True, False),
        ("int8", ("avx512_vnni",), "AVX2", False, False),
        ("int8", ("avx512_vnni", *AMX), "AVX512", True, True),
        ("int8", ("avx512_vnni", "amx_tile", "amx_bf16"), "AVX512", True, False),
        ("int8", ("avx512f", "avx_vnni"), "AVX512", False, False),
        ("int8", None, "AVX512", False, False),
        ("float32", None, "AVX2", True, False),
        ("float16", ("avx512_fp16",), "AVX512", False, False),
    ],
)
def test_kernels_need_instructions(
    dtype: DType,
    sets: tuple[str, ...] | None,
    capability: str,
    runs: bool,
    by_amx: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of their dtype, which torch may use."""
    monkeypatch.setattr(kernels, "this_processor", lambda: Instructions(sets, sets))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert (kernels.runs_on_processor(dtype), kernels.runs_on_processor(dtype, amx=True)) == (runs, by_amx)


@pytest.mark.parametrize(
    ("dtype", "has_tiles", "allowed", "compiled", "chosen"),
    [
        ("float32", False, True, (False, True), False),
        ("bfloat16", True, True, (False, True), True),
        ("bfloat16", True, False, (False, True), False),
        ("bfloat16", True, True, (False,), None),
        ("bfloat16", False, True, (False, True), False),
        ("int8", True, True, (False, True), True),
        ("int8", True, True, (False,), False),
        ("int8", False, True, (), None),
    ],
)
def test_kernels_multiply_by_tiles_where_they_can(
    dtype: DType,
    has_tiles: bool,
    allowed: bool,
    compiled: tuple[bool, ...],
    chosen: bool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By vectors elsewhere; but where only their compiler lacks tiles, oneDNN's are faster in bfloat16."""
    made = {False: object(), True: object()}
    monkeypatch.setattr(kernels, "runs_on_processor", lambda _dtype, amx: has_tiles and amx)
    monkeypatch.setattr(kernels, "allows_amx", lambda: allowed)
    monkeypatch.setattr(kernels, "made_kernels", lambda _dtype, amx=False: made[amx] if amx in compiled else None)
    assert kernels.kernels_for(dtype) is (None if chosen is None else made[chosen])


def test_kernels_are_for_the_cpu() -> None:
    """Elsewhere they are not even compiled."""
    assert not fused.available_optimizations(torch.device("cuda"), "float32").kernels
    assert not fused.available_optimizations(torch.device("cuda"), "bfloat16").kernels
