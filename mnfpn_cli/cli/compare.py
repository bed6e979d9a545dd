"""`mnfpn compare`: two networks measured here, or two results; `--a` and `--b` contain options of their own."""

import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Exit, Option
from typer.main import get_command

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import GATES, OPTIONS, usage_message
from mnfpn_cli.cli.interrupts import NOTHING_MEASURED, ending_at_once, interruptible
from mnfpn_cli.cli.measuring import PairSamplingOptions, RuntimeOption, measuring_flag, measuring_option
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import (
    DEVICE_HELP,
    TRAIN_HELP,
    AllocatorOption,
    BatchOption,
    DTypeOption,
    NetworkOptions,
    OutputOptions,
    SeedOption,
    SizeOption,
    ThreadsOption,
    WeightsOptions,
    device_option,
    share_parser,
)
from mnfpn_cli.cli.paths import Reads, files_of, named_path
from mnfpn_cli.errors import INTERRUPTED, CheckError, MnfpnError, Problem, UsageError, within
from mnfpn_cli.external.origin import Workload
from mnfpn_cli.settings.input import DType, parse_size
from mnfpn_cli.settings.measuring import (
    DEFAULT_ALLOCATOR,
    DEFAULT_MARGIN,
    DEFAULT_RUNTIME,
    check_device_name,
    choose_runtimes,
)
from mnfpn_cli.text import as_option

if TYPE_CHECKING:
    from mnfpn_cli.bench.comparison import Comparison, Gates
    from mnfpn_cli.documents.compare import GatesRecord
    from mnfpn_cli.documents.records import EnvironmentRecord

QUOTES = "; put quotes around a value with spaces, as \"--stages '1,16,1,1 6,24,2,2'\""


@dataclass(frozen=True)
class SideOptions:
    """One side of a comparison: a network, and what executes it."""

    network: NetworkOptions
    model: ModelOptions
    runtime: str
    dtype: DType
    weights: WeightsOptions

    @property
    def files(self) -> Iterator[Path]:
        """Yield the files that the side reads."""
        yield from (*files_of(self.network), *files_of(self.model), *files_of(self.weights))

    def case(self, size: str | None, batch: int | None) -> Workload:
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
    network: NetworkOptions,
    model: ModelOptions,
    weights: WeightsOptions,
    runtime: RuntimeOption = None,
    dtype: DTypeOption = "float32",
) -> SideOptions:
    """Return the side of these options."""
    chosen = choose_runtimes(runtime or [DEFAULT_RUNTIME])
    if len(chosen) > 1:
        raise UsageError(Problem("--runtime", "must be one", ", ".join(chosen)))
    return SideOptions(network, model, chosen[0], dtype, weights)


def files_of_side(text: str) -> Iterator[Path]:
    """Yield the files that a side reads; none if its text is malformed, which is reported when it is parsed."""
    with suppress(MnfpnError):
        yield from parse_side("", text).files


