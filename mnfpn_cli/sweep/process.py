"""One run, measured in a fresh process: whatever happens to that, a row says so."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from pydantic import ValidationError

from mnfpn_cli.documents.worker import Measured, RunRequest, RunResponse
from mnfpn_cli.store.sweeps import now

POLL_S = 0.05
ENOUGH_BYTES = 4000
"""Of what a process printed before it failed."""

BADNESS = "1000"
"""Linux ends the process with the most of it first when memory runs out: the run, not the sweep."""


@dataclass(frozen=True)
class Outcome:
    """What came of measuring a run on a worker; see `store.rows.Result`.

    ``unavailable``: the runtime cannot run there, for the reason that is given: nothing was measured, and nothing
    failed. A reason beside ``done`` is why layers were not timed.
    """

    status: Literal["done", "failed", "unavailable"]
    worker: str
    started: str
    finished: str
    reason: str | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class Task:
    """What a process is to measure, and for how long it may go on."""

    work: RunRequest
    timeout_s: float


def run_task(task: Task, stopped: Callable[[], bool] = lambda: False) -> Outcome:
    """Measure in a fresh process, when no other sweep measures on this device.

    Args:
        task: what to measure.
        stopped: asked all the time; the process is killed where it says so.
    """
    started, worker = now(), socket.gethostname()
    try:
        with _alone(task, stopped):
            started = now()
            with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as output:
                code = _run(task, stopped, answer, output)
                answer.seek(0)
                output.seek(0)
                result = _result(code, answer.read(), output.read(), task.timeout_s)
    except OSError as error:  # no process to be had, no room for temporary files
        return Outcome("failed", worker, started, now(), f"no process could be started to measure it: {error}")
    return Outcome(result.status, worker, started, now(), result.reason, result.measured)


def _run(task: Task, stopped: Callable[[], bool], answer: IO[bytes], output: IO[bytes]) -> int | None:
    """Give the worker its run, and wait for it to end; return its exit code, None where time was up.

    Its standard input stays open for as long as it measures: it ends where that closes.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mnfpn_cli.sweep.worker", str(answer.fileno())],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        pass_fds=(answer.fileno(),),
        start_new_session=True,  # Ctrl-C is for the sweep, which says what becomes of the run
    )
    _offer_when_memory_runs_out(process.pid)
    _tell(process, task.work)
    end = time.monotonic() + task.timeout_s
    try:
        while True:
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                if stopped() or time.monotonic() > end:
                    return None
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def _tell(process: subprocess.Popen[bytes], work: RunRequest) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(work.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return  # it has ended, and its exit code says how


def _offer_when_memory_runs_out(pid: int) -> None:
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(BADNESS)
    except OSError:
        return  # not Linux, or it has ended


def _result(code: int | None, answer: bytes, output: bytes, timeout_s: float) -> RunResponse:
    """What the worker answered; where it did not come to that, why."""
    if code is None:
        return _failed(f"it took more than {timeout_s:g} s (`run_timeout`)")
    if code < 0:
        name = signal.Signals(-code).name
        why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return _failed(f"the process that measured it was ended by {name}{why}")
    try:
        return RunResponse.model_validate_json(answer)
    except ValidationError:
        lines = output[-ENOUGH_BYTES:].decode(errors="replace").strip().splitlines()
        return _failed(
            lines[-1].replace("`", "'") if lines else f"the process that measured it ended with exit code {code}"
        )


def _failed(reason: str) -> RunResponse:
    return RunResponse(status="failed", reason=reason, measured=None)


@contextmanager
def _alone(task: Task, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold this machine's lock for a device: two measurements at once would slow each other."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = Path(tempfile.gettempdir()) / f"mnfpn-measuring-{os.getuid()}-{_device(task.work.device)}.lock"
    with path.open("w") as file:
        while not stopped():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(POLL_S)
        yield


def _device(named: str) -> str:
    """The device, as the name of a file can hold it: ``auto`` is what it would be, and a GPU is known by its number."""
    if named == "auto":
        named = "cuda" if shutil.which("nvidia-smi") else "cpu"
    kind, _, number = named.partition(":")
    if kind != "cuda":
        return kind
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    index = int(number or 0)
    return re.sub(r"[^A-Za-z0-9]+", "-", f"cuda {visible[index] if index < len(visible) and visible[index] else index}")
