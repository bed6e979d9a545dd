"""Measure one run in a new process. Where the process crashes, is killed or takes too long, the run has failed."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mnfpn_cli.devices.allocator import allocator_environment
from mnfpn_cli.documents.read import parse_document
from mnfpn_cli.documents.worker import Measured, ResponseStatus, RunRequest, RunResponse
from mnfpn_cli.errors import UsageError
from mnfpn_cli.measure.child import kill_first_without_memory, why_it_ended
from mnfpn_cli.store.sweeps import now
from mnfpn_cli.sweep.command import Scored, ScoreTask, run_command
from mnfpn_cli.sweep.waiting import POLL_S, wait_for_exit


@dataclass(frozen=True)
class Outcome:
    """The result of measuring a run on a worker.

    Attributes:
        status: ``done``, ``failed``, or ``unavailable`` where the runtime cannot run on the worker.
        worker: the name of the machine.
        started, finished: UTC, ISO 8601.
        reason: why it failed or is unavailable; of one that is done, why its layers were not timed.
        measured: the measurement; None unless it is done.
    """

    status: ResponseStatus
    worker: str
    started: str
    finished: str
    reason: str | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class Task:
    """A run to measure, and the time in seconds after which its process is killed."""

    work: RunRequest
    timeout_s: float


def run_on_worker(task: Task | ScoreTask, stopped: Callable[[], bool] = lambda: False) -> Outcome | Scored:
    """Measure a run, or run a command that trains a network; ``stopped``: as `run_task`."""
    return run_task(task, stopped) if isinstance(task, Task) else run_command(task, stopped)


def run_task(task: Task, stopped: Callable[[], bool] = lambda: False) -> Outcome:
    """Measure a run in a new process, once no other sweep measures on this device.

    Args:
        task: the run.
        stopped: polled; the process is killed when it returns true.
    """
    started, worker = now(), socket.gethostname()
    try:
        with _device_lock(task.work.device, stopped):
            started = now()
            with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as output:
                code = _run(task, stopped, answer, output)
                answer.seek(0)
                output.seek(0)
                result = _result(task, code, answer.read(), output.read())
    except OSError as error:  # no new process, or no room for temporary files
        return Outcome("failed", worker, started, now(), f"could not start a process to measure it: {error}")
    return Outcome(result.status, worker, started, now(), result.reason, result.measured)


def _run(task: Task, stopped: Callable[[], bool], answer: IO[bytes], output: IO[bytes]) -> int | None:
    """Run the worker process until it ends; return its exit code, None where it was killed for its time or a stop.

    The process ends when its standard input closes, so that stays open while it measures.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mnfpn_cli.sweep.worker", str(answer.fileno())],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env={**os.environ, **allocator_environment(task.work.allocator)},
        pass_fds=(answer.fileno(),),
        start_new_session=True,  # Ctrl-C is for the sweep, which ends this process
    )
    kill_first_without_memory(process.pid)
    _send(process, task.work)
    try:
        return wait_for_exit(process, task.timeout_s, stopped)
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def _send(process: subprocess.Popen[bytes], work: RunRequest) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(work.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return  # it has ended; its exit code gives the reason


def _result(task: Task, code: int | None, answer: bytes, output: bytes) -> RunResponse:
    """Return the worker's response, or a failure with the reason why there is none."""
    if code == 0 and answer:
        try:
            return parse_document(answer, RunResponse, "the worker's response", extra="forbid")
        except UsageError as error:
            return task.work.respond("failed", str(error.problems[0]))
    return task.work.respond("failed", _why_none(code, output, task.timeout_s))


def _why_none(code: int | None, output: bytes, timeout_s: float) -> str:
    """Return why a process that ended with an exit code and this output gave no response."""
    return f"it took more than {timeout_s:g} s (`run_timeout`)" if code is None else why_it_ended(code, output)


@contextmanager
def _device_lock(device: str, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold this machine's lock for a device: two measurements at once would slow each other."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = Path(tempfile.gettempdir()) / f"mnfpn-measuring-{os.getuid()}-{_lock_name(device)}.lock"
    with path.open("w") as file:
        while not stopped():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(POLL_S)
        yield


def _lock_name(device: str) -> str:
    """Return the part of the lock file's name for a device: a GPU by its number, ``auto`` as the device it stands for.

    A GPU that ``CUDA_VISIBLE_DEVICES`` renumbers has the number or the name that is given there.
    """
    if device == "auto":
        device = "cuda" if shutil.which("nvidia-smi") else "cpu"
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return kind
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    index = int(number or 0)
    return re.sub(r"[^A-Za-z0-9]+", "-", f"cuda {visible[index] if index < len(visible) and visible[index] else index}")
