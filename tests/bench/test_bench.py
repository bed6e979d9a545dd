"""A benchmark as a whole: what it measures, and how a run that fails is reported."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mnfpn_cli.bench import bench, group, prepare
from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.results import Benchmark, speed_up
from mnfpn_cli.bench.workload import PlannedWorkload
from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.devices.cuda import driver_version
from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.devices.timers import Timing
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure import environment, memory
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.network.network import Network
from mnfpn_cli.runtimes import channels_last, eager
from mnfpn_cli.runtimes.runtime import Job
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.settings.measuring import BenchCase, Sampling
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.broken import broken

SETTINGS = NetworkSettings.model_validate({"stages": [(2, 8, 2, 2)], "pyramid": {"channels": 8}})
SIZE = Size(33, 47)
CASE = BenchCase(batches=(3,), threads=1, sampling=Sampling(warmup=1, passes=4, min_time_s=0.0))
Forward = Callable[[Network, torch.Tensor], tuple[torch.Tensor, ...] | torch.Tensor]


def measure(
    case: BenchCase = CASE, devices: tuple[str, ...] = ("cpu",), sizes: tuple[Size, ...] = (SIZE,)
) -> Benchmark:
    """Measure the small network."""
    networks = [PlannedWorkload(FromSettings(SETTINGS), size) for size in sizes]
    return benchmark(networks, case, devices, lambda: "a CPU", lambda *_: None)


def test_a_benchmark_counts_and_times() -> None:
    """As many samples as passes were asked for; throughput is images, not batches."""
    result = measure()
    (run,) = result.measured
    assert len(run.latency.samples) == 4
    assert (run.ended, run.warm_up.passes, result.complete) == ("passes", 1, True)
    assert run.throughput_per_s == pytest.approx(3 / run.latency.median)
    assert (run.key.device, run.threads, result.environment.cpu) == ("cpu", 1, "a CPU")
    assert result.costs[0].fvcore is not None
    assert result.costs[0].fvcore.by_operator["conv"] == result.costs[0].cost.total.macs
    assert run.peak_memory_bytes is not None
    assert run.added_memory_bytes is not None
    assert run.added_memory_bytes < run.peak_memory_bytes
    assert run.first.seconds > 0


def test_every_size_batch_and_runtime_is_a_run_in_the_order_in_which_they_were_asked_for() -> None:
    """The speed-up of a run is relative to the first run of the same input."""
    case = replace(CASE, batches=(2, 1), runtimes=("eager", "channels-last"))
    result = measure(case, sizes=(Size(64, 64), SIZE))
    keys = [(run.key.input.size, run.key.input.batch, run.key.runtime) for run in result.runs]
    assert keys == [
        (size, batch, runtime)
        for size in (Size(64, 64), SIZE)
        for batch in (2, 1)
        for runtime in ("eager", "channels-last")
    ]
    assert [one.size for one in result.costs] == [Size(64, 64), SIZE]
    for first, second in zip(result.measured[::2], result.measured[1::2], strict=True):
        assert result.first(second) is result.first(first) is first
        assert speed_up(first, second).value == first.latency.median / second.latency.median  # of few passes
        assert speed_up(first, second).interval is None


def test_every_runtime_is_compared_with_eager_float32() -> None:
    """Half precision differs; eager float32 alone has nothing to be compared with."""
    exact, rounded = (
        measure(replace(CASE, runtimes=("eager", "channels-last"))).measured,
        measure(replace(CASE, dtypes=("bfloat16",))).measured,
    )
    assert exact[0].difference == 0
    assert exact[1].difference is not None
    assert exact[1].difference < 1e-4  # rounding, by the kernels that the processor has
    assert rounded[0].difference is not None
    assert 1e-4 < rounded[0].difference < 0.5  # sixty layers of roundings to eight bits
    assert measure().measured[0].difference is None


def test_the_number_of_threads_is_restored() -> None:
    """A measurement leaves torch as it was."""
    before = torch.get_num_threads()
    assert measure(replace(CASE, threads=before + 1)).measured[0].threads == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_model_is_half_as_large_in_half_the_bytes(dtype: DType) -> None:
    """Weights and buffers; batch norm's counter of batches, 8 bytes each, stays as it is."""
    full, half = (measure(replace(CASE, dtypes=(name,))).costs[0].model_bytes for name in ("float32", dtype))
    counters = 8 * 7
    assert half - counters == (full - counters) / 2


