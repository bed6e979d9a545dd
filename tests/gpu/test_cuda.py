"""Runtimes, clocks and events on a real NVIDIA GPU. Without one these tests are skipped."""

import gc
import json
from collections.abc import Iterator
from math import isfinite
from typing import Any

import pytest
import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.measuring import runtime_names
from tests.conftest import Mnfpn
from tests.export.networks import FLAT, SMALL, shortened
from tests.runtimes.jobs import expected, job

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")

CUDA = torch.device("cuda:0")
SIZE = Size(64, 96)
SHAPE = (2, 3, *SIZE)
ROUNDING: dict[DType, float] = {"float32": 1e-2, "float16": 3e-2, "bfloat16": 2e-1}
"""Of an output's largest value; in float32 torch's convolutions use TF32, which has 10 bits of fraction."""

NETWORK = ("--stages", "2,8,1,2 2,16,2,2", "--pyramid-channels", "8")
HERE = ("--device", "cuda", "--size", str(SIZE), "--warmup", "5", "--json")


def figures(document: Any) -> Iterator[float]:
    """Every number in a document."""
    match document:
        case dict():
            for value in document.values():
                yield from figures(value)
        case list():
            for value in document:
                yield from figures(value)
        case float() | int():
            yield document


def benched(mnfpn: Mnfpn, *arguments: str) -> Any:
    """The document of a benchmark that went well."""
    outcome = mnfpn("bench", *NETWORK, *HERE, *arguments)
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert all(map(isfinite, figures(document)))
    return document


@torch.inference_mode()
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", runtime_names())
def test_outputs_are_those_of_eager_on_the_cpu(name: str, dtype: DType) -> None:
    """In every pass, or it says why not."""
    runtime = load_runtime(name)
    reason = runtime.unavailable_reason(CUDA, dtype, False)
    if reason is not None:
        pytest.skip(reason)
    prepared = runtime.prepare(job(SMALL, SHAPE, dtype, device=CUDA))
    for _ in range(3):
        assert largest_difference(prepared.outputs(prepared.run()), expected(SMALL, SHAPE)) <= ROUNDING[dtype]


@torch.inference_mode()
@pytest.mark.parametrize("name", ["cuda-graph", "compiled"])
def test_the_tensors_of_a_graph_stay_alive(name: str) -> None:
    """Whatever is freed, recorded, allocated and overwritten elsewhere; its network has a matrix product."""
    runtime, shape = load_runtime(name), (2, 3, 32, 48)
    if reason := runtime.unavailable_reason(CUDA, "float32", False):
        pytest.skip(reason)
    prepared, other = (runtime.prepare(job(FLAT, shape, device=CUDA)) for _ in range(2))
    prepared.run()
    del other
    gc.collect()
    torch.cuda.empty_cache()
    filled = [torch.full((size,), torch.nan, device=CUDA) for size in (2**28, *[2**16] * 64, *[2**8] * 1024)]
    for _ in range(2):
        assert largest_difference(prepared.outputs(prepared.run()), expected(FLAT, shape)) <= ROUNDING["float32"]
    assert all(one.isnan().all() for one in filled)


@torch.inference_mode()
@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("name", ["eager", "fused", "cuda-graph"])
def test_every_preset_runs(name: str, preset: str) -> None:
    """With all that is its own."""
    settings = shortened(preset).at(SIZE)
    prepared = load_runtime(name).prepare(job(settings, SHAPE, device=CUDA))
    assert largest_difference(prepared.outputs(prepared.run()), expected(settings, SHAPE)) <= ROUNDING["float32"]


def test_a_pass_is_the_devices_time_and_queueing_it_the_hosts() -> None:
    """A large product keeps the device busy long after the host has done its part."""
    matrix = torch.rand(8192, 8192, device=CUDA)
    timer = device_of(CUDA).timer()
    timer(lambda: matrix @ matrix)
    timing = timer(lambda: matrix @ matrix)
    assert timing.enqueue is not None
    assert 0 < timing.enqueue < timing.seconds / 2


def test_nvml_reads_this_gpu() -> None:
    """Every value is in the range that GPUs can have."""
    pytest.importorskip("pynvml")
    state = device_of(CUDA).sensors().read()
    assert state.sm_clock_hz is not None
    assert state.max_sm_clock_hz is not None
    assert 1e8 < state.sm_clock_hz <= state.max_sm_clock_hz < 1e10
    assert state.temperature_c is None or 0 < state.temperature_c < 120
    assert state.power_w is None or 1 < state.power_w < 2000


def test_bench_measures_every_runtime(mnfpn: Mnfpn) -> None:
    """With the time to queue a pass and the memory; none is slow at first because another was made ready after it."""
    document = benched(mnfpn, "--runtime", "eager,channels-last,fused,cuda-graph", "--passes", "30")
    assert len(document["runs"]) == 4
    for run in document["runs"]:
        assert run["enqueue_s"]["median"] > 0
        assert run["max_difference"] <= ROUNDING["float32"]
        assert run["added_memory_bytes"] > 0
    kinds = {warning["kind"] for warning in document["warnings"]}
    assert "launch_bound" in kinds
    assert "slow_first" not in kinds
    assert document["environment"]["gpu_name"]


def test_layers_have_a_floor_that_they_do_not_fall_under(mnfpn: Mnfpn) -> None:
    """By events; what the whole network reached is less than all."""
    document = benched(mnfpn, "--by-layer", "--roofline", "--passes", "20")
    (profile,) = document["profiles"]
    assert 0 < profile["roofline"]["reached"] < 1
    assert all(part["seconds"] > 0 for part in profile["parts"] if part["macs"])
    assert profile["launch_bound"]
    assert sum(part["seconds"] for part in profile["parts"]) < profile["undisturbed_s"]


def test_cold_caches_and_training_steps_are_measured(mnfpn: Mnfpn) -> None:
    """Each labelled."""
    assert benched(mnfpn, "--cold-cache", "--passes", "10")["runs"][0]["cold_cache"] is True
    assert benched(mnfpn, "--train", "--runtime", "eager,channels-last", "--passes", "10")["runs"][1]["train"] is True


def test_memory_that_runs_out_in_the_middle_is_a_row(mnfpn: Mnfpn) -> None:
    """The other batch is measured."""
    total = torch.cuda.get_device_properties(CUDA).total_memory
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**28 / total, CUDA)
    try:
        outcome = mnfpn("bench", *NETWORK, *HERE, "--batch", "1,4096", "--passes", "10")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, CUDA)
    document = json.loads(outcome.out)
    assert outcome.code == 1
    assert [run["batch"] for run in document["runs"]] == [1]
    assert [row["status"] for row in document["not_run"]] == ["failed"]
    assert "out of memory" in document["not_run"][0]["reason"]


def test_two_runtimes_are_compared(mnfpn: Mnfpn) -> None:
    """By events on both sides."""
    network = " ".join((*NETWORK[:1], f"'{NETWORK[1]}'", *NETWORK[2:]))
    sides = ("--a", network, "--b", f"{network} --runtime cuda-graph")
    outcome = mnfpn("compare", *sides, *HERE, "--passes", "40")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert document["verdict"] in ("a_faster", "b_faster", "same", "inconclusive")
    assert document["a"]["device"] == "cuda:0"
