"""What a process that measures a run and the one that gives it turns say to each other: a line of JSON each.

The conductor sends a `RunRequest`, then `PrepareRun`, then `TimePass` for each pass, and `EndRun`; or `Describe` alone.
The process answers each with one of the answers here, after any number of `RunProgress`.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, TypeAdapter

from mnfpn_cli.bench.prepare import Checked, Ready
from mnfpn_cli.documents.bench import ProfileRecord
from mnfpn_cli.documents.records import EnvironmentRecord


@dataclass(frozen=True)
class Describe:
    """Say what a pass needs and where it would run, and end; answered by `Described`."""

    kind: Literal["describe"] = "describe"


@dataclass(frozen=True)
class PrepareRun:
    """Prepare the run and warm it up; answered by `WarmRun`."""

    kind: Literal["prepare"] = "prepare"


@dataclass(frozen=True)
class TimePass:
    """Time one pass; answered by `TimedPass`."""

    kind: Literal["pass"] = "pass"


@dataclass(frozen=True)
class EndRun:
    """Check the outputs, and profile the layers where that is asked for; answered by `EndedRun`.

    Attributes:
        pass_s: the median time of the passes, which a profile is compared with.
        launch_bound: whether the host, which queues a pass, sets its time.
    """

    pass_s: float
    launch_bound: bool
    kind: Literal["end"] = "end"


@dataclass(frozen=True)
class RunProgress:
    """What the process is doing, and the share of it that is done."""

    doing: str
    share: float
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True)
class LoadedRun:
    """The network is built."""

    kind: Literal["loaded"] = "loaded"


@dataclass(frozen=True)
class Described:
    """What a pass needs, and where it would run.

    Attributes:
        device: the device of its passes.
        figures: the exact figures, by the keys of `mnfpn_cli.bench.comparison.FIGURES`.
        environment: machine and software; its CPU has no name, which takes a second to read.
    """

    device: str
    figures: dict[str, int]
    environment: EnvironmentRecord
    kind: Literal["described"] = "described"


@dataclass(frozen=True)
class WarmRun:
    """The run is prepared and warm."""

    ready: Ready
    kind: Literal["warm"] = "warm"


@dataclass(frozen=True)
class TimedPass:
    """The time of a pass, as a `Timing` has it."""

    seconds: float
    enqueue: float | None
    faults: int | None
    kind: Literal["sample"] = "sample"


@dataclass(frozen=True)
class RunFailure:
    """Why the request could not be done, the status of a `NotRun`, and the traceback of an external network."""

    reason: str
    status: Literal["unavailable", "failed"] = "failed"
    details: str = ""
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True)
class EndedRun:
    """What is known after the passes.

    Attributes:
        checked: the outputs of the run, and what it executed.
        passes_memory_bytes: the peak of memory in the timed passes alone; None where it cannot be known.
        driver_memory_bytes: what the process takes on its GPU after them, by the driver; None where it does not say.
        profile: where the time goes; None where that was not asked for.
        no_profile: why there is none although it was asked for; None where there is one, or it was not.
    """

    checked: Checked
    passes_memory_bytes: int | None
    driver_memory_bytes: int | None = None
    profile: ProfileRecord | None = None
    no_profile: RunFailure | None = None
    kind: Literal["ended"] = "ended"


RunCommand = Describe | PrepareRun | TimePass | EndRun
RunAnswer = RunProgress | LoadedRun | Described | WarmRun | TimedPass | EndedRun | RunFailure

_CONFIG = ConfigDict(ser_json_inf_nan="constants")  # outputs that cannot be compared differ infinitely
_COMMANDS: TypeAdapter[RunCommand] = TypeAdapter(RunCommand, config=_CONFIG)
_ANSWERS: TypeAdapter[RunAnswer] = TypeAdapter(RunAnswer, config=_CONFIG)


def as_line(message: RunCommand | RunAnswer) -> bytes:
    """Return a message as a line of JSON."""
    adapter: TypeAdapter[RunCommand] | TypeAdapter[RunAnswer] = (
        _COMMANDS if isinstance(message, RunCommand) else _ANSWERS
    )
    return adapter.dump_json(message) + b"\n"  # type: ignore[arg-type]


def read_command(line: bytes) -> RunCommand:
    """Read a command. Raises ``ValueError`` where the line is none."""
    return _COMMANDS.validate_json(line)


def read_answer(line: bytes) -> RunAnswer:
    """Read an answer. Raises ``ValueError`` where the line is none."""
    return _ANSWERS.validate_json(line)
