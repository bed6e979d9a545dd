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
MEASURED = WaitMeasurements(threads=2, fault_s=0.25, calls={"stem": 0.5}, on_one_thread={"stem": 9.5})
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
    (made,) = benchmark([workload], case, ["cpu"], lambda: "a CPU", lambda *_: None).profiles
    return made.profile


def test_the_time_of_a_part_is_shared_out_to_what_it_waits_for() -> None:
    """One thread takes 8 s beside faults and calls, so two could take 4, and take 8.5."""
    made = part_waits("stem", TOTAL, replace(MEASURED, repeated={"stem": 0.25}, lanes={"stem": 0.125}))
    assert shares(made) == {
        "compute_s": 1.0,
        "memory_s": 2.0,
        "page_faults_s": 1.0,
        "calls_s": 0.5,
        "threads_s": 4.5,
        "repeated_s": 0.25,
        "lanes_s": 0.125,
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


def test_what_was_not_measured_is_unknown() -> None:
    """And is part of the rest."""
    made = part_waits("stem", replace(TOTAL, faults=None), WaitMeasurements())
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
        assert None not in shares(one).values()
    assert sum(one.seconds for one in made.waits) <= sum(one.seconds or 0.0 for one in made.parts) * 1.001
    repeated = sum(one.repeated_s for one in made.waits)
    assert (repeated > 0) == (runtime != "fused")


@dataclass(frozen=True)
class Law:
    """A runtime whose layers follow a law: a call takes a millisecond, and 10⁹ MACs a second on one thread."""

    gain: bool
    fails_on_one_thread: bool = False

    def time_layers(self, _job: Job, works: Sequence[LayerWork], _passes: int, _progress: ReportShare) -> LayerTimes:
        """The times of the layers; threads share the MACs where there is something to gain."""
        threads = torch.get_num_threads()
        if threads == 1 and self.fails_on_one_thread:
            raise MnfpnError("another number of threads")
        at_once = threads if self.gain else 1
        rows = tuple(LayerTime(*work.id, 1e-3 + work.macs / 1e9 / at_once) for work in works)
        total = sum(row.seconds for row in rows)
        return LayerTimes(rows, total, total)


@pytest.mark.parametrize(
    ("law", "threads_s", "work_s"),
    [(Law(gain=True), 0.0, 0.5), (Law(gain=False), 0.5, 0.5), (Law(gain=True, fails_on_one_thread=True), None, 0.5)],
)
def test_runs_in_which_one_thing_differs_tell_what_a_part_waits_for(
    law: Law, threads_s: float | None, work_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls take a millisecond each whatever the size, and two threads may take as long as one."""
    for module in (waits, profile):
        monkeypatch.setattr(module, "load_runtime", lambda _name: law)
    made = profiled(SETTINGS, Size(512, 512), replace(CASE, threads=2, batches=(1,)))
    layers, macs = Counter(layer.part for layer in made.layers), {one.part: one.macs for one in made.parts}
    assert {one.part for one in made.waits} >= {"stem", "stages.0", "laterals"}
    for one in made.waits:
        compute = macs[one.part] / 1e9
        assert one.calls_s == pytest.approx(1e-3 * layers[one.part], rel=0.02)  # there are a few MACs at 4×4 too
        if threads_s is None:
            assert one.threads_s is None
        else:
            assert one.threads_s == pytest.approx(threads_s * compute, rel=0.02, abs=1e-5)
        assert one.other_s == pytest.approx(work_s * compute, rel=0.05, abs=1e-5)


def test_a_head_for_one_size_has_no_smallest_images() -> None:
    """What calls take is unknown; with one thread, what threads lose likewise."""
    made = profiled(FLAT, Size(32, 48), CASE)
    assert {(one.calls_s, one.threads_s) for one in made.waits} == {(None, None)}


def test_vectors_that_channels_do_not_fill_take_longer_than_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight channels fill half of a vector of 16: where compute bounds a layer, it takes twice its floor."""
    monkeypatch.setattr(profile, "peaks", lambda *_: Peaks(macs_per_s=1e7, bytes_per_s=1e15))
    found = list[Mapping[str, float]]()
    lanes = waits._lanes

    def seen(*args: object) -> Mapping[str, float]:
        found.append(lanes(*args))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(waits, "_lanes", seen)
    monkeypatch.setattr(waits, "vector_floats", lambda: 16)
    made = profiled(SETTINGS, SIZE, CASE)
    laterals = next(one for one in made.parts if one.part == "laterals")
    assert found[0]["laterals"] == pytest.approx(laterals.floor_s)


def test_only_a_run_on_a_cpu_with_floors_and_times_waits() -> None:
    """Either alone has no shares."""
    workload = PlannedWorkload(FromSettings(SETTINGS), SIZE)
    for case in (replace(CASE, by_layer=True), replace(CASE, roofline=True)):
        (made,) = benchmark([workload], case, ["cpu"], lambda: "a CPU", lambda *_: None).profiles
        assert made.profile.waits == ()
