"""`mnfpn compare`."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.measuring import SamplingOptions, measuring_option
from mnfpn_cli.cli.options import BatchOption, OutputOptions, SizeOption, share, whole
from mnfpn_cli.errors import INTERRUPTED, CheckError, UsageError
from mnfpn_cli.settings.measuring import check_device_name

if TYPE_CHECKING:
    from mnfpn_cli.bench.comparison import Comparison, Gates

DEFAULT_MARGIN = 0.01


def gate_option(name: str, help: str) -> Any:
    """A gate: an option that gives a share."""
    return Option(name, help=help, metavar="SHARE", parser=share(name), rich_help_panel="Gates")


@dataclass(frozen=True)
class GateOptions:
    """What makes the exit code 3."""

    slower: Annotated[
        float | None, gate_option("--fail-if-slower", "Exit with 3 if B is slower than A by more than this.")
    ] = None
    larger: Annotated[
        float | None,
        gate_option("--fail-if-larger", "Exit with 3 if B has more parameters, MACs or memory, by more than this."),
    ] = None
    strict: Annotated[
        bool,
        Option("--strict", help="Exit with 3 also where --fail-if-slower is inconclusive.", rich_help_panel="Gates"),
    ] = False


@dataclass(frozen=True)
class PlaceOptions:
    """Where, and on what, both sides run."""

    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE")] = "auto"
    size: SizeOption = None
    batch: BatchOption = 1
    train: Annotated[bool, measuring_option("Compare training steps.")] = False
    threads: Annotated[
        int | None,
        measuring_option("CPU threads.", "N", parser=whole("--threads", 1, 4096), show_default="torch's choice"),
    ] = None
    margin: Annotated[
        float | None,
        measuring_option(
            "A difference that does not matter.",
            "SHARE",
            parser=share("--margin"),
            show_default=f"{DEFAULT_MARGIN:.0%}",
        ),
    ] = None

    @property
    def margin_or_default(self) -> float:
        """The margin that was asked for, or the default."""
        return DEFAULT_MARGIN if self.margin is None else self.margin


@grouped
def compare(
    gates: GateOptions,
    place: PlaceOptions,
    sampling: SamplingOptions,
    output: OutputOptions,
    files: Annotated[
        list[Path] | None, Argument(help="Two results of mnfpn bench, in JSON.", metavar="[OLD.json NEW.json]")
    ] = None,
    a: Annotated[
        str | None, Option("--a", help="One network: its options, --runtime and --dtype.", metavar="'OPTIONS'")
    ] = None,
    b: Annotated[str | None, Option("--b", help="The other.", metavar="'OPTIONS'")] = None,
) -> None:
    """Say which of two networks is faster: timed in turn here, or from two results of bench."""
    from mnfpn_cli.bench.comparison import Gates, check_gates_apply
    from mnfpn_cli.cli.output import check_output, emit
    from mnfpn_cli.report.compare import compare_document, compare_tables
    from mnfpn_cli.report.document import document

    check_output(output)
    if files and (a is not None or b is not None):
        raise UsageError("compare: takes two result files, or --a and --b, not both")
    result, environment = _from_files(files, place) if files else _measured(a, b, place, sampling)
    wanted = Gates(gates.slower, gates.larger, gates.strict)
    check_gates_apply(result, wanted)
    body = {**compare_document(result), **environment}
    emit(compare_tables(result), document("compare", result.a.settings, body), output)
    if not result.complete and not files:
        raise Exit(INTERRUPTED)
    _apply(result, wanted)


def _from_files(files: list[Path], place: PlaceOptions) -> "tuple[Comparison, dict[str, Any]]":
    from mnfpn_cli.bench.recorded import compare_recorded

    if len(files) != 2:
        raise UsageError(f"compare: takes two result files, got {len(files)}")
    return compare_recorded((files[0], files[1]), place.margin_or_default), {}


def _measured(
    a: str | None, b: str | None, place: PlaceOptions, sampling: SamplingOptions
) -> "tuple[Comparison, dict[str, Any]]":
    from mnfpn_cli.cli.progress import progress_bar
    from mnfpn_cli.cli.sides import parse_side
    from mnfpn_cli.measure.cpu import reading_cpu_name

    if a is None or b is None:
        raise UsageError("compare: takes two result files, or --a and --b")
    passes = sampling.sampling()
    if sampling.precision is None:
        passes = replace(passes, precision=place.margin_or_default / 2)
    options = [parse_side("--a", a), parse_side("--b", b)]
    made = [one.settings(place.size, place.batch) for one in options]
    device = check_device_name(place.device)
    with progress_bar() as progress, reading_cpu_name() as cpu_name:
        progress("loading torch", 0.0)
        with ending_at_once():
            from mnfpn_cli.bench.compare import Side, Together, compare_networks

        sides = [
            Side(text or "(default)", settings, size, one.runtime, one.dtype, one.weights)
            for text, one, (settings, size) in zip((a, b), options, made, strict=True)
        ]
        together = Together(place.batch, device, place.threads, place.train, place.margin_or_default, passes)
        result, environment = compare_networks(sides[0], sides[1], together, cpu_name, progress)
    return result, {"environment": asdict(environment)}


def _apply(result: "Comparison", gates: "Gates") -> None:
    """Judge by the gates.

    Raises:
        CheckError: where one is broken, or open and that is not allowed.
    """
    from mnfpn_cli.bench.comparison import broken_gates, open_gates
    from mnfpn_cli.cli.output import warn

    broken, undecided = list(broken_gates(result, gates)), list(open_gates(result, gates))
    if broken or (undecided and gates.strict):
        raise CheckError("\n".join([*broken, *undecided]))
    for line in undecided:
        warn(line)
