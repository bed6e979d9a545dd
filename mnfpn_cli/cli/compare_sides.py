"""The options of the sides of a comparison: their networks, what executes them, and what else differs."""

import shlex
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option
from typer.main import get_command

from mnfpn_cli.cli.groups import command_line, grouped
from mnfpn_cli.cli.help import OPTIONS, SIDES, usage_message
from mnfpn_cli.cli.measuring import RuntimeOption, measuring_flag, measuring_option
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import (
    DEVICE_HELP,
    DTYPE_HELP,
    TRAIN_HELP,
    AllocatorOption,
    BatchOption,
    NetworkOptions,
    SeedOption,
    SizeOption,
    ThreadsOption,
    WeightsOptions,
    device_option,
    dtype_option,
    share_parser,
    whole,
)
from mnfpn_cli.cli.paths import Reads, files_of
from mnfpn_cli.errors import MnfpnError, Problem, UsageError, within
from mnfpn_cli.external.origin import Workload
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DType
from mnfpn_cli.settings.measuring import (
    DEFAULT_ALLOCATOR,
    DEFAULT_MARGIN,
    DEFAULT_PROCESSES,
    DEFAULT_RUNTIME,
    MOST_PROCESSES,
    choose_runtimes,
)
from mnfpn_cli.text import as_option

if TYPE_CHECKING:
    from mnfpn_cli.bench.comparison import TimedSide
    from mnfpn_cli.bench.sides import SideLaunch

QUOTES = "; put quotes around a value with spaces, as \"--stages '1,16,1,1 6,24,2,2'\""


@dataclass(frozen=True)
class ExecutionOptions:
    """What executes a network."""

    runtime: RuntimeOption = None
    dtype: Annotated[DType | None, dtype_option(DTYPE_HELP)] = None


@dataclass(frozen=True)
class SideOptions:
    """One side of a comparison: a network, and what executes it."""

    network: NetworkOptions
    model: ModelOptions
    weights: WeightsOptions
    execution: ExecutionOptions

    @property
    def runtime(self) -> str:
        """The only runtime.

        Raises:
            UsageError: if there are several.
        """
        chosen = choose_runtimes(self.execution.runtime or [DEFAULT_RUNTIME])
        if len(chosen) > 1:
            raise UsageError(Problem("--runtime", "must be one", ", ".join(chosen)))
        return chosen[0]

    @property
    def dtype(self) -> DType:
        """The dtype that was given, or the default."""
        return self.execution.dtype or DEFAULT_DTYPE

    @property
    def words(self) -> str:
        """The options that were given, as in a shell."""
        return command_line("", self.network, self.model, self.weights, self.execution)

    @property
    def files(self) -> Iterator[Path]:
        """Yield the files that the side reads."""
        for group in (self.network, self.model, self.weights):
            yield from files_of(group)

    def workload(self, size: str | None, batch: int | None) -> Workload:
        """Return the network and its input; ``batch`` is None if it was not given.

        Raises:
            UsageError: if the options are wrong or contradict each other, or the size does not fit.
        """
        self.model.check_one_pass("a comparison")
        (workload,) = self.model.workloads(self.network, [size], weights=self.weights.file())
        self.model.check_batch(batch)
        return workload


@grouped
def side(
    network: NetworkOptions, model: ModelOptions, weights: WeightsOptions, execution: ExecutionOptions
) -> SideOptions:
    """Return the side of these options."""
    made = SideOptions(network, model, weights, execution)
    _ = made.runtime  # an unknown one, or several, are an error of the side
    return made


def files_of_side(text: str) -> Iterator[Path]:
    """Yield the files that a side reads; none if its text is malformed, which is reported when it is parsed."""
    with suppress(MnfpnError):
        yield from parse_side("", text).files


