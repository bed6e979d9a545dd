"""A benchmark as a whole: what it measures, and what becomes of a device that fails."""

from dataclasses import replace

import pytest
import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure import bench, environment
from mnfpn_cli.measure.bench import Benchmark, BenchRun, benchmark
from mnfpn_cli.measure.cpu import reading_cpu_name
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.network.build import build_network
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.input import DType, Size, network_input
from mnfpn_cli.settings.measuring import BenchCase, Sampling
from mnfpn_cli.settings.models import NetworkSettings

SETTINGS = NetworkSettings.model_validate({"stages": [(2, 8, 2, 2)], "pyramid": {"channels": 8}})
CASE = BenchCase(
    input=network_input(SETTINGS, Size(33, 47), batch=3),
    dtype="float32",
    channels_last=False,
    threads=1,
    sampling=Sampling(1, 4, 0.0),
)


def measure(case: BenchCase = CASE, devices: tuple[str, ...] = ("cpu",)) -> Benchmark:
    """Measure the small network."""
    return benchmark(SETTINGS, 0, case, devices, lambda: "a CPU", lambda *_: None)


def test_a_benchmark_counts_and_times() -> None:
    """As many samples as passes were asked for; throughput is images, not batches."""
    result = measure()
    (run,) = result.runs
    assert len(run.latency.samples) == 4
    assert result.throughput_per_s(run) == pytest.approx(3 / run.latency.median)
    assert (run.device, run.threads, result.environment.cpu) == ("cpu", 1, "a CPU")
    assert result.fvcore.by_operator["conv"] == result.cost.total.macs
    assert run.peak_memory_bytes is not None


def test_the_thread_count_is_put_back() -> None:
    """A measurement leaves torch as it was."""
    before = torch.get_num_threads()
    assert measure(replace(CASE, threads=before + 1)).runs[0].threads == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_model_is_half_as_large_in_half_the_bytes(dtype: DType) -> None:
    """Weights and buffers; batch norm's counter of batches, 8 bytes each, stays as it is."""
    full, half = measure().runs[0], measure(replace(CASE, dtype=dtype, channels_last=True)).runs[0]
    counters = 8 * 7
    assert half.model_bytes - counters == (full.model_bytes - counters) / 2


@pytest.mark.parametrize("channels_last", [False, True])
def test_passes_run_in_eval_and_inference_mode_in_the_layout_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, channels_last: bool
) -> None:
    """Images and weights; seen from inside a timed pass."""
    seen = set()
    real = Network.forward

    def forward(network: Network, images: torch.Tensor) -> tuple[torch.Tensor, ...] | torch.Tensor:
        if images.shape[0] == CASE.input.batch:  # fvcore's image is alone
            weight = network.get_parameter("stem.conv.weight")
            layouts = (tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (images, weight))
            seen.add((torch.is_inference_mode_enabled(), network.training, weight.dtype, *layouts))
        return real(network, images)

    monkeypatch.setattr(Network, "forward", forward)
    measure(replace(CASE, channels_last=channels_last))
    assert seen == {(True, False, torch.float32, channels_last, channels_last)}


def test_a_device_that_fails_does_not_lose_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured is returned with the failure; only where nothing was, the failure is all there is."""
    real = bench.bench_device

    def fails_on_meta(network: object, device: torch.device, *rest: object) -> BenchRun:
        if device.type == "meta":
            raise MnfpnError("out of memory on meta")
        return real(network, device, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bench, "bench_device", fails_on_meta)
    monkeypatch.setattr(bench, "check_fits", lambda *_: None)
    monkeypatch.setattr(bench, "choose_devices", lambda names: [torch.device(name) for name in names])
    result = measure(devices=("meta", "cpu"))
    assert [run.device for run in result.runs] == ["cpu"]
    assert result.failures == ("out of memory on meta",)
    with pytest.raises(MnfpnError, match="out of memory on meta"):
        measure(devices=("meta",))


def test_a_dtype_that_a_device_lacks_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch says it; any other error is a bug, and stays one."""

    def raising(message: str) -> None:
        def measure_latency(*_: object) -> None:
            raise RuntimeError(message)

        monkeypatch.setattr(bench, "measure_latency", measure_latency)

    raising("\"conv\" not implemented for 'Half'")
    with pytest.raises(MnfpnError, match="torch could not run this on cpu at batch 3, 33x47, float32"):
        measure()
    raising("something else")
    with pytest.raises(RuntimeError, match="something else"):
        measure()


def test_out_of_memory_is_told_as_such_on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one of the errors that a GPU's libraries raise, and the one with a remedy of its own."""

    def measure_latency(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(bench, "measure_latency", measure_latency)
    with pytest.raises(MnfpnError, match=r"^out of memory on meta at batch 3, 33x47, float32$"):
        bench.bench_device(build_network(SETTINGS), torch.device("meta"), CASE, lambda _: None)


def test_whatever_a_gpus_libraries_say_is_explained() -> None:
    """Their limits have words of their own; the first line is kept."""
    message = "torch could not run this here: cuDNN error: EXECUTION_FAILED$"
    with pytest.raises(MnfpnError, match=message), bench._failure_explained(torch.device("cuda"), "here"):
        raise RuntimeError("cuDNN error: EXECUTION_FAILED\nmore")


def test_the_environment_names_hardware_and_software(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU there is no driver; with one, its driver is asked for, and may not be known."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = read_environment("a CPU")
    assert (here.torch, here.gpu, here.driver, here.cuda) == (torch.__version__, None, None, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(environment, "_nvidia_driver", lambda: "580.1")
    there = read_environment("a CPU")
    assert (there.gpu, there.driver) == ("NVIDIA H100", "580.1")


def test_no_driver_program_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then not known."""
    monkeypatch.setenv("PATH", "")
    assert environment._nvidia_driver() is None


def test_the_cpu_has_a_name() -> None:
    """Read beside other work."""
    with reading_cpu_name() as name:
        pass
    assert name().strip()