def parse_side(name: str, text: str) -> SideOptions:
    """Parse the text of a side, as ``--width-mult 0.75 --runtime fused``; ``name`` is the parameter that holds it.

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
            made: SideOptions = get_command(app)(words, prog_name=as_option(name), standalone_mode=False)
        except typer.TyperException as error:
            message = usage_message(error)
            raise UsageError(f"{message}{QUOTES if 'unexpected argument' in message else ''}") from None
    return made


def gate_option(name: str, help: str) -> Any:
    """Return the option of a gate, which takes a share."""
    return Option(name, help=help, metavar="SHARE", parser=share_parser(name, zero=True), rich_help_panel=GATES)


@dataclass(frozen=True)
class GateOptions:
    """The gates: a comparison beyond one exits with 3."""

    slower: Annotated[
        float | None, gate_option("--fail-if-slower", "Exit 3 if B is slower than A by more than SHARE.")
    ] = None
    larger: Annotated[
        float | None,
        gate_option("--fail-if-larger", "Exit 3 if B exceeds A in parameters, MACs or memory by more than SHARE."),
    ] = None
    strict: Annotated[
        bool,
        Option("--strict", help="Also exit 3 if --fail-if-slower is inconclusive.", rich_help_panel=GATES),
    ] = False

    def gates(self) -> "Gates":
        """Return the gates of these options.

        Raises:
            UsageError: if --strict is given without the gate that it is about.
        """
        from mnfpn_cli.bench.comparison import Gates

        if self.strict and self.slower is None:
            raise UsageError("--strict: requires --fail-if-slower, the only gate that can be inconclusive")
        return Gates(self.slower, self.larger, self.strict)


def enforce(judged: "GatesRecord", strict: bool) -> None:
    """Fail if a gate is broken, and warn of those that are undecided.

    Raises:
        CheckError: if a gate is broken, or if ``strict`` and one is undecided.
    """
    from mnfpn_cli.cli.output import warn

    if judged.broken or (judged.undecided and strict):
        raise CheckError("\n".join([*judged.broken, *judged.undecided]))
    for line in judged.undecided:
        warn(line)


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


@grouped
def compare(
    *,
    files: Annotated[
        list[str] | None,
        Argument(help="Two JSON results of mnfpn bench, instead of --a and --b.", metavar="[OLD.json NEW.json]"),
        Reads(),
    ] = None,
    a: Annotated[
        str | None,
        Option("--a", help="Set the options of network A, also --runtime and --dtype.", metavar="'OPTIONS'"),
        Reads(files_of_side),
    ] = None,
    b: Annotated[
        str | None, Option("--b", help="Set the options of network B.", metavar="'OPTIONS'"), Reads(files_of_side)
    ] = None,
    shared: SharedOptions,
    gates: GateOptions,
    sampling: PairSamplingOptions,
    output: OutputOptions,
) -> None:
    """Compare the speed and cost of two networks.

    Time both in turn on this machine, or compare two JSON results of mnfpn bench.

    Examples:
        mnfpn compare --a "--runtime eager" --b "--runtime fused"
        mnfpn compare --a "--width-mult 1.0" --b "--width-mult 0.75" --size 320
        mnfpn compare old.json new.json --fail-if-slower 3%
    """
    from mnfpn_cli.bench.comparison import check_gates_apply, compare_document, judge
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.compare import compare_tables

    wanted, environment = gates.gates(), None
    if files:
        _check_files_alone(a, b, shared, sampling)
        result = _from_files(files, shared)
        check_gates_apply(result, wanted)
    else:
        result, environment = _measured(a, b, shared, sampling)
    judged = judge(result, wanted)
    document = compare_document(result, judged, environment)
    emit(compare_tables(document), document, output)
    if result.failure:
        raise MnfpnError(result.failure)
    if not result.complete and not files:
        raise Exit(INTERRUPTED)
    enforce(judged, wanted.strict)


def _check_files_alone(a: str | None, b: str | None, shared: SharedOptions, sampling: PairSamplingOptions) -> None:
    """Check that no option of a measurement is given with two result files.

    Raises:
        UsageError: if one is.
    """
    if a is not None or b is not None:
        raise UsageError("compare: takes either two result files, or --a and --b")
    given = [
        as_option(field.name)
        for options in (shared, sampling)
        for field in fields(options)
        if field.name != "margin" and getattr(options, field.name) != field.default
    ]
    if given:
        raise UsageError(f"{', '.join(given)}: cannot be used with result files, which are measured already")


def _from_files(files: list[str], shared: SharedOptions) -> "Comparison":
    from mnfpn_cli.bench.compare_files import compare_files

    if len(files) != 2:
        raise UsageError(f"compare: takes two result files, got {len(files)}")
    old, new = (named_path("compare", one) for one in files)
    return compare_files((old, new), shared.margin_or_default)


def _measured(
    a: str | None, b: str | None, shared: SharedOptions, sampling: PairSamplingOptions
) -> "tuple[Comparison, EnvironmentRecord]":
    """Build both sides, and time them in turn.

    Raises:
        UsageError: if a side is missing or wrong.
        MnfpnError: if a network cannot be built.
    """
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.devices.machine import reading_cpu_name

    texts = _texts_of_sides(a, b)
    passes = sampling.sampling(shared.margin_or_default / 2)
    device = check_device_name(shared.device)
    if shared.size is not None:
        parse_size(shared.size)  # a malformed size is an error of neither side
    options = {name: parse_side(name, text) for name, text in texts.items()}
    cases = {name: _case(name, one, shared) for name, one in options.items()}
    with progress_bar() as bar, reading_cpu_name() as cpu_name, interruptible(bar) as progress:
        progress("loading torch", 0.0)
        with ending_at_once(NOTHING_MEASURED):
            from mnfpn_cli.bench.compare import CompareCase, compare_networks, side_of

        first, second = (
            side_of(f"`{name}`", texts[name].strip() or "(default)", cases[name], one.runtime, one.dtype, shared.seed)
            for name, one in options.items()
        )
        images, margin = shared.batch or 1, shared.margin_or_default
        case = CompareCase(images, device, shared.threads, shared.train, margin, passes, shared.allocator)
        return compare_networks(first, second, case, cpu_name, progress)


def _texts_of_sides(a: str | None, b: str | None) -> dict[str, str]:
    """Return the text of each side.

    Raises:
        UsageError: if one is missing.
    """
    if a is None and b is None:
        raise UsageError("compare: takes two result files, or --a and --b")
    if a is None or b is None:
        raise UsageError(f"{'--a' if a is None else '--b'}: must be given; a comparison takes --a and --b")
    return {"a": a, "b": b}


def _case(name: str, side: SideOptions, shared: SharedOptions) -> Workload:
    with within(f"`{name}`"):
        return side.case(shared.size, shared.batch)
