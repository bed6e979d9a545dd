"""One cell, measured in a fresh process: whatever happens to that, a row says so."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mnfpn_cli.errors import UNAVAILABLE
from mnfpn_cli.store.sweeps import now

POLL_S = 0.05
ENOUGH_BYTES = 4000
"""Of what a process printed before it failed."""

BADNESS = "1000"
"""Linux ends the process with the most of it first when memory runs out: the cell, not the sweep."""


@dataclass(frozen=True)
class Outcome:
    """What came of measuring a cell on a node; see `store.rows.Result`.

    ``unavailable``: the runtime cannot run there, for the reason that is given: nothing was measured, and nothing
    failed. A reason beside ``done`` is why layers were not timed.
    """

    status: Literal["done", "failed", "unavailable"]
    node: str
    started: str
    finished: str
    reason: str | None = None
    document: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Task:
    """What a process is to measure: the arguments of `mnfpn`, and for how long it may go on."""

    arguments: tuple[str, ...]
    timeout_s: float


def run_task(task: Task, stopped: Callable[[], bool] = lambda: False) -> Outcome:
    """Measure in a fresh process, when no other sweep measures on this device.

    Args:
        task: what to measure.
        stopped: asked all the time; the process is killed where it says so.
    """
    started, node = now(), socket.gethostname()
    try:
        with _alone(task, stopped):
            started = now()
            with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
                code = _run(task, stopped, out, err)
                out.seek(0)
                err.seek(0)
                printed, said = out.read(), err.read()
    except OSError as error:  # no process to be had, no room for temporary files
        return Outcome("failed", node, started, now(), f"no process could be started to measure it: {error}")
    if code == UNAVAILABLE:  # the device, batch and size that the reason begins with are the cell's
        return Outcome("unavailable", node, started, now(), _why(said, code).partition(": ")[2])
    reason, document = _read(code, printed, said, task.timeout_s)
    status: Literal["done", "failed"] = "failed" if document is None else "done"
    return Outcome(status, node, started, now(), reason, document)


def _run(task: Task, stopped: Callable[[], bool], out: Any, err: Any) -> int | None:
    """The exit code; None where time was up."""
    command = [sys.executable, "-m", "mnfpn_cli.cli.worker", *task.arguments, "--json"]
    # In a session of its own: Ctrl-C is for the sweep, which says what becomes of the cell.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True)
    _offer_when_memory_runs_out(process.pid)
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


def _offer_when_memory_runs_out(pid: int) -> None:
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(BADNESS)
    except OSError:
        return  # not Linux, or it has ended


def _read(code: int | None, printed: bytes, said: bytes, timeout_s: float) -> tuple[str | None, dict[str, Any] | None]:
    """Why there is no result, or a part is missing; and the result."""
    if code is None:
        return f"it took more than {timeout_s:g} s (--cell-timeout)", None
    if code < 0:
        name = signal.Signals(-code).name
        why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"the process that measured it was ended by {name}{why}", None
    try:
        result = json.loads(printed)
        (measured,) = result["runs"]
    except (ValueError, KeyError, TypeError):
        return _why(said, code), None
    if measured["failure"] is not None or not result["complete"]:
        return measured["failure"] or "it was interrupted", None
    kept = {"run": measured, "warnings": result["warnings"], "environment": result["environment"]}
    profile = next(iter(result.get("profiles", ())), None)
    return "\n".join(result["failures"]) or None, {**kept, "profile": profile}


def _why(said: bytes, code: int) -> str:
    lines = said[-ENOUGH_BYTES:].decode(errors="replace").strip().splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return "\n".join(errors) or (lines[-1] if lines else f"the process that measured it ended with exit code {code}")


@contextmanager
def _alone(task: Task, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold this machine's lock for a device: two measurements at once would slow each other."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = Path(tempfile.gettempdir()) / f"mnfpn-measuring-{os.getuid()}-{_device(task.arguments)}.lock"
    with path.open("w") as file:
        while not stopped():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(POLL_S)
        yield


def _device(arguments: Sequence[str]) -> str:
    """The device, as the name of a file can hold it: ``auto`` is what it would be, and a GPU is known by its number."""
    named = arguments[arguments.index("--device") + 1] if "--device" in arguments else "auto"
    if named == "auto":
        named = "cuda" if shutil.which("nvidia-smi") else "cpu"
    kind, _, number = named.partition(":")
    if kind != "cuda":
        return kind
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    index = int(number or 0)
    return re.sub(r"[^A-Za-z0-9]+", "-", f"cuda {visible[index] if index < len(visible) and visible[index] else index}")
