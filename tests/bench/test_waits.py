"""What the parts of a network wait for: shares of their time that add up to it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
import torch

from mnfpn_cli.bench import profile, waits
from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.parts import LayerSum
from mnfpn_cli.bench.waits import WaitMeasurements, part_waits
from mnfpn_cli.bench.workload import PlannedWorkload
from mnfpn_cli.devices.allocator import page_faults
from mnfpn_cli.documents.bench import PartWaits, ProfileRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.layer_times import LayerTime, LayerTimes
from mnfpn_cli.plan.roofline import LayerWork, Peaks
from mnfpn_cli.runtimes.runtime import Job, ReportShare
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import BenchCase
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.test_bench import CASE, SETTINGS, SIZE
from tests.export.networks import FLAT

TOTAL = LayerSum(10.0, 100, 100, {"compute": 1.0, "memory": 2.0}, faults=4.0)
MEASURED = WaitMeasurements(2, 0.25, 0.5, {"stem": 0.5}, {"stem": 10.5})
SHARES = tuple(name for name in PartWaits.model_fields if name.endswith("_s"))


def shares(one: PartWaits) -> dict[str, float | None]:
    """The seconds by what they go to, without those that are 0."""
    return {name: getattr(one, name) for name in SHARES if getattr(one, name) != 0}


def whole(one: PartWaits) -> float:
    """The sum of the shares."""
    return sum(getattr(one, name) or 0.0 for name in SHARES)


@pytest.fixture(autouse=True)
def _known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "peaks", lambda *_: Peaks(macs_per_s=1e12, bytes_per_s=1e12))


def profiled(settings: NetworkSettings, size: Size, case: BenchCase) -> ProfileRecord:
    """The profile of one run."""
    workload, case = PlannedWorkload(FromSettings(settings), size), replace(case, by_layer=True, roofline=True)
    result = benchmark([workload], case, ["cpu"], lambda: "a CPU", lambda *_: None)
    assert result.failures == ()
    (made,) = result.profiles
    return made.profile


def test_the_time_of_a_part_is_shared_out_to_what_it_waits_for() -> None:
    """One thread takes 8 s beside faults and calls, so two could take 4, and take 8.5."""
    made = part_waits("stem", replace(TOTAL, repeated=0.25, unfilled=0.125), MEASURED)
    assert shares(made) == {
        "compute_s": 1.0,
        "memory_s": 2.0,
        "page_faults_s": 1.0,
        "calls_s": 0.5,
        "threads_s": 4.5,
        "repeated_s": 0.25,
        "unfilled_s": 0.125,
        "other_s": 0.625,
    }
    assert whole(made) == 10.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, {"compute_s": 0.5}),
        (2.0, {"compute_s": 1.0, "memory_s": 1.0}),
        (3.5, {"compute_s": 1.0, "memory_s": 2.0, "page_faults_s": 0.5}),
    ],
)
def test_a_floor_that_is_longer_than_the_time_takes_all_of_it(seconds: float, expected: Mapping[str, float]) -> None:
    """As where layers are joined: no share is below 0."""
    assert shares(part_waits("stem", replace(TOTAL, seconds=seconds), MEASURED)) == expected


def test_a_runtime_that_joins_norms_repeats_no_maps() -> None:
    """They are part of its convolutions."""
    made = part_waits("stem", replace(TOTAL, repeated=1.0), WaitMeasurements(joins=True))
    assert made.repeated_s == 0
    assert part_waits("stem", replace(TOTAL, repeated=1.0), WaitMeasurements()).repeated_s == 1.0


def test_what_was_not_measured_is_unknown() -> None:
    """And is part of the rest."""
    made = part_waits("stem", replace(TOTAL, faults=None), WaitMeasurements(threads=2))
    expected = {"compute_s": 1.0, "memory_s": 2.0, "page_faults_s": None, "calls_s": None, "threads_s": None}
    assert shares(made) == {**expected, "other_s": 7.0}


@pytest.mark.parametrize("runtime", ["eager", "channels-last", "fused"])
def test_shares_of_a_run_add_up_to_its_parts(runtime: str) -> None:
    """Of the same parts, in the same order; the number of threads is what it was."""
    before = torch.get_num_threads()
    made = profiled(SETTINGS, SIZE, replace(CASE, runtimes=(runtime,), threads=2))
    assert torch.get_num_threads() == before
    assert [one.part for one in made.waits] == [one.part for one in made.parts]
    for one in made.waits:
        assert whole(one) == pytest.approx(one.seconds)
        assert (one.page_faults_s is None) == (page_faults() is None)
        assert None not in (one.calls_s, one.threads_s)
    assert sum(one.seconds for one in made.waits) <= sum(one.seconds or 0.0 for one in made.parts) * 1.001


@dataclass(frozen=True)
class Law:
    """A runtime whose layers follow a law: a call takes a millisecond for an image, and 10⁹ MACs a second on a thread.

    Attributes:
        gain: whether threads share the MACs.
        fails: what is raised on one thread, and with the smallest images.
    """

    gain: bool = True
    fails: Exception | None = None

    def time_layers(self, job: Job, works: Sequence[LayerWork], _passes: int, _progress: ReportShare) -> LayerTimes:
        """The times of the layers."""
        threads, (images,) = torch.get_num_threads(), job.inputs
        if self.fails and (threads == 1 or images.shape[-1] < 100):
            raise self.fails
        at_once = threads if self.gain else 1
        rows = tuple(LayerTime(*work.id, 1e-3 * len(images) + work.macs / 1e9 / at_once) for work in works)
        total = sum(row.seconds for row in rows)
        return LayerTimes(rows, total, total)


@pytest.mark.parametrize(("gain", "lost"), [(True, 0.0), (False, 0.5)])
def test_runs_in_which_one_thing_differs_tell_what_a_part_waits_for(
    gain: bool, lost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls take a millisecond each whatever the size, and two threads may take as long as one."""
    monkeypatch.setattr(waits, "load_runtime", lambda _name: Law(gain))
    made = profiled(SETTINGS, Size(512, 512), replace(CASE, threads=2))
    layers, macs = Counter(layer.part for layer in made.layers), {one.part: one.macs for one in made.parts}
    assert {one.part for one in made.waits} >= {"stem", "stages.0", "laterals"}
    for one in made.waits:
        compute = macs[one.part] / 1e9
        calls = 1e-3 * 3 * layers[one.part]  # a batch of three
        assert one.calls_s == pytest.approx(calls, rel=0.02)  # there are a few MACs at 4×4 too
        assert one.threads_s == pytest.approx(lost * compute, rel=0.02, abs=1e-5)
        assert one.other_s == pytest.approx(compute / 2, rel=0.05, abs=1e-5)


