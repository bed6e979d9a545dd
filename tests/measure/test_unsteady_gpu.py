"""Warnings of a GPU: each cause has its words and figures, and one that nothing holds back has none."""

from dataclasses import replace

from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.measure.unsteady import unsteady_gpu
from tests.measure.warned import kinds, only

FULL = GpuState(sm_clock_hz=1.98e9, max_sm_clock_hz=1.98e9, temperature_c=60.0, throttle_reasons=())
HELD = replace(FULL, sm_clock_hz=1.41e9, temperature_c=88.0, throttle_reasons=("power limit",))


def test_a_throttled_gpu_is_told_with_reason_clock_and_temperature() -> None:
    """And not again by the clock that moved for that."""
    assert only(unsteady_gpu([FULL] * 5 + [HELD] * 5)) == WarningRecord(
        kind="gpu_throttled",
        cause="the GPU was slowed down (power limit) in 5 of 10 readings, at 1410 MHz of 1980, up to 88 °C",
        helps="lock a clock that the power allows (nvidia-smi -lgc), or raise its limit (nvidia-smi -pl)",
    )
    bare = GpuState(throttle_reasons=("thermal limit",))
    assert only(unsteady_gpu([bare, GpuState()])).cause == "the GPU was slowed down (thermal limit) in 1 of 1 readings"
    no_highest = replace(bare, sm_clock_hz=1e9)
    assert only(unsteady_gpu([no_highest])).cause.endswith("in 1 of 1 readings, at 1000 MHz")


def test_what_helps_a_gpu_follows_the_reason_that_says_most() -> None:
    """The hardware's slowdown says that there is one, and the reason beside it says why."""
    heat = replace(HELD, throttle_reasons=("hardware slowdown", "hardware thermal limit"))
    found = only(unsteady_gpu([heat]))
    assert "(hardware thermal limit and hardware slowdown)" in found.cause
    assert found.helps == "let it cool down, or cool it better"
    brake = replace(HELD, throttle_reasons=("hardware slowdown", "power brake"))
    assert only(unsteady_gpu([brake])).helps == "check its power supply"


def test_a_limit_that_a_gpu_met_for_a_moment_is_no_warning() -> None:
    """At a tenth of the readings."""
    assert unsteady_gpu([FULL] * 19 + [HELD]) == ()
    assert kinds(unsteady_gpu([FULL] * 18 + [HELD] * 2)) == ["gpu_throttled"]


def test_a_gpu_whose_clock_moved_is_told() -> None:
    """Where NVML names no reason, or may not be asked for it."""
    slow = replace(FULL, sm_clock_hz=1.2e9)
    found = only(unsteady_gpu([slow] * 5 + [FULL] * 5))
    assert (found.kind, found.cause) == (
        "gpu_clock",
        "the GPU's clock moved between 1200 and 1980 MHz while this was measured",
    )
    unasked = [GpuState(sm_clock_hz=state.sm_clock_hz) for state in [slow] * 5 + [FULL] * 5]
    assert kinds(unsteady_gpu(unasked)) == ["gpu_clock"]


def test_a_gpu_at_one_clock_has_no_warning() -> None:
    """Nor one of which nothing could be read, nor a CPU's run, which has no readings."""
    near = replace(FULL, sm_clock_hz=1.905e9)
    for states in ([FULL] * 10, [FULL, near] * 5, [GpuState()] * 10, []):
        assert unsteady_gpu(states) == ()
