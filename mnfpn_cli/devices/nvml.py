"""Clocks, temperature, power and energy of an NVIDIA GPU. Needs nvidia-ml-py (`mnfpn[gpu]`) and a driver."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from statistics import fmean, median
from typing import Any, Protocol

SLOWDOWNS = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x20: "thermal limit",
    0x40: "hardware thermal limit",
    0x80: "power brake",
}
"""The bits of NVML's clock event reasons that mean that the GPU runs slower than it could.

Other bits do not count: an idle GPU, clocks that someone has set, GPUs with synchronised clocks, a display.
"""

MIN_ENERGY_S = 1.0
"""Shorter measurements have no energy: NVML's power is the mean of a second, its counter has steps of up to 0.1 s."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """One reading of a GPU. None: could not be read.

    Attributes:
        sm_clock_hz: the clock of the multiprocessors in hertz.
        memory_clock_hz: the clock of the memory.
        max_sm_clock_hz: the highest clock of the multiprocessors.
        temperature_c: the temperature of the chip in degrees Celsius.
        power_w: the power of the whole board in watts; on most GPUs the mean of the last second.
        energy_j: the energy of the whole board in joules since the driver was loaded.
        throttle_reasons: why the GPU runs slower than it could; empty where nothing slows it down.
    """

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    max_sm_clock_hz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    throttle_reasons: tuple[str, ...] | None = None


class GpuReader(Protocol):
    """Reads the state of one GPU."""

    def read(self) -> GpuState:
        """Return the state now. May take milliseconds: do not call it while timing."""

    def memory_of(self, pid: int) -> int | None:
        """Return the bytes that a process takes, by the driver; None where it does not say."""


class NoGpuReader:
    """Stands for a device that cannot be read: no NVIDIA GPU, no driver, or no nvidia-ml-py."""

    def read(self) -> GpuState:
        """Return a state without values."""
        return GpuState()

    def memory_of(self, pid: int) -> int | None:  # noqa: ARG002
        """Return None."""
        return None


@dataclass(frozen=True)
class NvmlReader:
    """Reads one GPU by NVML, each value by itself: GPUs and permissions differ in what can be read."""

    nvml: Any
    handle: Any

    def read(self) -> GpuState:
        """Return the state now; None for each value that NVML refuses."""
        sm, memory, chip = self.nvml.NVML_CLOCK_SM, self.nvml.NVML_CLOCK_MEM, self.nvml.NVML_TEMPERATURE_GPU
        return GpuState(
            sm_clock_hz=self._ask("nvmlDeviceGetClockInfo", sm, unit=1e6),
            memory_clock_hz=self._ask("nvmlDeviceGetClockInfo", memory, unit=1e6),
            max_sm_clock_hz=self._ask("nvmlDeviceGetMaxClockInfo", sm, unit=1e6),
            temperature_c=self._ask("nvmlDeviceGetTemperature", chip),
            power_w=self._ask("nvmlDeviceGetPowerUsage", unit=1e-3),
            energy_j=self._ask("nvmlDeviceGetTotalEnergyConsumption", unit=1e-3),
            throttle_reasons=self._throttle_reasons(),
        )

    def memory_of(self, pid: int) -> int | None:
        """Return the bytes that a process takes; None where NVML refuses, or knows it by an id of the host's."""
        try:
            processes = self.nvml.nvmlDeviceGetComputeRunningProcesses(self.handle)
        except (self.nvml.NVMLError, AttributeError):
            return None
        return next((one.usedGpuMemory for one in processes if one.pid == pid), None)

    def _ask(self, function: str, *arguments: Any, unit: float = 1.0) -> float | None:
        try:
            return float(getattr(self.nvml, function)(self.handle, *arguments) * unit)
        except (self.nvml.NVMLError, AttributeError):  # a GPU, a permission, a driver or a library that lacks it
            return None

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the function's name before CUDA 12.2
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if bits is None else tuple(name for bit, name in SLOWDOWNS.items() if int(bits) & bit)


def gpu_reader(properties: Any) -> GpuReader:
    """Return a reader for the GPU that has these torch properties; a `NoGpuReader` where NVML does not find it."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return NoGpuReader()
    try:
        nvml.nvmlInit()  # never shut down: torch may use NVML too, and it ends with the process
    except nvml.NVMLError:
        return NoGpuReader()
    for find, name in _names(properties):
        try:
            return NvmlReader(nvml, getattr(nvml, find)(name))
        except nvml.NVMLError:
            continue
    return NoGpuReader()


def _names(properties: Any) -> Iterator[tuple[str, str]]:
    """Yield NVML's functions to find a device, with what to find it by.

    torch's index is not NVML's, as CUDA_VISIBLE_DEVICES changes it: the UUID is used, or the PCI address.
    """
    if uuid := getattr(properties, "uuid", None):
        bare = str(uuid).removeprefix("GPU-").removeprefix("MIG-")
        yield "nvmlDeviceGetHandleByUUID", f"GPU-{bare}"
        yield "nvmlDeviceGetHandleByUUID", f"MIG-{bare}"
    if hasattr(properties, "pci_bus_id"):
        domain, bus, slot = (getattr(properties, f"pci_{part}_id", 0) for part in ("domain", "bus", "device"))
        yield "nvmlDeviceGetHandleByPciBusId", f"{domain:08x}:{bus:02x}:{slot:02x}.0"


def energy_used(states: Sequence[GpuState], seconds: float) -> float | None:
    """Return the joules used between the first and the last reading: by the GPU's counter, or as mean power × time.

    Args:
        states: readings in order; the GPU must have been busy from the first to the last.
        seconds: the time from the first to the last.

    Returns:
        None where neither could be read, or the time is shorter than `MIN_ENERGY_S`.
    """
    if not states or seconds < MIN_ENERGY_S:
        return None
    first, last = states[0].energy_j, states[-1].energy_j
    if first is not None and last is not None and last > first:
        return last - first
    powers = [state.power_w for state in states if state.power_w is not None]
    return fmean(powers) * seconds if powers else None


def summarize(states: Sequence[GpuState]) -> GpuState | None:
    """Summarise readings: median clocks, the highest temperature, mean power, all throttle reasons; no energy.

    None where no value could be read.
    """

    def over(function: Callable[[list[float]], float], name: str) -> float | None:
        values = [value for state in states if (value := getattr(state, name)) is not None]
        return function(values) if values else None

    reasons = [state.throttle_reasons for state in states if state.throttle_reasons is not None]
    summary = GpuState(
        sm_clock_hz=over(median, "sm_clock_hz"),
        memory_clock_hz=over(median, "memory_clock_hz"),
        max_sm_clock_hz=over(max, "max_sm_clock_hz"),
        temperature_c=over(max, "temperature_c"),
        power_w=over(fmean, "power_w"),
        throttle_reasons=tuple(dict.fromkeys(chain.from_iterable(reasons))) if reasons else None,
    )
    return None if summary == GpuState() else summary
