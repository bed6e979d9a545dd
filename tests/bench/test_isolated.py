"""A process for each run: what it measures, and what happens to the others where one of them dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path

import psutil
import pytest

from mnfpn_cli.bench import isolated, processes
from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.group import Group
from mnfpn_cli.bench.messages import (
    EndedRun,
    EndRun,
    LoadedRun,
    PrepareRun,
    RunAnswer,
    RunFailure,
    RunProgress,
    TimedPass,
    TimePass,
    WarmRun,
    as_line,
    read_answer,
    read_command,
)
from mnfpn_cli.bench.prepare import Checked, Ready
from mnfpn_cli.bench.processes import RunProcess
from mnfpn_cli.bench.request import request_of, requested_case, requested_workload
from mnfpn_cli.bench.results import Benchmark, FirstPass, RunKey
from mnfpn_cli.bench.workload import BenchWorkload, PlannedWorkload, load_observed
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import MnfpnError, UnavailableError, UsageError
from mnfpn_cli.external.origin import External, FromSettings, TensorInputs
from mnfpn_cli.external.target import InputSpec, parse_target
from mnfpn_cli.measure.engine import WarmUp
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Operator
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.measuring import Allocator, BenchCase, Sampling, checked_case
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.quantization import QuantizationCase
from mnfpn_cli.text import ReportProgress
from mnfpn_cli.weights.file import WeightsFile
from tests.sweep.works import work

SETTINGS = NetworkSettings.model_validate({"stages": [(2, 8, 2, 2)], "pyramid": {"channels": 8}})
CASE = BenchCase(
    runtimes=("eager", "channels-last"),
    threads=1,
    isolate=True,
    sampling=Sampling(warmup=1, passes=6, min_time_s=0.0),
)
PLANNED = PlannedWorkload(FromSettings(SETTINGS), Size(32, 48))

NETWORK = """
import os
import sys
import torch
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        print("a pass" + (sys.stdin.read() if "mnfpn_cli.bench.run_process" in sys.orig_argv else ""))
        return torch.ones(int(os.environ.get("MNFPN_TEST_MIB", "1")), 2**18).sum() + x
"""


def measure(
    case: BenchCase = CASE, workload: BenchWorkload = PLANNED, progress: ReportProgress = lambda *_: None
) -> Benchmark:
    """Measure a small network."""
    return benchmark([workload], case, ["cpu"], lambda: "a CPU", progress)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchWorkload:
    """A network of a file, which prints, and whose pass takes as much memory as a variable says."""
    Path(tmp_path, "net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    (workload,) = load_observed(External(parse_target("net.py:Net")), [TensorInputs((InputSpec((1, 4)),))], 0)
    return workload


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Whatever a test does."""
    yield
    assert children() == []


def children() -> list[psutil.Process]:
    """The processes of runs."""
    alive = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "mnfpn_cli.bench.run_process" in one.cmdline()]


def signalled(number: int, at: int) -> Callable[..., object]:
    """Let a run's process have a signal before its pass of this number."""
    real, count = RunProcess.__call__, [0]

    def call(process: RunProcess, run: Callable[[], object]) -> object:
        if process.request.runtime == "eager":
            count[0] += 1
            if count[0] == at:
                os.kill(process.pid, number)
        return real(process, run)

    return call


def test_each_run_is_measured_in_its_own_process() -> None:
    """As one that shares a process is, with its memory and the cost of its turns."""
    result = measure()
    assert [run.key.runtime for run in result.measured] == ["eager", "channels-last"]
    assert result.complete
    for run in result.measured:
        assert (len(run.latency.samples), run.ended, run.warm_up.passes, run.threads) == (6, "passes", 1, 1)
        assert run.own_process is not None
        assert run.own_process.turn_s > 0
        assert run.peak_memory_bytes is not None
        assert (run.added_memory_bytes or 0) < run.peak_memory_bytes
        assert 2**25 < (run.own_process.passes_memory_bytes or 0) <= run.peak_memory_bytes < 2**33
    eager, channels_last = result.measured
    assert eager.difference is None  # it is what the others are compared with
    assert channels_last.difference is not None
    assert channels_last.difference < 1e-4


@pytest.mark.usefixtures("one_pass_settles")
def test_a_process_that_is_killed_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the samples until then, and the other run goes on."""
    monkeypatch.setattr(RunProcess, "__call__", signalled(signal.SIGKILL, at=7))
    killed, other = measure().measured
    assert (len(killed.latency.samples), len(other.latency.samples)) == (3, 6)
    assert killed.failure == "the process that measured it was killed by SIGKILL, as Linux does when memory runs out"
    assert (killed.ended, other.failure) == ("failed", None)


@pytest.mark.slow
@pytest.mark.usefixtures("one_pass_settles")
def test_a_process_that_is_stopped_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for ever."""
    monkeypatch.setattr(RunProcess, "__call__", signalled(signal.SIGSTOP, at=7))
    stopped, other = measure().measured
    assert len(stopped.latency.samples) == 3
    assert stopped.failure == "the process that measured it was stopped (SIGSTOP), and does not answer"
    assert len(other.latency.samples) == 6


