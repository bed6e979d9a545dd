"""Processes of runs, from outside: start one, have it prepare, give it a turn for each pass, and end it.

A process waits for its turn asleep, in a read. The pass is timed inside it, so what a turn costs is not in a sample.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import IO, TypeVar

import psutil

from mnfpn_cli.bench.messages import (
    Describe,
    Described,
    EndedRun,
    EndRun,
    LoadedRun,
    PrepareRun,
    RunAnswer,
    RunCommand,
    RunFailure,
    RunProgress,
    TimedPass,
    TimePass,
    WarmRun,
    as_line,
    read_answer,
)
from mnfpn_cli.bench.prepare import Ready
from mnfpn_cli.bench.sides import Variables
from mnfpn_cli.devices.allocator import allocator_environment
from mnfpn_cli.devices.timers import Timing
from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.errors import MnfpnError, Problem, UnavailableError
from mnfpn_cli.measure.child import kill_first_without_memory, why_it_ended
from mnfpn_cli.text import ReportProgress

POLL_S = 1.0
"""The time without an answer after which it is looked whether the process was stopped."""

HASH_SEED = "PYTHONHASHSEED"
"""The variable that would give all processes the same hash seed."""

ENDS_S = 10.0
"""The time that a process whose answers have ended has to end."""

A = TypeVar("A", bound=RunAnswer)


def can_start_processes() -> bool:
    """Return whether runs can have processes of their own: pipes can be waited for on systems like Unix alone."""
    return os.name == "posix"


@dataclass
class RunProcess:
    """A run in a process of its own. It is a `Timer`, whose pass is that of the process.

    Attributes:
        request: the run.
        python: the interpreter; None for the one that runs now.
        environment: the variables that are added to those of this process.
        folder: the working folder; None for the present one.
        turns: the seconds that each turn took beside the pass.
    """

    request: RunRequest
    python: Path | None = None
    environment: Variables = ()
    folder: Path | None = None
    turns: list[float] = field(default_factory=list)
    _unread: bytes = field(default=b"", repr=False)
    _failed: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        """Start the process, which loads the network.

        Raises:
            UnavailableError: where the allocator that it must start with is not there.
            MnfpnError: where no process can be started.
        """
        python = str(self.python or sys.executable)
        inherited = {name: value for name, value in os.environ.items() if name != HASH_SEED}
        variables = {**allocator_environment(self.request.allocator), **dict(self.environment)}
        self._output: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                [python, "-P", "-m", "mnfpn_cli.bench.run_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._output,
                env={**inherited, **variables},
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for the one who gives the turns, who ends this process
            )
        except OSError as error:
            self._output.close()
            raise MnfpnError(
                Problem("could not start a process to measure it", error.strerror or str(error))
            ) from error
        kill_first_without_memory(self._process.pid)
        self._send(self.request.model_dump_json().encode() + b"\n")

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def turn_s(self) -> float:
        """The median time that a turn took beside the pass, in seconds."""
        return median(self.turns)

    def load(self, progress: ReportProgress) -> LoadedRun:
        """Wait until the network is built.

        Raises:
            UnavailableError: where the run is not possible there.
            MnfpnError: where it fails, or the process has ended or was stopped.
        """
        return self._answer(LoadedRun, progress)

    def describe(self, progress: ReportProgress) -> Described:
        """Have the process say what a pass needs and where it would run, and end.

        Raises:
            MnfpnError: as `load`.
        """
        return self._ask(Describe(), Described, progress)

    def prepare(self, progress: ReportProgress) -> Ready:
        """Have the process prepare the run, and warm it up.

        Raises:
            MnfpnError: as `load`.
        """
        return self._ask(PrepareRun(), WarmRun, progress).ready

    def __call__(self, run: Callable[[], object]) -> Timing:  # noqa: ARG002
        """Have the process time one pass; ``run`` stands for it.

        Raises:
            MnfpnError: as `load`.
        """
        start = time.perf_counter()
        sample = self._ask(TimePass(), TimedPass, _silent)
        self.turns.append(time.perf_counter() - start - sample.seconds)
        return Timing(sample.seconds, sample.enqueue, sample.faults)

    def end(self, pass_s: float, launch_bound: bool, progress: ReportProgress) -> EndedRun:
        """Have the process check the outputs, and profile the layers where that is asked for.

        Args:
            pass_s: the median time of its passes.
            launch_bound: whether the host, which queues a pass, sets its time.
            progress: is called with what it does.

        Raises:
            MnfpnError: as `load`.
        """
        return self._ask(EndRun(pass_s, launch_bound), EndedRun, progress)

    def close(self) -> None:
        """End the process, whatever it does, and those that it started; print what it printed to standard error."""
        if self._process.returncode is None:  # else its id may be that of another by now
            self._kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._output.seek(0)
        if not self._failed:
            sys.stderr.write(self._output.read().decode(errors="replace"))
        self._output.close()

    def _kill(self) -> None:
        """Kill the process and those that it started, which are of its group."""
        with suppress(ProcessLookupError, PermissionError):  # as some systems say where all have just ended
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def _ask(self, command: RunCommand, kind: type[A], progress: ReportProgress) -> A:
        self._send(as_line(command))
        return self._answer(kind, progress)

    def _send(self, line: bytes) -> None:
        try:
            os.write(self._stdin, line)
        except BrokenPipeError:
            return  # it has ended: the wait for its answer says why

    @property
    def _stdin(self) -> int:
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def _answer(self, kind: type[A], progress: ReportProgress) -> A:
        while True:
            line = self._read_line()
            try:
                answer = read_answer(line)
            except ValueError as error:
                raise MnfpnError("the process that measured it gave an answer that cannot be read") from error
            if isinstance(answer, RunProgress):
                progress(answer.doing, answer.share)
            elif isinstance(answer, RunFailure):
                raise _failure(answer)
            elif isinstance(answer, kind):
                return answer
            else:
                raise MnfpnError(f"the process that measured it answered out of turn: {answer.kind}")

    def _read_line(self) -> bytes:
        """Return the next line; the process has a turn for as long as it takes, unless it was stopped."""
        assert self._process.stdout is not None
        pipe, stopped = self._process.stdout.fileno(), False
        while b"\n" not in self._unread:
            readable, _, _ = select.select([pipe], [], [], POLL_S)
            if readable:
                read = os.read(pipe, 65536)
                if not read:
                    raise MnfpnError(self._why_ended())
                self._unread += read
            elif stopped and self._is_stopped():
                raise MnfpnError("the process that measured it was stopped (SIGSTOP), and does not answer")
            else:
                stopped = self._is_stopped()
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _is_stopped(self) -> bool:
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    def _why_ended(self) -> str:
        self._failed = True  # what it printed last is the reason
        try:
            code = self._process.wait(ENDS_S)
            self._kill()
        except subprocess.TimeoutExpired:
            return "the process that measured it gives no more answers"
        self._output.seek(0)
        return why_it_ended(code, self._output.read())


def _silent(_doing: str, _share: float) -> None:
    """Report nothing: a pass has no progress."""


def _failure(answer: RunFailure) -> MnfpnError:
    failure = (
        UnavailableError(Problem("", answer.reason)) if answer.status == "unavailable" else MnfpnError(answer.reason)
    )
    failure.details = answer.details
    return failure
