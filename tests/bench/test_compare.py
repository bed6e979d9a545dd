"""Two networks timed in turn: the result, also after the failure of a side or Ctrl-C."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnfpn_cli.bench import compare as sides
from mnfpn_cli.bench import run_warnings
from mnfpn_cli.bench.compare import compare_networks, side_fault_warnings
from mnfpn_cli.bench.comparison import FIGURES, CompareCase, TimedSide, growth
from mnfpn_cli.bench.judge import Reference
from mnfpn_cli.bench.prepare import ReadyRun, prepare_run
from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.devices.timers import HostTimer
from mnfpn_cli.documents.compare import CompareDocument, ComparedRun
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.external.origin import FromSettings, Workload, recorded_inputs
from mnfpn_cli.measure.engine import RatioRule, TimedRun
from mnfpn_cli.runtimes import channels_last, eager
from mnfpn_cli.runtimes.runtime import Job, Prepared
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.file import WeightsFile
from tests.bench.broken import broken

SETTINGS = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "pyramid": {"channels": 8}})
WIDER = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "pyramid": {"channels": 16}})
IMAGE = NetworkInput(1, 3, Size(33, 47))
SIDE = TimedSide("--small", Workload(FromSettings(SETTINGS), IMAGE), "eager", "float32")
OTHER = replace(SIDE, name="--other", runtime="channels-last")
CASE = CompareCase(2, "cpu", 1, False, 0.01, Sampling(warmup=1, passes=6, min_time_s=0.0))


def compared(a: TimedSide = SIDE, b: TimedSide = SIDE, case: CompareCase = CASE) -> CompareDocument:
    """Compare two small networks."""
    return compare_networks((a, b), case, lambda: "a CPU", lambda *_: None)


def samples(run: ComparedRun) -> tuple[int, int]:
    """How many samples A and B have."""
    return len(run.a.latency_s.samples), len(run.b.latency_s.samples)


def test_both_sides_are_timed_equally_often() -> None:
    """In blocks of A B B A, whose ratios make the interval."""
    result = compared()
    (run,) = result.runs
    assert (samples(run), run.ended_by) == ((6, 6), "passes")
    assert (run.name, result.complete, result.failure) == ("batch 2 on cpu, 33x47", True, None)
    assert run.method is not None
    assert "ABBA" in run.method
    assert run.verdict == "inconclusive"  # three blocks have no interval


@pytest.mark.usefixtures("one_pass_settles")
def test_the_order_is_there_and_back_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from inside the passes; one that is not timed follows each change."""
    order: list[str] = []
    for name, runtime in (("A", eager), ("B", channels_last)):

        def prepare(job: Job, name: str = name) -> Prepared:
            return Prepared(lambda: order.append(name), outputs=lambda _: (torch.zeros(1),))

        monkeypatch.setattr(runtime, "prepare", prepare)
    compared(b=OTHER, case=replace(CASE, sampling=Sampling(warmup=0, passes=4, min_time_s=0.0)))
    assert "".join(order) == "AB" + "AABBBAA" + "ABBBAA"  # each side's first pass, and two blocks


@pytest.mark.parametrize(("passes", "expected"), [(1, 2), (2, 2), (7, 8), (20, 20)])
def test_as_many_passes_as_were_asked_for(passes: int, expected: int) -> None:
    """One more where a block would not be whole."""
    (run,) = compared(case=replace(CASE, sampling=Sampling(1, passes, min_time_s=0.0))).runs
    assert samples(run) == (expected, expected)


def test_no_time_at_all_leaves_enough_for_an_interval() -> None:
    """`--max-time 0`: six blocks, and no division by it."""
    (run,) = compared(case=replace(CASE, sampling=Sampling(1, min_time_s=0.0, max_time_s=0.0))).runs
    assert (samples(run)[0], run.ended_by) == (12, "max_time")
    assert run.ratio_ci95 is not None