def test_after_an_interrupt_the_samples_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in one process; nothing is checked any more."""

    def interrupted(doing: str, share: float) -> None:
        if doing.startswith("timing") and share >= 0.5:
            raise KeyboardInterrupt

    monkeypatch.setattr(isolated, "end_run", lambda *_: pytest.fail("nothing is checked any more"))
    result = measure(progress=interrupted)
    assert not result.complete
    assert [len(run.latency.samples) for run in result.measured] == [3, 3]
    assert [run.ended for run in result.measured] == ["interrupted"] * 2


def test_an_interrupt_while_outputs_are_checked_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is known, the rest is not."""

    def interrupt(*_: object) -> EndedRun:
        raise KeyboardInterrupt

    monkeypatch.setattr(isolated, "end_run", interrupt)
    result = measure()
    assert not result.complete
    assert [len(run.latency.samples) for run in result.measured] == [6, 6]


def test_a_run_that_cannot_be_prepared_is_not_run() -> None:
    """The other is; a runtime that this machine lacks starts no process."""
    result = measure(replace(CASE, runtimes=("eager", "cuda-graph")))
    assert [run.key.runtime for run in result.measured] == ["eager"]
    assert [(run.key.runtime, run.status) for run in result.not_run] == [("cuda-graph", "unavailable")]


def test_a_process_that_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    """With the reason of the system."""
    with pytest.raises(MnfpnError, match="could not start a process to measure it: No such file"):
        RunProcess(work(), python=tmp_path / "python")


def test_the_launch_of_a_process_has_its_variables_and_its_folder(
    tmp_path: Path, network: BenchWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is found in that folder. Hash seeds are not those of this process."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    request = request_of(_group(network, CASE), RunKey("eager", "cpu", network.input(1)))
    process = RunProcess(request, environment=(("MNFPN_TEST_MIB", "3"),), folder=tmp_path)
    try:
        assert process.load(lambda *_: None) == LoadedRun()
        seen = psutil.Process(process.pid)
        assert (seen.environ()["MNFPN_TEST_MIB"], seen.cwd()) == ("3", str(tmp_path))
        assert "PYTHONHASHSEED" not in seen.environ()
    finally:
        process.close()


@pytest.mark.parametrize("first", ["wait", "exit 7"], ids=["closed", "ended"])
def test_a_process_ends_with_those_that_it_started(tmp_path: Path, first: str) -> None:
    """As a compiler that still runs: where the process is ended, and where it has ended by itself."""
    python, written = tmp_path / "python", tmp_path / "child"
    python.write_text(f"#!/bin/sh\nsleep 60 >/dev/null & echo $! > new\nmv new child\n{first}\n", encoding="utf-8")
    python.chmod(0o755)
    with closing(RunProcess(work(), python=python, folder=tmp_path)) as process:
        assert within_seconds(20, written.exists)
        child = int(written.read_text(encoding="utf-8"))
        if first != "wait":
            with pytest.raises(MnfpnError):
                process.load(lambda *_: None)
    assert within_seconds(20, lambda: not runs(child))


def within_seconds(most: float, happened: Callable[[], bool]) -> bool:
    """Whether something happens in time."""
    end = time.monotonic() + most
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)
    return happened()


def runs(pid: int) -> bool:
    """Whether a process does anything still; one that has ended may wait for whoever asks how."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_what_a_network_prints_goes_to_standard_error(
    network: BenchWorkload, capfd: pytest.CaptureFixture[str]
) -> None:
    """Answers go where it cannot print; what it reads of standard input is nothing, and no request."""
    result = measure(replace(CASE, runtimes=("eager",)), network)
    assert len(result.measured) == 1
    printed = capfd.readouterr()
    assert (printed.out, printed.err.count("a pass") >= 8) == ("", True)


@pytest.mark.slow
def test_memory_is_that_of_the_passes(network: BenchWorkload, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that takes 256 MiB more has a peak that is as much higher."""
    peaks = []
    for mib in ("1", "257"):
        monkeypatch.setenv("MNFPN_TEST_MIB", mib)
        (run,) = measure(replace(CASE, runtimes=("eager",)), network).measured
        assert run.own_process is not None
        peaks.append((run.peak_memory_bytes or 0, run.own_process.passes_memory_bytes or 0))
    for before, after in zip(*peaks, strict=True):
        assert after - before == pytest.approx(256 * 2**20, rel=0.05)


PARENT = """
import time
from mnfpn_cli.bench.processes import RunProcess
from tests.sweep.works import LONG, task, work
process = RunProcess(work())
process.load(lambda *_: None)
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_run_ends_with_the_process_that_gives_the_turns() -> None:
    """Even where that is killed."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    run = psutil.Process(int(parent.stdout.readline()))
    parent.stdout.close()
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs([run], timeout=20)
    assert (len(gone), alive) == (1, [])


