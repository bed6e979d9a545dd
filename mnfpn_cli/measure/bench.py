"""A benchmark: what a network costs, and how fast it runs on each of some devices."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.devices import choose_devices, first_line
from mnfpn_cli.measure.environment import Environment, read_environment
from mnfpn_cli.measure.flops import FvcoreCount, count_with_fvcore
from mnfpn_cli.measure.latency import Latency, measure_latency, timer_for
from mnfpn_cli.measure.memory import PeakMemory, check_fits, out_of_memory_explained
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.cost import NetworkCost, network_cost
from mnfpn_cli.plan.memory import activation_bytes
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.measuring import BenchCase
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.weights.load import Loaded, build_with_weights

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of it is."""


@dataclass(frozen=True, slots=True)
class BenchRun:
    """What was measured on one device."""

    device: str
    device_name: str | None
    threads: int
    model_bytes: int
    latency: Latency
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The cost of a network for one image, its runs, and the devices on which it failed, each with the reason."""

    case: BenchCase
    cost: NetworkCost
    fvcore: FvcoreCount
    activation_bytes: int
    runs: tuple[BenchRun, ...]
    failures: tuple[str, ...]
    environment: Environment
    weights: Loaded | None = None

    def throughput_per_s(self, run: BenchRun) -> float:
        """Images a second at the median latency of a run."""
        return self.case.input.batch / run.latency.median


def benchmark(
    settings: NetworkSettings,
    seed: int,
    case: BenchCase,
    device_names: Sequence[str],
    cpu_name: Callable[[], str],
    progress: Progress,
    weights: Path | None = None,
) -> Benchmark:
    """Count what a network costs, and time it on each device. ``cpu_name`` is waited for before anything is timed.

    Raises:
        UsageError: where the input cannot fit the memory that a device has free, or the weights are another network's.
        MnfpnError: where there is no such device, or no device could run the network.
    """
    devices = choose_devices(device_names)
    plan = plan_network(settings)
    one_image = replace(case.input, batch=1)
    check_fits(plan, one_image, "float32", torch.device("cpu"))  # fvcore runs the network on the CPU
    for device in devices:
        check_fits(plan, case.input, case.dtype, device)
    progress("counting", 0.0)
    with out_of_memory_explained(f"counting {one_image.size} with fvcore"):
        network, loaded = build_with_weights(settings, seed, weights)
        fvcore = count_with_fvcore(deepcopy(network), one_image)
    environment = read_environment(cpu_name())
    runs, failures = [], []
    for device in devices:
        try:
            runs.append(bench_device(deepcopy(network), device, case, partial(progress, str(device))))
        except MnfpnError as error:
            failures.append(str(error))
    if not runs:
        raise MnfpnError("\n".join(failures))
    return Benchmark(
        case=case,
        cost=network_cost(plan, case.input.size),
        fvcore=fvcore,
        activation_bytes=activation_bytes(plan, case.input, case.dtype),
        runs=tuple(runs),
        failures=tuple(failures),
        environment=environment,
        weights=loaded,
    )


def bench_device(
    network: Network, device: torch.device, case: BenchCase, progress: Callable[[float], None]
) -> BenchRun:
    """Time passes of a network, in inference mode, on random images. The network is moved to the device.

    Raises:
        MnfpnError: where memory runs out, or the device cannot run the network in this dtype.
    """
    doing = f"on {device} at batch {case.input.batch}, {case.input.size}, {case.dtype}"
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    dtype: torch.dtype = getattr(torch, case.dtype)
    with (
        _failure_explained(device, doing),
        out_of_memory_explained(doing),
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),  # events are put on its stream
        _thread_count(case.threads) as threads,
        torch.inference_mode(),
    ):
        network.to(device=device, dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
        peak = PeakMemory(device)
        images = torch.rand(case.input.shape, generator=torch.Generator().manual_seed(0))
        images = images.to(device=device, dtype=dtype, memory_format=layout)
        latency = measure_latency(lambda: network(images), timer_for(device), case.sampling, progress)
        return BenchRun(
            device=str(device),
            device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            threads=threads,
            model_bytes=sum(tensor.nbytes for tensor in network.state_dict().values()),
            latency=latency,
            peak_memory_bytes=peak.bytes(),
        )


@contextmanager
def _thread_count(threads: int | None) -> Iterator[int]:
    """Run with a number of CPU threads, torch's own choice where it is None; the count before is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@contextmanager
def _failure_explained(device: torch.device, doing: str) -> Iterator[None]:
    """Turn what a device cannot do into an error of its own, so that other devices' runs are kept.

    On the CPU that is a dtype without an implementation; a GPU's libraries have limits and words of their own.
    """
    try:
        yield
    except RuntimeError as error:
        if device.type == "cpu" and "not implemented for" not in str(error):
            raise
        raise MnfpnError(f"torch could not run this {doing}: {first_line(error)}") from error