@pytest.mark.parametrize("runtime", ["eager", "channels-last"])
def test_passes_run_in_eval_and_inference_mode_in_the_layout_of_the_runtime(
    monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    """Images and weights; seen from inside a timed pass."""
    seen = []
    real: Forward = Network.forward

    def forward(network: Network, images: torch.Tensor) -> tuple[torch.Tensor, ...] | torch.Tensor:
        weight = network.get_parameter("stem.conv.weight")
        layouts = (tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (images, weight))
        seen.append((torch.is_inference_mode_enabled(), network.training, weight.dtype, *layouts))
        return real(network, images)

    monkeypatch.setattr(Network, "forward", forward)
    measure(replace(CASE, runtimes=(runtime,)))
    last = runtime == "channels-last"
    assert set(seen[-4:]) == {(True, False, torch.float32, last, last)}


def test_a_training_step_changes_the_weights_and_is_compared_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, backward, and SGD, in training mode and outside of inference mode."""
    seen = []
    real: Forward = Network.forward

    def forward(network: Network, images: torch.Tensor) -> tuple[torch.Tensor, ...] | torch.Tensor:
        seen.append(
            (
                torch.is_inference_mode_enabled(),
                network.training,
                network.get_parameter("stem.conv.weight").detach().sum().item(),
            )
        )
        return real(network, images)

    monkeypatch.setattr(Network, "forward", forward)
    (run,) = measure(replace(CASE, train=True)).measured
    steps = seen[-6:]
    assert {step[:2] for step in steps} == {(False, True)}
    assert len({step[2] for step in steps}) == 6
    assert run.difference is None


def test_cold_caches_are_cleared_before_each_timed_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not cleared in warm-up."""
    cleared = []
    monkeypatch.setattr(Cpu, "cache_clearer", lambda _cpu: lambda: cleared.append(1))
    measure(replace(CASE, cold_cache=True))
    assert len(cleared) == 4


def test_a_device_that_fails_does_not_lose_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured is returned with the failure; only where nothing was, the failure is all there is."""
    real = prepare.prepare_run

    def fails_on_meta(name: str, job: Job, *rest: object) -> prepare.ReadyRun:
        if job.device.type == "meta":
            raise MnfpnError("out of memory on meta")
        return real(name, job, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(group, "prepare_run", fails_on_meta)
    monkeypatch.setattr(bench, "check_needed", lambda *_: None)
    monkeypatch.setattr(bench, "choose_devices", lambda names: [torch.device(name) for name in names])
    result = measure(devices=("meta", "cpu"))
    assert [run.key.device for run in result.measured] == ["cpu"]
    assert result.failures == ("eager on meta, batch 3, 33x47: out of memory on meta",)
    with pytest.raises(MnfpnError, match="out of memory on meta"):
        measure(devices=("meta",))


def test_a_batch_that_does_not_fit_is_a_run_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other runs are measured; where nothing fits, it is wrong usage."""

    def check_needed(_needed: object, input: object, *_: object) -> None:
        if input.batch > 4:  # type: ignore[attr-defined]
            raise UsageError(Problem("`batch`", "must fit"))

    monkeypatch.setattr(bench, "check_needed", check_needed)
    result = measure(replace(CASE, batches=(3, 8)))
    assert [(run.key.input.batch, run.status) for run in result.runs] == [(3, "measured"), (8, "too_large")]
    assert result.failures == ("eager on cpu, batch 8, 33x47: `batch`: must fit",)
    with pytest.raises(UsageError, match=r"^batch: must fit"):
        measure(replace(CASE, batches=(8,)))


def test_a_size_that_does_not_fit_is_a_run_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are counted and timed."""

    def check_needed(_needed: object, input: NetworkInput, *_: object) -> None:
        if input.size.height > 40:
            raise UsageError(Problem("`size`", "must fit"))

    monkeypatch.setattr(bench, "check_needed", check_needed)
    result = measure(sizes=(Size(64, 64), SIZE))
    assert [(run.key.input.size, run.status) for run in result.runs] == [
        (SIZE, "measured"),
        (Size(64, 64), "too_large"),
    ]
    assert [one.size for one in result.costs] == [SIZE]
    with pytest.raises(UsageError, match=r"^size: must fit"):
        measure(sizes=(Size(64, 64),))


@pytest.mark.usefixtures("one_pass_settles")
def test_out_of_memory_in_the_middle_keeps_the_other_runs() -> None:
    """A run that fails while it is prepared has no measurement; one that fails while it is timed ended early."""
    both = replace(CASE, runtimes=("eager", "channels-last"))
    memory = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with broken(channels_last, 2, memory):
        result = measure(both)
    assert [run.status for run in result.runs] == ["measured", "failed"]
    assert result.failures[0].endswith("out of memory in channels-last on cpu at batch 3, 33x47, float32")
    with broken(channels_last, 6, memory):  # in the pass that settles it in the third round
        whole, cut = measure(both).measured
    assert (len(whole.latency.samples), whole.ended) == (4, "passes")
    assert (len(cut.latency.samples), cut.ended) == (2, "failed")
    assert cut.failure is not None


def test_what_a_library_cannot_do_is_explained() -> None:
    """By the first line of its message, and its type unless that is RuntimeError."""
    for error, words in (
        (RuntimeError("cuDNN error: EXECUTION_FAILED\nmore"), "float32: cuDNN error: EXECUTION_FAILED$"),
        (TypeError("no such thing"), "float32: TypeError: no such thing$"),
    ):
        with broken(eager, 1, error), pytest.raises(MnfpnError, match=words):
            measure()


def test_a_runtime_that_is_unavailable_says_why_in_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a failure if it was named, and none if all runtimes were asked for."""
    case = replace(CASE, runtimes=("eager", "cuda-graph"))
    result = measure(case)
    assert [run.status for run in result.runs] == ["measured", "unavailable"]
    assert len(result.failures) == 1
    monkeypatch.setattr("mnfpn_cli.settings.measuring.runtime_names", lambda: ("eager", "cuda-graph"))
    assert measure(case).failures == ()
    with pytest.raises(MnfpnError, match="CUDA"):
        measure(replace(CASE, runtimes=("cuda-graph",)))


@pytest.mark.usefixtures("one_pass_settles")
def test_ctrl_c_keeps_what_was_measured() -> None:
    """During timed passes; earlier there is nothing to keep."""
    with broken(channels_last, 7, KeyboardInterrupt()):
        result = measure(replace(CASE, batches=(3, 2), runtimes=("eager", "channels-last")))
    assert not result.complete
    assert [(len(run.latency.samples), run.ended) for run in result.measured] == [
        (3, "interrupted"),
        (2, "interrupted"),
    ]
    with broken(channels_last, 1, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        measure(replace(CASE, runtimes=("channels-last",)))


def test_ctrl_c_between_measurements_keeps_those_that_are_done() -> None:
    """The second batch was being made ready."""
    with broken(channels_last, 7, KeyboardInterrupt()):
        result = measure(replace(CASE, batches=(3, 2), runtimes=("channels-last",)))
    assert not result.complete
    assert [run.key.input.batch for run in result.measured] == [3]


def test_a_smaller_dtype_is_timed_where_float32_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is then nothing to compare it with."""

    def no_outputs(*_: object) -> None:
        raise MnfpnError("out of memory")

    monkeypatch.setattr(group, "run_eager_float32", no_outputs)
    assert measure(replace(CASE, dtypes=("bfloat16",))).measured[0].difference is None


def test_the_environment_names_hardware_and_software(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU there is no driver; with one, its driver is asked for, and may not be known."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = read_environment("a CPU")
    assert (here.torch, here.gpu_name, here.driver, here.cuda) == (torch.__version__, None, None, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(environment, "driver_version", lambda: "580.1")
    there = read_environment("a CPU")
    assert (there.gpu_name, there.driver, there.tf32) == ("NVIDIA H100", "580.1", torch.backends.cudnn.allow_tf32)


def test_no_driver_program_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then not known."""
    monkeypatch.setenv("PATH", "")
    assert driver_version() is None


def test_the_cpu_has_a_name() -> None:
    """Read beside other work."""
    with reading_cpu_name() as name:
        pass
    assert name().strip()


def test_a_device_that_fails_as_a_whole_is_runs_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the driver's, say, when its memory is asked for: other runs are kept."""
    real = memory.check_needed

    def check_needed(needed: memory.Needed, input: NetworkInput, dtype: DType, device: torch.device) -> None:
        if input.batch == 2:
            raise RuntimeError("CUDA error: unspecified launch failure\nmore")
        real(needed, input, dtype, device)

    monkeypatch.setattr(bench, "check_needed", check_needed)
    result = measure(replace(CASE, batches=(3, 2)))
    assert [run.status for run in result.runs] == ["measured", "failed"]
    assert result.failures[0].endswith(
        ": could not run a pass on cpu at batch 2, 33x47: CUDA error: unspecified launch failure"
    )


def test_a_runtime_with_its_own_way_to_the_gpu_queues_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it allocates is not known."""
    monkeypatch.setattr(channels_last, "prepare", lambda job: replace(eager.prepare(job), outside_torch=True))
    monkeypatch.setattr(Cpu, "timer", lambda _cpu: lambda run: (run(), Timing(0.01, 0.009))[1])
    own, queued = measure(replace(CASE, runtimes=("channels-last", "eager"))).measured
    assert (own.enqueue, own.peak_memory_bytes, own.added_memory_bytes) == (None, None, None)
    assert queued.enqueue is not None
    assert queued.peak_memory_bytes is not None