@pytest.mark.parametrize("passes", [None, 1000])
def test_time_ends_it_at_the_first_block_beyond_it(passes: int | None) -> None:
    """Not a tenth later, however noisy it is."""
    timed = [TimedRun(lambda: None, HostTimer()) for _ in range(2)]
    rule, found = RatioRule(Sampling(passes=passes, min_time_s=0.0, max_time_s=101.0)), None
    while found is None:
        seconds = [1.0, 3.0 if rule.rounds // 2 % 2 else 1.0]
        for run, sample in zip(timed, seconds, strict=True):
            run.samples.append(sample)
        found = rule(timed, sum(seconds) + 1.0)  # and what they do to settle
    assert (found, rule.spent) == ("max_time", 102.0)


def test_each_side_has_what_it_costs() -> None:
    """For the batch that was timed; weights and activations in its own dtype."""
    result = compared(b=replace(SIDE, workload=Workload(FromSettings(WIDER), IMAGE), dtype="bfloat16", name="--wide"))
    assert (result.a.name, result.b.name, result.b.dtype) == ("--small", "--wide", "bfloat16")
    assert (result.a.device, result.a.threads, recorded_inputs(result.a.input)) == (
        "cpu",
        1,
        NetworkInput(2, 3, Size(33, 47)),
    )
    grown = {figure: growth(result, figure) for figure in FIGURES}
    assert (grown["parameters"] or 0) > 1.05
    assert (grown["activation_bytes"] or 2) < 1
    assert result.a.comparable is result.a.max_difference is None  # eager float32 is what others are compared with
    assert 0 < (result.b.max_difference or 0) < 0.1


def test_sides_may_differ_in_what_executes_them_and_in_size() -> None:
    """Sizes that differ are warned of: it may be a mistake."""
    result = compared(b=replace(OTHER, workload=Workload(FromSettings(SETTINGS), replace(IMAGE, size=Size(64, 64)))))
    assert (result.a.runtime, result.b.runtime) == ("eager", "channels-last")
    assert result.runs[0].name == "batch 2 on cpu, 33x47 against 64x64"
    assert [one.cause for one in result.warnings if one.kind == "sizes"] == ["A takes images of 33x47, B of 64x64"]


def test_training_steps_are_compared() -> None:
    """And said to be."""
    result = compared(case=replace(CASE, train=True))
    assert (result.a.train, result.runs[0].name) == (True, "batch 2 on cpu, 33x47, training")


@pytest.mark.usefixtures("one_pass_settles")
def test_ctrl_c_in_the_middle_gives_what_was_measured_by_then() -> None:
    """The verdict is on whole blocks, and marked incomplete; B's pass that was interrupted is lost."""
    with broken(channels_last, 2 + 16 + 8, KeyboardInterrupt()):
        result = compared(b=OTHER, case=replace(CASE, sampling=Sampling(1, 40, min_time_s=0.0)))
    (run,) = result.runs
    # B goes first in round 16, and has settled in 8.
    assert samples(run) == (15, 15)
    assert (run.ended_by, result.complete, result.failure) == ("interrupted", False, None)
    assert run.ratio_ci95 is not None


def test_ctrl_c_before_anything_was_timed_is_passed_on() -> None:
    """There is nothing to lose."""
    with broken(channels_last, 3, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        compared(b=OTHER)


@pytest.mark.usefixtures("one_pass_settles")
def test_a_side_that_fails_half_way_loses_nothing() -> None:
    """What was measured by then is there, marked, with whose failure it was."""
    with broken(channels_last, 2 + 16 + 8, RuntimeError("the driver has gone")):
        result = compared(b=OTHER, case=replace(CASE, sampling=Sampling(1, 40, min_time_s=0.0)))
    assert samples(result.runs[0]) == (16, 15)
    assert (result.runs[0].ended_by, result.complete) == ("failed", False)
    assert result.failure == ("B: could not run channels-last on cpu at batch 2, 33x47, float32: the driver has gone")


@pytest.mark.parametrize(("count", "whose"), [(1, "A (--small)"), (2, "A (--small)"), (3, "A")])
def test_a_side_that_fails_at_once_is_an_error(count: int, whose: str) -> None:
    """Being prepared, warmed up, or first timed."""
    with broken(channels_last, count, RuntimeError("the driver has gone")), pytest.raises(MnfpnError) as caught:
        compared(a=replace(OTHER, name="--small"), b=SIDE)
    message = "could not run channels-last on cpu at batch 2, 33x47, float32: the driver has gone"
    assert str(caught.value) == f"{whose}: {message}"


def test_what_cannot_run_here_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that is not possible, and a size that does not fit."""
    with monkeypatch.context() as patch:
        patch.setattr(channels_last, "unavailable_reason", lambda *_: "not today")
        with pytest.raises(MnfpnError, match=r"^B \(--other\): channels-last on cpu: not today$"):
            compared(b=OTHER)
    monkeypatch.setattr(Cpu, "free_memory", lambda _: 1)
    with pytest.raises(UsageError, match=r"^A \(--small\): size, batch: must fit"):
        compared()


def test_weights_of_a_side_are_read(tmp_path: Path) -> None:
    """What is wrong with them says whose they are."""
    path = tmp_path / "x.pth"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(MnfpnError, match=r"^B \(--small\): .*x\.pth"):
        compared(b=replace(SIDE, workload=Workload(FromSettings(SETTINGS, WeightsFile(path)), IMAGE)))


@pytest.mark.parametrize(("device", "causes"), [("cpu", 1), ("cuda", 0)])
def test_page_faults_of_a_side_are_warned_of(device: str, causes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all of its processes; those of the host say nothing of a GPU."""
    monkeypatch.setattr(run_warnings, "page_fault_s", lambda: 1e-6)
    quiet, first, second = (TimedRun(lambda: None, HostTimer(), [0.02] * 4, faults=count) for count in (7, 0, 80_000))
    found = list(side_fault_warnings([[quiet], [first, second]], torch.device(device), "system"))
    assert [one.cause.partition(":")[0] for one in found] == ["B"] * causes
    assert all("10,000 page faults in a pass take a core about 10 ms" in one.cause for one in found)


def test_a_warm_up_that_never_settled_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its side."""

    def unsettled(name: str, *rest: object) -> ReadyRun:
        made = prepare_run(name, *rest)  # type: ignore[arg-type]
        warm_up = replace(made.ready.warm_up, settled=name == "eager")
        return replace(made, ready=replace(made.ready, warm_up=warm_up))

    monkeypatch.setattr(sides, "prepare_run", unsettled)
    result = compared(b=OTHER)
    assert [one.cause for one in result.warnings if one.kind == "not_settled"] == [
        "B: 1 passes of warm-up never became steady"
    ]


@pytest.mark.parametrize(("dtype", "fails"), [("float32", True), ("bfloat16", False)])
def test_outputs_that_are_not_finite_are_warned_of_or_fail(
    monkeypatch: pytest.MonkeyPatch, dtype: DType, fails: bool
) -> None:
    """In float32 the runtime does not compute the network; in a smaller dtype the values may overflow."""
    monkeypatch.setattr(channels_last, "prepare", lambda _: Prepared(lambda: (torch.full((1,), float("nan")),)))
    monkeypatch.setattr(
        sides,
        "eager_outputs",
        lambda group, _: None if group.case.runtimes == ("eager",) else Reference([("p2", torch.zeros(1))]),
    )
    other = replace(OTHER, dtype=dtype)
    if fails:
        with pytest.raises(MnfpnError, match=r"^B \(.*\): its output p2 is not finite, where eager float32's are"):
            compared(b=other)
        return
    causes = [one.cause for one in compared(b=other).warnings if one.kind == "not_finite"]
    assert causes == ["B: its output p2 is not finite in bfloat16, where eager float32's are"]