def test_a_request_asks_for_the_same_run() -> None:
    """Whatever the run depends on is in it."""
    quantization = QuantizationCase(Path("photos"), ("stem",), (0.5,), (0.25,))
    case = replace(
        CASE, runtimes=("fused",), dtypes=("bfloat16",), allocator="keep", cold_cache=True, quantization=quantization
    )
    origin = FromSettings(SETTINGS, WeightsFile(Path("a.pth"), "ema", "head"))
    group = _group(PlannedWorkload(origin, Size(32, 48), seed=7), case)
    request = request_of(group, RunKey("fused", "cpu", group.input, "bfloat16"))
    again = type(request).model_validate_json(request.model_dump_json())
    workload = requested_workload(again)
    assert workload == PlannedWorkload(origin, Size(32, 48), seed=7)
    assert workload.input(1) == group.input
    assert requested_case(again) == replace(case, isolate=False, sampling=Sampling(warmup=1))


@pytest.mark.parametrize("command", [PrepareRun(), TimePass(), EndRun(0.25, True)], ids=lambda one: one.kind)
def test_a_command_is_read_as_it_was_written(command: PrepareRun | TimePass | EndRun) -> None:
    """On one line."""
    assert as_line(command).count(b"\n") == 1
    assert read_command(as_line(command)) == command


GRAPH = ExecutedGraph((Operator("stem", "int8", 5),), 2)
ANSWERS = (
    RunProgress("preparing", 0.5),
    LoadedRun(),
    WarmRun(Ready(FirstPass(1.0, 2.0), WarmUp(3, 4.0, None), 2, keep_float=frozenset({"stem"}))),
    TimedPass(0.5, None, 3),
    EndedRun(Checked(inf, None, None, GRAPH, (WarningRecord(kind="a", cause="b", helps="c"),)), 5),
    RunFailure("out of memory", "failed", "a\nb"),
)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: one.kind)
def test_an_answer_is_read_as_it_was_written(answer: RunAnswer) -> None:
    """An infinite difference too, which JSON has no number for."""
    assert as_line(answer).count(b"\n") == 1
    assert read_answer(as_line(answer)) == answer


def test_an_answer_that_is_none_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of another program that was started by mistake."""
    monkeypatch.setattr(processes, "sys", type("Echo", (), {"executable": "/bin/echo", "stderr": sys.stderr}))
    process = RunProcess(work())
    try:
        with pytest.raises(MnfpnError, match="gave an answer that cannot be read"):
            process.load(lambda *_: None)
    finally:
        process.close()


def _group(workload: BenchWorkload, case: BenchCase) -> Group:
    import torch

    return Group(workload, torch.nn.Identity(), workload.input(1), torch.device("cpu"), case)


@pytest.mark.parametrize(
    ("runtimes", "dtypes", "isolate", "allocator", "only_here", "isolated"),
    [
        (["eager"], ["float32"], None, "system", "", False),
        (["eager", "fused"], ["float32"], None, "system", "", True),
        (["eager"], ["float32", "bfloat16"], None, "system", "", True),
        (["eager", "fused"], ["float32"], None, "system", "a module", False),
        (["eager", "fused"], ["float32"], False, "system", "", False),
        (["eager"], ["float32"], True, "keep", "", True),
        (["eager"], ["float32"], None, "jemalloc", "", True),
    ],
)
def test_several_runs_have_processes_of_their_own_unless_something_is_against_it(
    runtimes: list[str], dtypes: list[DType], isolate: bool | None, allocator: Allocator, only_here: str, isolated: bool
) -> None:
    """What is asked for counts first."""
    asked = BenchCase(runtimes=tuple(runtimes), dtypes=tuple(dtypes), allocator=allocator)
    assert checked_case(asked, isolate, only_here).isolate is isolated


@pytest.mark.parametrize(
    ("isolate", "allocator", "only_here", "message"),
    [
        (
            True,
            "system",
            "a module is of this process",
            "`isolate`: needs another process: a module is of this process",
        ),
        (None, "jemalloc", "a module", "`allocator` jemalloc: needs another process: a module"),
        (False, "jemalloc", "", "`isolate`: must be on for `allocator` jemalloc, which a process starts with"),
    ],
)
def test_a_process_that_cannot_be_had_is_an_error(
    isolate: bool | None, allocator: Allocator, only_here: str, message: str
) -> None:
    """No option is ignored in silence."""
    with pytest.raises(UsageError) as caught:
        checked_case(BenchCase(allocator=allocator), isolate, only_here)
    assert caught.value.message == message


def test_without_jemalloc_a_run_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    from mnfpn_cli.devices import allocator

    monkeypatch.setattr(allocator, "find_library", lambda _: None)
    with pytest.raises(UnavailableError, match="apt install libjemalloc2"):
        measure(replace(CASE, allocator="jemalloc"))
