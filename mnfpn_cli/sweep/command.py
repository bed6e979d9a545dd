"""Run a command of the user's that trains a network and writes its scores."""

import json
import os
import shlex
import signal
import socket
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.measure.child import signal_name
from mnfpn_cli.store.scores import check_metric, check_score
from mnfpn_cli.store.sweeps import now
from mnfpn_cli.store.trainings import LOG_BYTES
from mnfpn_cli.sweep.waiting import wait_for_exit

GRACE_S = 5.0
"""Seconds that a command has to end by itself after SIGTERM."""

GUARD = "import os, signal, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), signal.SIGKILL)"
"""Ends a group of processes when its standard input closes, as it does when this process dies, however that is."""

MOST_OUTPUT = 1_000_000
"""Bytes of a file of scores."""

NEEDED = ("config", "output")
PLACEHOLDERS = (*NEEDED, "size", "dtype", "key")
EXAMPLE = "as 'python train.py {config} {output}'"


def check_command(where: str, command: str, sizes: Collection[object], dtypes: Collection[str]) -> None:
    """Check a command that gives scores.

    Args:
        where: the parameter, for messages.
        command: the command, with placeholders in braces.
        sizes: the sizes of the networks that it trains.
        dtypes: their dtypes.

    Raises:
        UsageError: where it cannot be split into words, has unknown placeholders, or lacks one that it needs.
    """
    try:
        words = shlex.split(command)
        fields = [field for word in words for field in string.Formatter().parse(word) if field[1] is not None]
    except ValueError as error:
        rule = f"must be a command whose quotes and braces are closed ({error})"
        raise UsageError(Problem(where, rule, f"'{command}'")) from None
    if not words:
        raise UsageError(Problem(where, f"must be a command, {EXAMPLE}", f"'{command}'"))
    names = {str(name) for _, name, _, _ in fields}
    unknown = sorted(names - {*PLACEHOLDERS})
    if unknown:
        known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
        rule = f"must have placeholders among {known}; a brace of its own is written twice"
        raise UsageError(Problem(where, rule, f"'{{{unknown[0]}}}'"))
    if formatted := [str(name) for _, name, form, conversion in fields if form or conversion]:
        rule = "must have placeholders without a format"
        raise UsageError(Problem(where, rule, f"'{{{formatted[0]}…}}'"))
    for one in NEEDED:
        if one not in names:
            raise UsageError(Problem(where, f"must have the placeholder {{{one}}}, {EXAMPLE}", f"'{command}'"))
    if "size" not in names and len(sizes) > 1:
        rule = f"must have the placeholder {{size}}: the networks to train have {len(sizes)} sizes"
        raise UsageError(Problem(where, rule, f"'{command}'"))
    if "dtype" not in names and (others := sorted(set(dtypes) - {"float32"})):
        rule = f"must have the placeholder {{dtype}}: there are runs in {', '.join(others)}, whose scores differ"
        raise UsageError(Problem(where, rule, f"'{command}'"))


@dataclass(frozen=True)
class ScoreTask:
    """A command to run for a network.

    Attributes:
        command: the command, with placeholders.
        settings: the settings of the network, as JSON.
        values: the other placeholders: size, dtype and key.
        folder: the folder to run it in.
        timeout_s: the time after which it is ended.
    """

    command: str
    settings: str
    values: Mapping[str, str]
    folder: str
    timeout_s: float


@dataclass(frozen=True)
class Scored:
    """How a command ended.

    Attributes:
        status: ``done`` where it gave scores.
        worker: the name of the machine.
        started, finished: UTC, ISO 8601.
        reason: why it failed.
        log: the end of what it printed.
        scores: its scores by metric.
    """

    status: Literal["done", "failed"]
    worker: str
    started: str
    finished: str
    reason: str | None = None
    log: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


def run_command(task: ScoreTask, stopped: Callable[[], bool] = lambda: False) -> Scored:
    """Run a command for a network, and read its scores.

    Args:
        task: the command and the network.
        stopped: polled; the command and all that it started are ended when it returns true.
    """
    started, worker = now(), socket.gethostname()
    with tempfile.TemporaryDirectory(prefix="mnfpn-score-") as folder, tempfile.TemporaryFile() as output:
        config, scores = Path(folder, "settings.json"), Path(folder, "scores.json")
        config.write_text(task.settings)
        values = {**task.values, "config": str(config), "output": str(scores)}
        words = [word.format_map(values) for word in shlex.split(task.command)]
        if not Path(task.folder).is_dir():
            reason = f"{worker} has no folder '{task.folder}', where the sweep was started"
            return Scored("failed", worker, started, now(), reason)
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=task.folder,
                start_new_session=True,  # Ctrl-C is for the sweep, which ends the whole group
            )
        except OSError as error:
            return Scored("failed", worker, started, now(), f"the command could not be started: {error}")
        with _ending_with_this_process(process.pid):
            try:
                code = wait_for_exit(process, task.timeout_s, stopped)
            finally:
                _end_group(process)
        log = _end_of(output)
        try:
            found = _read_scores(code, scores, task.timeout_s)
        except UsageError as error:
            return Scored("failed", worker, started, now(), error.message, log)
        return Scored("done", worker, started, now(), None, log, found)


def _end_of(output: IO[bytes]) -> str:
    """Return the end of what a command printed."""
    end = output.seek(0, os.SEEK_END)
    output.seek(max(0, end - LOG_BYTES))
    return output.read().decode(errors="replace").replace("\0", "\ufffd")


@contextmanager
def _ending_with_this_process(group: int) -> Iterator[None]:
    """Have a group of processes end when this process dies within the block, be it by SIGKILL."""
    command = [sys.executable, "-I", "-S", "-c", GUARD, str(group)]
    guard = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        guard.kill()
        guard.wait()
        if guard.stdin:
            guard.stdin.close()


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a command and all processes that it started: those may outlive it."""
    for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        if process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)


def _read_scores(code: int | None, path: Path, timeout_s: float) -> dict[str, float]:
    """Return the scores that a command wrote.

    Raises:
        UsageError: where it failed, or did not write scores.
    """
    if code is None:
        raise UsageError(f"the command took more than {timeout_s:g} s (`score_timeout`)")
    if code < 0:
        raise UsageError(f"the command was killed by {signal_name(-code)}")
    if code:
        raise UsageError(f"the command ended with exit code {code}")
    if not path.is_file():
        raise UsageError("the command wrote no {output}")
    if path.stat().st_size > MOST_OUTPUT:
        raise UsageError(f"the command wrote more than {MOST_OUTPUT:,} bytes into {{output}}")
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise UsageError("the command wrote no JSON into {output}") from None
    if not isinstance(found, dict) or not found:
        raise UsageError('{output} must be a JSON object with a number for each metric, as {"map": 0.231}')
    return {check_metric("{output}", name): check_score(f"{{output}}: {name}", value) for name, value in found.items()}
