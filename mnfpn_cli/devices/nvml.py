"""Clocks, temperature, power and energy of an NVIDIA GPU, where nvidia-ml-py (`mnfpn[gpu]`) and a driver are there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import fmean, median
from typing import Any, Protocol

SLOWDOWNS = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x20: "thermal limit",
    0x40: "hardware thermal limit",
    0x80: "power brake",
}
"""NVML's bits that mean slower than the GPU could run, in its clock event reasons.

Not among them: an idle GPU, clocks that somebody has set, a group of GPUs in step, a display.
"""

MIN_ENERGY_S = 1.0
"""NVML reports power as a mean of a second, and its energy counter moves in steps of up to 0.1 s."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """A GPU at one moment: clocks in hertz, degrees Celsius, watts, joules. What could not be read is None.

    Attributes:
        sm_clock_hz: of the multiprocessors.
        memory_clock_hz: of the memory.
        max_sm_clock_hz: the highest that the GPU has.
        temperature_c: of the chip.
        power_w: of the whole board, a mean of the last second on most GPUs.
        energy_j: since the driver was loaded, of the whole board.
        throttle_reasons: why it runs slower than it could; empty where nothing holds it back.
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
        """The state now. May take milliseconds: not to be called while timing."""


class NoGpuReader:
    """Knows nothing: no NVIDIA GPU, no driver, or no nvidia-ml-py."""

    def read(self) -> GpuState:
        """A state of which nothing is known."""
        return GpuState()


@dataclass(frozen=True)
class NvmlReader:
    """Asks NVML about one GPU, each thing by itself: GPUs differ in what they tell, and so do permissions."""

    nvml: Any
    handle: Any

    def read(self) -> GpuState:
        """The state now; what NVML refuses is None."""
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

    def _ask(self, function: str, *arguments: Any, unit: float = 1.0) -> float | None:
        try:
            return float(getattr(self.nvml, function)(self.handle, *arguments) * unit)
        except (self.nvml.NVMLError, AttributeError):  # a GPU, a permission, a driver or a library that lacks it
            return None

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # its name before CUDA 12.2
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if bits is None else tuple(name for bit, name in SLOWDOWNS.items() if int(bits) & bit)


def gpu_reader(properties: Any) -> GpuReader:
    """A reader for the GPU of these properties of torch's; one that knows nothing where NVML does not know it."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return NoGpuReader()
    try:
        nvml.nvmlInit()  # and never shut down: it is counted, torch may use it too, and it ends with the process
    except nvml.NVMLError:
        return NoGpuReader()
    for find, name in _names(properties):
        try:
            return NvmlReader(nvml, getattr(nvml, find)(name))
        except nvml.NVMLError:
            continue
    return NoGpuReader()


def _names(properties: Any) -> Iterator[tuple[str, str]]:
    """How NVML may know a device. Not by torch's index, which CUDA_VISIBLE_DEVICES gives anew; torch has a UUID."""
    if uuid := getattr(properties, "uuid", None):
        bare = str(uuid).removeprefix("GPU-").removeprefix("MIG-")
        yield "nvmlDeviceGetHandleByUUID", f"GPU-{bare}"
        yield "nvmlDeviceGetHandleByUUID", f"MIG-{bare}"
    if hasattr(properties, "pci_bus_id"):
        domain, bus, slot = (getattr(properties, f"pci_{part}_id", 0) for part in ("domain", "bus", "device"))
        yield "nvmlDeviceGetHandleByPciBusId", f"{domain:08x}:{bus:02x}:{slot:02x}.0"


def energy_used(states: Sequence[GpuState], seconds: float) -> float | None:
    """Joules between the first and the last of some readings: by the GPU's counter, or mean power × time.

    Args:
        states: readings, the first before and the last after; the GPU must have been busy all the while.
        seconds: between the first and the last.

    Returns:
        None where neither could be read, or the time is too short for what NVML reports.
    """
    if not states or seconds < MIN_ENERGY_S:
        return None
    first, last = states[0].energy_j, states[-1].energy_j
    if first is not None and last is not None and last > first:
        return last - first
    powers = [state.power_w for state in states if state.power_w is not None]
    return fmean(powers) * seconds if powers else None


def typical(states: Sequence[GpuState]) -> GpuState | None:
    """Some readings as one: medians of clocks, the highest temperature, mean power, every reason seen; no energy.

    None where nothing could be read.
    """

    def over(function: Callable[[list[float]], float], name: str) -> float | None:
        values = [value for state in states if (value := getattr(state, name)) is not None]
        return function(values) if values else None

    reasons = [state.throttle_reasons for state in states if state.throttle_reasons is not None]
    made = GpuState(
        sm_clock_hz=over(median, "sm_clock_hz"),
        memory_clock_hz=over(median, "memory_clock_hz"),
        max_sm_clock_hz=over(max, "max_sm_clock_hz"),
        temperature_c=over(max, "temperature_c"),
        power_w=over(fmean, "power_w"),
        throttle_reasons=tuple(dict.fromkeys(one for some in reasons for one in some)) if reasons else None,
    )
    return None if made == GpuState() else made
