"""NVML, as a scripted module: values that are read, values that are refused, and which GPU is read."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.nvml import GpuState, NoGpuReader, NvmlReader, energy_used, summarize

GPU = torch.device("cuda:0")
UUID = "01234567-89ab-cdef-0123-456789abcdef"


class NVMLError(Exception):
    """As in pynvml, where every refusal is a subclass."""


class FakeNvml(ModuleType):
    """pynvml, with answers by function, or by function and argument; an exception as an answer is raised."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, **answers: Any) -> None:
        super().__init__("pynvml")
        self.answers = {"nvmlInit": None} | answers

    def __getattr__(self, name: str) -> Any:
        if name not in self.__dict__.get("answers", {}):
            raise AttributeError(name)

        def ask(*arguments: Any) -> Any:
            answer = self.answers[name]
            if isinstance(answer, dict):
                answer = answer.get(arguments[-1], NVMLError("Not Found"))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


ANSWERS: dict[str, Any] = {
    "nvmlDeviceGetClockInfo": {1: 1410, 2: 2619},
    "nvmlDeviceGetMaxClockInfo": {1: 1980},
    "nvmlDeviceGetTemperature": {0: 64},
    "nvmlDeviceGetPowerUsage": 512_500,
    "nvmlDeviceGetTotalEnergyConsumption": 7_000_500,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x04,
}
STATE = GpuState(
    sm_clock_hz=1.41e9,
    memory_clock_hz=2.619e9,
    max_sm_clock_hz=1.98e9,
    temperature_c=64.0,
    power_w=512.5,
    energy_j=7000.5,
    throttle_reasons=("power limit",),
)


def read(**answers: Any) -> GpuState:
    """Read a GPU that gives these answers."""
    return NvmlReader(FakeNvml(**(ANSWERS | answers)), "handle").read()


def test_every_value_is_read_in_base_units() -> None:
    """NVML has megahertz, milliwatts and millijoules."""
    assert read() == STATE


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("nvmlDeviceGetClockInfo", ["sm_clock_hz", "memory_clock_hz"]),
        ("nvmlDeviceGetMaxClockInfo", ["max_sm_clock_hz"]),
        ("nvmlDeviceGetTemperature", ["temperature_c"]),
        ("nvmlDeviceGetPowerUsage", ["power_w"]),
        ("nvmlDeviceGetTotalEnergyConsumption", ["energy_j"]),
        ("nvmlDeviceGetCurrentClocksEventReasons", ["throttle_reasons"]),
    ],
)
def test_a_value_that_is_refused_is_none_and_the_others_are_read(function: str, fields: list[str]) -> None:
    """Not supported by this GPU, not permitted to this user, not in this driver: all are NVML's errors."""
    state = read(**{function: NVMLError("Not Supported")})
    different = [name for name in STATE.__slots__ if getattr(state, name) != getattr(STATE, name)]
    assert different == fields
    assert all(getattr(state, name) is None for name in fields)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ([SimpleNamespace(pid=1, usedGpuMemory=2**20), SimpleNamespace(pid=7, usedGpuMemory=2**30)], 2**30),
        ([SimpleNamespace(pid=1, usedGpuMemory=2**20)], None),
        ([SimpleNamespace(pid=7, usedGpuMemory=None)], None),
        (NVMLError("No Permission"), None),
    ],
    ids=["there", "by the id of its host", "not said", "refused"],
)
def test_the_memory_of_a_process_is_the_drivers(answer: object, found: int | None) -> None:
    """In a container the driver may know a process by another id."""
    nvml = FakeNvml(nvmlDeviceGetComputeRunningProcesses=answer)
    assert NvmlReader(nvml, "handle").memory_of(7) == found
    assert NvmlReader(FakeNvml(), "handle").memory_of(7) is None
    assert NoGpuReader().memory_of(7) is None


@pytest.mark.parametrize("new", [{}, {"nvmlDeviceGetCurrentClocksEventReasons": NVMLError("Function Not Found")}])
def test_throttle_reasons_are_read_by_their_old_name_where_the_new_is_missing(new: dict[str, Any]) -> None:
    """Missing in an old library, or in an old driver behind a new library."""
    old = {name: value for name, value in ANSWERS.items() if "Reasons" not in name}
    nvml = FakeNvml(**old, **new, nvmlDeviceGetCurrentClocksThrottleReasons=0x20)
    assert NvmlReader(nvml, "handle").read().throttle_reasons == ("thermal limit",)
    assert NvmlReader(FakeNvml(**old, **new), "handle").read().throttle_reasons is None


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        (0x00, ()),
        (0x01, ()),  # idle
        (0x02, ()),  # clocks that somebody has set
        (0x10, ()),  # a group of GPUs in step
        (0x100, ()),  # a display
        (0x04, ("power limit",)),
        (0x08, ("hardware slowdown",)),
        (0x20, ("thermal limit",)),
        (0x48, ("hardware slowdown", "hardware thermal limit")),
        (0x88, ("hardware slowdown", "power brake")),
        (0x05, ("power limit",)),
    ],
)
def test_only_what_slows_a_gpu_down_is_throttling(bits: int, reasons: tuple[str, ...]) -> None:
    """An idle GPU, and clocks that someone has set, are no throttling."""
    assert read(nvmlDeviceGetCurrentClocksEventReasons=bits).throttle_reasons == reasons