def parse_side(name: str, text: str, shared: str = "") -> SideOptions:
    """Parse the text of a side, as ``--width-mult 0.75 --runtime fused``; ``name`` is the parameter that holds it.

    ``shared``: the options that both sides have besides. One that takes a single value is given once, here or there.

    Raises:
        UsageError: if it is malformed.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        reason = str(error).lower()
        rule = f"must be options as in a shell, but has {reason}"
        raise UsageError(Problem(f"`{name}`", rule, repr(text))) from None
    app = typer.Typer(add_completion=False, context_settings={"help_option_names": []})
    app.command()(side)
    with within(f"`{name}`"):
        try:
            given = [*shlex.split(shared), *words]
            made: SideOptions = get_command(app)(given, prog_name=as_option(name), standalone_mode=False)
        except typer.TyperException as error:
            message = usage_message(error)
            raise UsageError(f"{message}{QUOTES if 'unexpected argument' in message else ''}") from None
    return made


def side_option(name: str, help: str, metavar: str, **more: Any) -> Any:
    """Return an option of what a side is besides its network."""
    return Option(name, help=help, metavar=metavar, rich_help_panel=SIDES, **more)


REF_HELP = "Use the files of a commit for {}; relative paths are in it."
PYTHON_HELP = "Run {} with this interpreter, which has a compatible mnfpn."
ENV_HELP = "Add an environment variable for {}. Can be repeated."


@dataclass(frozen=True)
class LaunchOptions:
    """What the sides are besides their networks: commits, interpreters, variables; and the number of processes."""

    a_ref: Annotated[str | None, side_option("--a-ref", REF_HELP.format("A"), "COMMIT")] = None
    b_ref: Annotated[str | None, side_option("--b-ref", REF_HELP.format("B"), "COMMIT")] = None
    a_python: Annotated[Path | None, side_option("--a-python", PYTHON_HELP.format("A"), "FILE"), Reads()] = None
    b_python: Annotated[Path | None, side_option("--b-python", PYTHON_HELP.format("B"), "FILE"), Reads()] = None
    a_env: Annotated[list[str] | None, side_option("--a-env", ENV_HELP.format("A"), "KEY=VALUE")] = None
    b_env: Annotated[list[str] | None, side_option("--b-env", ENV_HELP.format("B"), "KEY=VALUE")] = None
    processes: Annotated[
        int | None,
        side_option(
            "--processes",
            f"Time N processes of each side, in turn with the other's (default: {DEFAULT_PROCESSES} if the sides "
            "differ by an option of this group; otherwise both are in one process).",
            "N",
            parser=whole("--processes", 1, MOST_PROCESSES),
        ),
    ] = None

    @property
    def of_sides(self) -> bool:
        """Whether a side is said to be anything besides its network."""
        given = [getattr(self, one.name) for one in fields(self) if one.name != "processes"]
        return any(value not in (None, []) for value in given)

    def launches(self) -> "tuple[SideLaunch, SideLaunch]":
        """Return what was said of each side besides its network.

        Raises:
            UsageError: if a variable is malformed.
        """
        from mnfpn_cli.bench.sides import SideLaunch, parse_variables

        a = SideLaunch(self.a_python, parse_variables("`a_env`", self.a_env or ()), self.a_ref)
        b = SideLaunch(self.b_python, parse_variables("`b_env`", self.b_env or ()), self.b_ref)
        return a, b


@dataclass(frozen=True)
class SharedOptions:
    """The options that both sides share: input, device, margin."""

    size: SizeOption = None
    batch: BatchOption = None
    device: Annotated[str, device_option(DEVICE_HELP)] = "auto"
    train: Annotated[bool, measuring_flag("--train", TRAIN_HELP, OPTIONS)] = False
    margin: Annotated[
        float | None,
        measuring_option(
            f"Ignore differences up to SHARE (default: {DEFAULT_MARGIN:.0%}).",
            "SHARE",
            parser=share_parser("--margin"),
        ),
    ] = None
    threads: ThreadsOption = None
    allocator: AllocatorOption = DEFAULT_ALLOCATOR
    seed: SeedOption = 0

    @property
    def margin_or_default(self) -> float:
        """The margin that was given, or the default."""
        return DEFAULT_MARGIN if self.margin is None else self.margin


@dataclass(frozen=True)
class GivenSide:
    """A side as it was given.

    Attributes:
        options: its own, and those of both sides.
        name: the same as in a shell.
        where: its place in messages; empty if it has no options of its own.
    """

    options: SideOptions
    name: str
    where: str

    def read(self, shared: SharedOptions) -> "TimedSide":
        """Return the side to time.

        Raises:
            UsageError: if the options are wrong or contradict each other, or the size does not fit.
        """
        from mnfpn_cli.bench.comparison import TimedSide

        with within(self.where) if self.where else nullcontext():
            workload = self.options.workload(shared.size, shared.batch)
        return TimedSide(self.name, workload, self.options.runtime, self.options.dtype)


def given_sides(a: str | None, b: str | None, both: SideOptions, launch: LaunchOptions) -> tuple[GivenSide, GivenSide]:
    """Return both sides; one that has only the options of both need not be given if the launches differ.

    Raises:
        UsageError: if a side is missing or wrong.
    """
    _ = both.runtime  # an unknown one, or several, are an error of neither side
    if a is None and b is None and not launch.of_sides:
        raise UsageError("compare: takes two result files, or --a and --b, or sides that differ as by --a-ref")
    if (a is None or b is None) and not launch.of_sides:
        raise UsageError(f"{'--a' if a is None else '--b'}: must be given; a comparison takes --a and --b")
    words = both.words
    of_a, of_b = (
        GivenSide(
            both if text is None else parse_side(name, text, words),
            " ".join(part for part in (words, (text or "").strip()) if part) or "(default)",
            "" if text is None else f"`{name}`",
        )
        for name, text in (("a", a), ("b", b))
    )
    if of_a.options.network.config == of_b.options.network.config == "-":
        raise UsageError(Problem("--config", "must be a file where both sides read it", "'-'"))
    return of_a, of_b
