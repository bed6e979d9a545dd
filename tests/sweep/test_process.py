"""A run in a process of its own: whatever happens to the process, its outcome gives the reason."""

import os
import shutil
import signal
import subprocess
import sys
import time
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path
from threading import Thread

import psutil
import pytest

from mnfpn_cli import FORMAT_VERSION, __version__
from mnfpn_cli.devices.allocator import can_keep
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.measure.child import kill_first_without_memory, why_it_ended
from mnfpn_cli.settings.measuring import ALLOCATORS
from mnfpn_cli.sweep import process
from mnfpn_cli.sweep.process import Outcome, run_task
from tests.sweep.works import LONG, task

WORKER = "mnfpn_cli.sweep.worker"


def children() -> list[psutil.Process]:
    """The processes that measure runs."""
    alive = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if WORKER in one.cmdline()]


def at_start(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have workers run some code first."""
    (folder / "sitecustomize.py").write_text(f"import os, sys\nif {WORKER!r} in sys.orig_argv:\n    {code}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))


def in_the_middle(signal_number: int) -> Outcome:
    """Measure a run, and send its process a signal as soon as it is there."""
    outcomes = list[Outcome]()
    thread = Thread(target=lambda: outcomes.append(run_task(task())))
    thread.start()
    while not (found := children()):
        time.sleep(0.01)
    time.sleep(0.5)
    found[0].send_signal(signal_number)
    thread.join()
    return outcomes[0]


def test_a_run_is_measured_as_bench_measures_it() -> None:
    """The outcome has samples, environment and warnings."""
    outcome = run_task(task())
    assert (outcome.status, outcome.reason) == ("done", None)
    assert outcome.measured is not None
    assert len(outcome.measured.run.latency_s.samples) == 10
    assert outcome.measured.run.device == "cpu"
    assert outcome.measured.environment.torch
    assert outcome.started < outcome.finished


@pytest.mark.skipif(not can_keep(), reason="needs Linux with glibc")
def test_a_run_has_its_allocator() -> None:
    """A process that keeps memory has hardly any page faults; the result says which it was."""
    faults, warm = dict[str, float](), SamplingRecord(passes=10, warmup=10)
    for allocator in [one for one in ALLOCATORS if one != "jemalloc" or find_library(one)]:
        outcome = run_task(task(allocator=allocator, height=320, width=320, sampling=warm))
        assert outcome.measured is not None
        assert outcome.measured.environment.allocator == allocator
        faults[allocator] = outcome.measured.run.page_faults or 0.0
    assert max(faults[allocator] for allocator in faults if allocator != "system") < faults["system"] / 10


@pytest.mark.slow
def test_a_killed_process_is_a_failure_with_the_signal() -> None:
    """As when memory runs out."""
    outcome = in_the_middle(signal.SIGKILL)
    assert outcome.status == "failed"
    assert outcome.reason == ("the process that measured it was killed by SIGKILL, as Linux does when memory runs out")


def test_a_crashed_process_is_a_failure_with_the_signal() -> None:
    """As where a library breaks."""
    outcome = in_the_middle(signal.SIGSEGV)
    assert outcome.reason == "the process that measured it was killed by SIGSEGV"
    assert why_it_ended(-40, b"") == "the process that measured it was killed by signal 40"


def test_an_error_of_the_measurement_is_the_reason() -> None:
    """The message is unchanged."""
    outcome = run_task(task(height=60000, width=60000))
    assert outcome.status == "failed"
    assert (outcome.reason or "").startswith("`size`, `batch`: must fit the memory that cpu has free")


def test_a_runtime_that_cannot_run_here_has_not_failed() -> None:
    """It is unavailable, with the reason."""
    outcome = run_task(task(height=32, width=32, runtime="cuda-graph"))
    assert (outcome.status, outcome.reason) == ("unavailable", "runs on CUDA alone")


def test_whatever_is_printed_the_result_is_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard output and error, by Python and below it: the result has a file of its own."""
    at_start(tmp_path, monkeypatch, "print('{}', flush=True); os.write(1, b'{'); os.write(2, b'error: x')")
    outcome = run_task(task())
    assert (outcome.status, outcome.reason) == ("done", None)


def test_the_last_line_of_a_process_without_a_result_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a library ends the process; where it printed nothing, the reason has its exit code."""
    gone = "the driver has gone"
    for words, reason in ((gone, gone), ("", "the process that measured it ended with exit code 3")):
        at_start(tmp_path, monkeypatch, f"print({words!r}, flush=True); os._exit(3)")
        outcome = run_task(task())
        assert (outcome.status, outcome.reason, outcome.measured) == ("failed", reason, None)


def test_a_request_and_a_response_of_another_version_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is read as what it is not: the run has failed, and the reason has both versions."""
    whole = task()
    rule = f"must be of format_version {FORMAT_VERSION}, which this mnfpn reads, got 99, of mnfpn {__version__}"
    newer = run_task(replace(whole, work=whole.work.model_copy(update={"format_version": 99})))
    assert (newer.status, newer.reason) == ("failed", f"the request of a run: {rule}")
    response = whole.work.respond("failed", "x").model_copy(update={"format_version": 99}).model_dump_json()
    at_start(tmp_path, monkeypatch, f"os.write(int(sys.orig_argv[-1]), {response.encode()!r}); os._exit(0)")
    outcome = run_task(whole)
    assert (outcome.status, outcome.reason) == ("failed", f"the worker's response: {rule}")


def test_a_run_that_takes_too_long_has_failed() -> None:
    """Its process is killed."""
    outcome = run_task(task(0.5, sampling=LONG))
    assert outcome.reason == "it took more than 0.5 s (`run_timeout`)"
    assert children() == []


@pytest.mark.slow
def test_a_run_ends_when_its_sweep_is_stopped() -> None:
    """At once."""
    start = time.monotonic()
    run_task(task(sampling=LONG), stopped=lambda: time.monotonic() - start > 0.5)
    assert time.monotonic() - start < 20
    assert children() == []


PARENT = """
import sys
from mnfpn_cli.sweep.process import run_task
from tests.sweep.works import LONG, task
run_task(task(sampling=LONG))
"""


@pytest.mark.slow
def test_a_run_dies_with_its_sweep() -> None:
    """Even where the sweep is killed: no process is left that measures."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT])
    seen = psutil.Process(parent.pid)
    while not (found := seen.children()):
        time.sleep(0.05)
    time.sleep(1)
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(found, timeout=20)
    assert (len(gone), alive) == (1, [])


@pytest.mark.skipif(sys.platform != "linux", reason="oom_score_adj is Linux's")
def test_linux_kills_the_run_first_when_memory_runs_out() -> None:
    """Not the sweep, which measures the other runs."""
    started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        kill_first_without_memory(started.pid)
        assert Path(f"/proc/{started.pid}/oom_score_adj").read_text().strip() == "1000"
        assert Path(f"/proc/{os.getpid()}/oom_score_adj").read_text().strip() != "1000"
    finally:
        started.communicate(b"\n")


@pytest.mark.parametrize("other", ["cpu", "auto"])
def test_two_measurements_do_not_run_on_one_device_at_once(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """They would slow each other: the second waits; ``auto`` is the CPU where there is no GPU."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    running, most = 0, 0

    def measuring(*_: object) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.3)
        running -= 1
        return 1

    monkeypatch.setattr(process, "_run", measuring)
    threads = [Thread(target=run_task, args=(task(device=each),)) for each in ("cpu", other, "cpu")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