@pytest.fixture
def properties(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What torch knows of the GPU."""
    known = SimpleNamespace(uuid=UUID)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: known if device == GPU else None)
    return known


def install(monkeypatch: pytest.MonkeyPatch, nvml: ModuleType | None) -> None:
    """Let `import pynvml` give this; None: it is not installed."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


@pytest.mark.parametrize("prefix", ["GPU", "MIG"])
@pytest.mark.parametrize("torch_has_prefix", [False, True])
def test_the_gpu_is_found_by_its_uuid(
    monkeypatch: pytest.MonkeyPatch, properties: SimpleNamespace, prefix: str, torch_has_prefix: bool
) -> None:
    """CUDA_VISIBLE_DEVICES renumbers torch's devices, so an index would be another GPU's."""
    properties.uuid = f"{prefix}-{UUID}" if torch_has_prefix else UUID
    install(monkeypatch, FakeNvml(**ANSWERS, nvmlDeviceGetHandleByUUID={f"{prefix}-{UUID}": "third"}))
    reader = device_of(GPU).sensors()
    assert isinstance(reader, NvmlReader)
    assert reader.handle == "third"
    assert reader.read() == STATE


@pytest.mark.parametrize("with_uuid", [False, True])
def test_the_gpu_is_found_by_its_pci_address(
    monkeypatch: pytest.MonkeyPatch, properties: SimpleNamespace, with_uuid: bool
) -> None:
    """Where torch has no UUID, or NVML does not find it."""
    vars(properties).update(pci_domain_id=1, pci_bus_id=0x3B, pci_device_id=2)
    if not with_uuid:
        del properties.uuid
    by_bus = {"00000001:3b:02.0": "third"}
    install(monkeypatch, FakeNvml(**ANSWERS, nvmlDeviceGetHandleByUUID={}, nvmlDeviceGetHandleByPciBusId=by_bus))
    reader = device_of(GPU).sensors()
    assert isinstance(reader, NvmlReader)
    assert reader.handle == "third"


@pytest.mark.usefixtures("properties")
@pytest.mark.parametrize(
    "nvml",
    [
        None,
        FakeNvml(nvmlInit=NVMLError("Driver Not Loaded")),
        FakeNvml(nvmlDeviceGetHandleByUUID={}),
    ],
    ids=["not installed", "no driver", "another GPU"],
)
def test_without_nvml_every_value_is_none(monkeypatch: pytest.MonkeyPatch, nvml: ModuleType | None) -> None:
    """And nothing is raised."""
    install(monkeypatch, nvml)
    reader = device_of(GPU).sensors()
    assert isinstance(reader, NoGpuReader)
    assert reader.read() == GpuState()


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_do_not_start_nvml(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Nor ask torch for CUDA."""
    install(monkeypatch, FakeNvml(nvmlInit=AssertionError("started")))
    assert isinstance(device_of(torch.device(device)).sensors(), NoGpuReader)


def test_energy_is_what_the_counter_rose_by() -> None:
    """Whatever the power readings say."""
    states = [GpuState(energy_j=100.0, power_w=1.0), GpuState(), GpuState(energy_j=340.0, power_w=1.0)]
    assert energy_used(states, 2.0) == 240.0


@pytest.mark.parametrize(("first", "last"), [(None, None), (5.0, None), (None, 5.0), (5.0, 5.0), (5.0, 1.0)])
def test_without_a_counter_energy_is_mean_power_times_time(first: float | None, last: float | None) -> None:
    """Also where the counter stands still, or began anew."""
    states = [GpuState(power_w=100.0, energy_j=first), GpuState(), GpuState(power_w=300.0, energy_j=last)]
    assert energy_used(states, 3.0) == 600.0


@pytest.mark.parametrize(
    ("states", "seconds"),
    [([], 9.0), ([GpuState(), GpuState()], 9.0), ([GpuState(energy_j=1.0, power_w=1.0), GpuState(energy_j=2.0)], 0.9)],
    ids=["no readings", "no power", "too short"],
)
def test_energy_that_cannot_be_measured_is_none(states: list[GpuState], seconds: float) -> None:
    """Power is the mean of the last second: in a shorter measurement it would include the time before."""
    assert energy_used(states, seconds) is None


def test_readings_are_summarised() -> None:
    """Median clocks, the highest temperature, mean power, and each throttle reason once."""
    states = [
        GpuState(1e9, 3e9, 2e9, 50.0, 100.0, 1.0, ()),
        GpuState(),
        GpuState(1.8e9, 3e9, 2e9, 70.0, 300.0, 2.0, ("power limit", "thermal limit")),
        GpuState(1.2e9, 3e9, 2e9, 60.0, 200.0, 3.0, ("power limit",)),
    ]
    assert summarize(states) == GpuState(1.2e9, 3e9, 2e9, 70.0, 200.0, None, ("power limit", "thermal limit"))
    assert summarize([GpuState(throttle_reasons=())]) == GpuState(throttle_reasons=())
    assert summarize([GpuState(power_w=5.0), GpuState()]) == GpuState(power_w=5.0)


def test_a_summary_of_readings_without_values_is_none() -> None:
    """So that a report has no row for them, rather than an empty one."""
    assert summarize([GpuState(), GpuState()]) is None
    assert summarize([]) is None
