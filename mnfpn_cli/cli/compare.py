"""`mnfpn compare`: two networks measured here, or two results; `--a` and `--b` contain options of their own."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from mnfpn_cli.cli.compare_sides import (
    ExecutionOptions,
    GivenSide,
    LaunchOptions,
    SharedOptions,
    SideOptions,
    files_of_side,
    given_sides,
)
from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import GATES
from mnfpn_cli.cli.interrupts import NOTHING_MEASURED, ending_at_once, interruptible, stopping
from mnfpn_cli.cli.measuring import PairSamplingOptions
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import (
    ComparisonOutputOptions,
    NetworkOptions,
    WeightsOptions,
    share_parser,
)
from mnfpn_cli.cli.paths import Reads, named_path
from mnfpn_cli.errors import INTERRUPTED, CheckError, MnfpnError, UsageError
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.measuring import check_device_name
from mnfpn_cli.text import as_option

if TYPE_CHECKING:
    from mnfpn_cli.bench.comparison import Gates
    from mnfpn_cli.documents.compare import CompareDocument, GatesRecord
    from mnfpn_cli.text import ReportProgress


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


@grouped
def compare(
    *,
    files: Annotated[
        list[str] | None,
        Argument(help="Two JSON results of mnfpn bench, instead of two networks.", metavar="[OLD.json NEW.json]"),
        Reads(),
    ] = None,
    a: Annotated[
        str | None,
        Option("--a", help="Set options of network A alone, also --runtime.", metavar="'OPTIONS'"),
        Reads(files_of_side),
    ] = None,
    b: Annotated[
        str | None, Option("--b", help="Set options of network B alone.", metavar="'OPTIONS'"), Reads(files_of_side)
    ] = None,
    shared: SharedOptions,
    execution: ExecutionOptions,
    gates: GateOptions,
    launch: LaunchOptions,
    sampling: PairSamplingOptions,
    network: NetworkOptions,
    model: ModelOptions,
    weights: WeightsOptions,
    output: ComparisonOutputOptions,
) -> None:
    """Compare the speed and cost of two networks.

    Time both in turn on this machine, or compare two JSON results of mnfpn bench. Options of a network that are not in
    --a or --b are those of both.

    Examples:
        mnfpn compare --a "--runtime eager" --b "--runtime fused"
        mnfpn compare --a-ref main --b-ref HEAD --size 320 --model nets.py:Net
        mnfpn compare old.json new.json --fail-if-slower 3%
    """
    from mnfpn_cli.bench.comparison import check_gates_apply, judge
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.words import as_options
    from mnfpn_cli.report.compare_checks import compare_commands, compare_markdown
    from mnfpn_cli.report.terminal.compare import compare_tables

    wanted = gates.gates()
    both = SideOptions(network, model, weights, execution)
    if files:
        _check_files_alone(a, b, (network, model, weights, execution, launch, shared, sampling))
        document = _from_files(files, shared)
        check_gates_apply(document, wanted)
    else:
        document = _measured(given_sides(a, b, both, launch), launch, shared, sampling)
    document = judge(document, wanted)
    texts = {
        "github": lambda: compare_commands(document, as_options),
        "markdown": lambda: compare_markdown(document, as_options),
    }
    emit(compare_tables(document), document, output, texts)
    if document.failure:
        raise MnfpnError(document.failure)
    if not document.complete and not files:
        raise Exit(INTERRUPTED)
    enforce(document.gates, wanted.strict)


def _check_files_alone(a: str | None, b: str | None, groups: Sequence[Any]) -> None:
    """Check that no option of a measurement is given with two result files.

    Raises:
        UsageError: if one is.
    """
    if a is not None or b is not None:
        raise UsageError("compare: takes either two result files, or --a and --b")
    given = [
        as_option(field.name)
        for options in groups
        for field in fields(options)
        if field.name != "margin" and getattr(options, field.name) != field.default
    ]
    if given:
        raise UsageError(f"{', '.join(given)}: cannot be used with result files, which are measured already")


def _from_files(files: list[str], shared: SharedOptions) -> "CompareDocument":
    from mnfpn_cli.bench.compare_files import compare_files

    if len(files) != 2:
        raise UsageError(f"compare: takes two result files, got {len(files)}")
    old, new = (named_path("compare", one) for one in files)
    return compare_files((old, new), shared.margin_or_default)


def _measured(
    sides: tuple[GivenSide, GivenSide], launch: LaunchOptions, shared: SharedOptions, sampling: PairSamplingOptions
) -> "CompareDocument":
    """Read both sides, and time them in turn.

    Raises:
        UsageError: if a side is wrong.
        MnfpnError: if a network cannot be built.
    """
    from mnfpn_cli.bench.comparison import CompareCase
    from mnfpn_cli.bench.run_comparison import run_comparison

    if shared.size is not None:
        parse_size(shared.size)  # a malformed size is an error of neither side
    margin = shared.margin_or_default
    case = CompareCase(
        batch=shared.batch or 1,
        device_name=check_device_name(shared.device),
        threads=shared.threads,
        train=shared.train,
        margin=margin,
        sampling=sampling.sampling(margin / 2),
        allocator=shared.allocator,
        seed=shared.seed,
    )
    given = dict(zip("ab", sides, strict=True))
    return run_comparison(
        lambda name: given[name].read(shared), launch.launches(), launch.processes, case, _measuring, _importing
    )


@contextmanager
def _measuring() -> "Iterator[ReportProgress]":
    """Show progress and let signals interrupt in the block."""
    from mnfpn_cli.cli.talk import progress_bar

    with progress_bar() as bar, interruptible(bar) as progress:
        yield progress


def _importing(in_processes: bool) -> AbstractContextManager[object]:
    """Handle signals while torch is imported: at once, but for the cleanup of what was checked out for processes."""
    return stopping() if in_processes else ending_at_once(NOTHING_MEASURED)