@pytest.mark.parametrize("reason", [MnfpnError("another number of threads"), RuntimeError("no kernel"), MemoryError()])
def test_a_further_run_that_fails_loses_no_times(reason: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share is unknown."""
    monkeypatch.setattr(waits, "load_runtime", lambda _name: Law(fails=reason))
    made = profiled(SETTINGS, Size(512, 512), replace(CASE, threads=2))
    assert {(one.calls_s, one.threads_s) for one in made.waits} == {(None, None)}
    assert all(one.seconds > 0 for one in made.waits)


def test_layers_that_a_runtime_joined_wait_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the part that their time is in; the other part has none."""

    class Joining(Law):
        def time_layers(self, job: Job, works: Sequence[LayerWork], passes: int, progress: ReportShare) -> LayerTimes:
            times = super().time_layers(job, works, passes, progress)
            first, second, *rows = times.rows
            both = replace(first, seconds=first.seconds + second.seconds, joined=(second.id,))
            return replace(times, rows=(both, *rows))

    monkeypatch.setattr(waits, "load_runtime", lambda _name: Joining())
    settings = NetworkSettings.model_validate({"stages": [(1, 8, 1, 2), (2, 8, 1, 2)], "pyramid": {"channels": 8}})
    made = profiled(settings, Size(512, 512), replace(CASE, threads=2, runtimes=("fused",)))
    assert sum(one.seconds for one in made.waits) == pytest.approx(made.undisturbed_s)
    stem = next(one for one in made.waits if one.part == "stem")
    assert stem.calls_s == pytest.approx(2 * 3e-3, rel=0.02)


def test_a_head_for_one_size_has_no_smallest_images() -> None:
    """What calls take is unknown. One thread loses nothing to others."""
    made = profiled(FLAT, Size(32, 48), CASE)
    assert {(one.calls_s, one.threads_s) for one in made.waits} == {(None, 0.0)}


def test_only_a_run_on_a_cpu_with_floors_and_times_waits() -> None:
    """Either alone has no shares."""
    workload = PlannedWorkload(FromSettings(SETTINGS), SIZE)
    for case in (replace(CASE, by_layer=True), replace(CASE, roofline=True)):
        (made,) = benchmark([workload], case, ["cpu"], lambda: "a CPU", lambda *_: None).profiles
        assert made.profile.waits == ()
