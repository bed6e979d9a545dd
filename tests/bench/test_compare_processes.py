"""Two networks compared with processes of their own: what was measured is there, and no process is left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from mnfpn_cli.bench import compare_processes as processes
from mnfpn_cli.bench.compare_processes import ProcessSide, compare_processes
from mnfpn_cli.bench.comparison import FIGURES, CompareCase
from mnfpn_cli.bench.processes import RunProcess
from mnfpn_cli.bench.sides import SideLaunch, placed_sides
from mnfpn_cli.documents.compare import CompareDocument
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.external.origin import External, FromSettings, Workload
from mnfpn_cli.external.target import parse_target
from mnfpn_cli.measure.engine import OTHER_RUNTIME, pair_sampling
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.repositories import FAST, SLOW, MadeRepository, made_repository
from tests.processes import MNFPN, signals_by_default

SMALL = FromSettings(NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "pyramid": {"channels": 8}}))
INPUT = NetworkInput(1, 3, Size(33, 47))
CASE = CompareCase(2, "cpu", 1, False, 0.01, Sampling(warmup=1, passes=4, min_time_s=0.0))
TARGET = "mynets.py:Net"
HERE = SideLaunch()

pytestmark = pytest.mark.slow


def compared(
    a: SideLaunch = HERE,
    b: SideLaunch = HERE,
    *,
    target: str | None = None,
    case: CompareCase = CASE,
    number: int = 1,
    runtimes: tuple[str, str] = ("eager", "channels-last"),
    before: Callable[[], object] = lambda: None,
) -> tuple[CompareDocument, Sequence[WarningRecord]]:
    """Compare a small network from settings, or a target, with itself; ``before`` is called when sides are placed."""
    with placed_sides(a, b, lambda *_: None) as (*placed, warnings):
        before()
        sides = list[ProcessSide]()
        for runtime, one in zip(runtimes, placed, strict=True):
            with one.here():
                origin = External(parse_target(target)) if target else SMALL
            sides.append(ProcessSide(f"--{runtime}", Workload(origin, INPUT), runtime, "float32", one))
        first, second = sides
        result = compare_processes((first, second), case, number, warnings, lambda: "a CPU", lambda *_: None)
    return result, warnings


def test_the_number_of_threads_is_given_once() -> None:
    """The variable would have no effect where the option is given."""
    with pytest.raises(UsageError) as error:
        compared(b=SideLaunch(environment=(("OMP_NUM_THREADS", "2"),)))
    assert str(error.value) == "b_env: cannot set OMP_NUM_THREADS where threads sets the number, got '2'"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeRepository]:
    """A repository that is the current folder; after the test, none of our worktrees may be left."""
    made = made_repository(tmp_path / "repo")
    monkeypatch.chdir(made.folder)
    yield made
    assert made.worktrees() == []


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Of those that measure."""
    yield
    left = [one for one in psutil.Process().children(recursive=True) if _is_run(one)]
    assert left == []


def _is_run(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "mnfpn_cli.bench.run_process" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_each_pair_of_processes_is_timed_in_turn() -> None:
    """Each process as often as was asked for; the ratio is that of the pairs."""
    result, _ = compared(number=2)
    (run,) = result.runs
    assert (run.a.processes, run.b.processes) == ((4, 4), (4, 4))
    assert (len(run.a.latency_s.samples), run.ended_by) == (8, "passes")
    assert run.method is not None
    assert "2 pairs of processes" in run.method
    assert (result.complete, result.failure, run.name) == (True, None, "batch 2 on cpu, 33x47")
    assert (result.a.runtime, result.b.runtime, result.a.device, result.a.threads) == (
        "eager",
        "channels-last",
        "cpu",
        1,
    )
    assert [getattr(result.a, figure) for figure in FIGURES] == [getattr(result.b, figure) for figure in FIGURES]
    assert result.a.parameters == sum(one.numel() for one in SMALL.build(0)[0].parameters())
    assert result.b.max_difference is not None
    assert result.b.max_difference < 1e-4
    assert result.environment is not None
    assert (result.environment.cpu, result.a.environment is not None) == ("a CPU", True)


def test_two_commits_are_told_apart(repository: MadeRepository) -> None:
    """By the same target: the second has far more parameters, and the files of the working tree play no part."""
    (repository.folder / "mynets.py").write_text("broken(", encoding="utf-8")
    result, warnings = compared(SideLaunch(ref="main"), SideLaunch(ref="HEAD"), target=TARGET)
    assert (result.a.parameters, result.b.parameters) == (224, 37_888)
    assert (result.ratio or 0) > 1
    assert [one.kind for one in warnings] == ["uncommitted"]
    assert set(warnings) <= set(result.warnings)
    records = [side.environment.commit for side in (result.a, result.b) if side.environment]
    assert [one.subject for one in records if one] == ["Add a network", "Make it wider"]


def test_a_commit_is_compared_with_the_files_as_they_are(repository: MadeRepository) -> None:
    """Changes included."""
    (repository.folder / "mynets.py").write_text(SLOW.replace("256", "64"), encoding="utf-8")
    result, *_ = compared(SideLaunch(ref="main"), target=TARGET)
    assert (result.a.parameters, result.b.parameters) == (224, 9472)


def test_a_model_that_one_side_lacks_is_an_error_of_that_side(repository: MadeRepository) -> None:
    """With its commit: a file that it lacks, or a name in it."""
    repository.commit("Rename it", mynets=FAST.replace("Net(", "Other("), others=FAST)
    with pytest.raises(UsageError, match=r"^a_ref main \(\w{7}\): model: "):
        compared(SideLaunch(ref="main"), SideLaunch(ref="HEAD"), target="others.py:Net")
    with pytest.raises(MnfpnError, match=r"^B at HEAD \(\w{7}\) \(--channels-last\): .*mynets.py has no 'Net'"):
        compared(SideLaunch(ref="main"), SideLaunch(ref="HEAD"), target=TARGET)


VARIABLE = """\
import os
from torch import nn


def build():
    return nn.Conv2d(3, int(os.environ["CHANNELS"]), 3)
"""


def test_variables_reach_the_processes_of_their_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of the other they do not; one without is an error that names the side."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(VARIABLE, encoding="utf-8")
    a, b = (SideLaunch(environment=(("CHANNELS", text),)) for text in ("4", "8"))
    result, *_ = compared(a, b, target="net.py:build")
    assert (result.a.parameters, result.b.parameters) == (4 * 28, 8 * 28)
    with pytest.raises(MnfpnError, match=r"^B \(--channels-last\): .*KeyError: 'CHANNELS'"):
        compared(a, target="net.py:build")


def test_an_input_that_does_not_fit_is_refused() -> None:
    """By the process that would run it, before anything is timed."""
    with pytest.raises(MnfpnError, match=r"^A \(--eager\): .*memory"):
        compared(case=replace(CASE, batch=10**5))


def test_the_time_of_a_pair_is_what_timing_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what its processes did to settle: the next pair has what that left."""
    spent = list[float]()

    def noted(sampling: Sampling, *others: Any) -> Sampling:
        spent.append(others[-1])
        return pair_sampling(sampling, *others)

    monkeypatch.setattr(processes, "pair_sampling", noted)
    result, *_ = compared(number=2)
    first = sum(sum(side.latency_s.samples[:4]) for side in (result.runs[0].a, result.runs[0].b))
    rests = 5 * OTHER_RUNTIME.rest_s  # A BB AA BB A
    assert spent[0] == 0.0
    assert spent[1] > first + rests


def test_an_odd_process_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the samples of every process."""
    odd = WarningRecord(kind="odd_process", cause="pair 1 of 2", helps="")

    def warnings(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Iterator[WarningRecord]:
        assert [len(samples) for samples in (*a, *b)] == [4] * 4
        yield odd

    monkeypatch.setattr(processes, "odd_pair_warnings", warnings)
    result, *_ = compared(number=2)
    assert odd in result.warnings


def after_passes(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[RunProcess], object]) -> None:
    """Call a function before a pass of B, timed or not, once there were so many in all of its processes."""
    real, passed = RunProcess.__call__, list[int]()

    def called(self: RunProcess, run: Callable[[], object]) -> object:
        if self.request.runtime == "channels-last":
            if len(passed) == number:
                act(self)
            passed.append(self.pid)
        return real(self, run)

    monkeypatch.setattr(RunProcess, "__call__", called)


KILLED = "B: the process that measured it was killed by SIGKILL, as Linux does when memory runs out"
STOPPED = "B: the process that measured it was stopped (SIGSTOP), and does not answer"


@pytest.mark.usefixtures("one_pass_settles")
@pytest.mark.parametrize(
    ("sent", "failure", "number", "of_a", "of_b"),
    [
        (signal.SIGKILL, KILLED, 5, (4,), (3,)),
        (signal.SIGKILL, KILLED, 8, (4, 2), (4, 1)),
        (signal.SIGSTOP, STOPPED, 8, (4, 2), (4, 1)),
    ],
)
def test_a_process_that_is_killed_or_stopped_leaves_what_was_measured(
    monkeypatch: pytest.MonkeyPatch,
    sent: signal.Signals,
    failure: str,
    number: int,
    of_a: tuple[int, ...],
    of_b: tuple[int, ...],
) -> None:
    """In the first pair, or in a later one."""
    after_passes(monkeypatch, number, lambda process: os.kill(process.pid, sent))
    result, *_ = compared(number=3)
    (run,) = result.runs
    assert (result.complete, result.failure, run.ended_by) == (False, failure, "failed")
    assert run.a.processes is not None
    assert run.b.processes == of_b
    assert run.a.processes[:-1] == of_a[:-1]
    assert abs(run.a.processes[-1] - of_b[-1]) <= 1


def test_a_side_that_fails_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was measured."""
    after_passes(monkeypatch, 0, lambda process: os.kill(process.pid, signal.SIGKILL))
    with pytest.raises(MnfpnError, match=r"^B: the process that measured it was killed by SIGKILL"):
        compared()


def interrupted(_process: RunProcess) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


@pytest.mark.usefixtures("one_pass_settles")
@pytest.mark.parametrize(("number", "of_b"), [(3, (2,)), (9, (4, 2))])
def test_ctrl_c_leaves_what_was_measured(monkeypatch: pytest.MonkeyPatch, number: int, of_b: tuple[int, ...]) -> None:
    """In the first pair, whose outputs are then not known, or in a later one."""
    after_passes(monkeypatch, number, interrupted)
    result, *_ = compared(number=3)
    (run,) = result.runs
    assert (result.complete, result.failure, run.ended_by) == (False, None, "interrupted")
    assert run.b.processes == of_b
    assert (result.b.comparable is None) == (len(of_b) == 1)


def test_ctrl_c_while_the_next_pair_is_prepared_leaves_the_pairs_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are a result."""
    real, prepared = RunProcess.prepare, list[int]()

    def prepare(self: RunProcess, progress: Callable[[str, float], None]) -> object:
        prepared.append(self.pid)
        if len(prepared) == 4:
            raise KeyboardInterrupt
        return real(self, progress)

    monkeypatch.setattr(RunProcess, "prepare", prepare)
    result, *_ = compared(number=3)
    (run,) = result.runs
    assert (result.complete, run.a.processes, run.b.processes) == (False, (4,), (4,))


def test_ctrl_c_before_the_first_pass_is_an_interrupt(
    repository: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves neither process nor worktree."""
    assert repository.folder.exists()
    after_passes(monkeypatch, 0, interrupted)
    with pytest.raises(KeyboardInterrupt):
        compared(SideLaunch(ref="main"), SideLaunch(ref="HEAD"), target=TARGET)


def test_a_system_without_such_pipes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a process is started."""
    monkeypatch.setattr(processes, "can_start_processes", lambda: False)
    with pytest.raises(MnfpnError, match="processes: needs pipes that can be waited for, which this system has not"):
        compared()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_command_leaves_nothing_behind(repository: MadeRepository, sent: signal.Signals) -> None:
    """What was measured is printed as JSON; after SIGKILL, processes end by themselves, and worktrees the next time."""
    command = ["compare", "--a-ref", "main", "--b-ref", "HEAD", "--model", TARGET, "--size", "64", "--json"]
    command += ["--device", "cpu", "--threads", "1", "--warmup", "1", "--passes", "1000000", "--verbose"]
    with (
        signals_by_default(),
        subprocess.Popen([*MNFPN, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        told = threading.Timer(60, process.kill)
        told.start()
        for line in process.stderr:
            if "timing A B B A" in line:
                break
        told.cancel()
        children = psutil.Process(process.pid).children(recursive=True)
        assert sum(map(_is_run, children)) == 2
        time.sleep(0.5)
        process.send_signal(sent)
        out, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    if sent == signal.SIGKILL:
        assert len(repository.worktrees()) == 2
        with placed_sides(SideLaunch(ref="main"), SideLaunch(), lambda *_: None):
            pass
        return
    document = json.loads(out)
    assert (process.returncode, document["complete"], document["runs"][0]["ended_by"]) == (
        128 + sent,
        False,
        "interrupted",
    )
    assert document["runs"][0]["a"]["processes"]


def test_an_interpreter_of_its_own_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper of this one stands for another environment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(VARIABLE, encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nCHANNELS=16 exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    result, *_ = compared(SideLaunch(environment=(("CHANNELS", "4"),)), SideLaunch(python), target="net.py:build")
    assert (result.a.parameters, result.b.parameters) == (4 * 28, 16 * 28)
    assert result.b.environment is not None
    assert result.b.environment.python == str(python)
