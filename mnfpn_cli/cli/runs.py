"""`mnfpn runs`: list, show, score, prune, merge and export the runs of a store."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import Command, CommandGroup
from mnfpn_cli.cli.options import OutputOptions, choice_option, json_option, whole
from mnfpn_cli.cli.paths import Reads, Writes, check_not_read
from mnfpn_cli.cli.store_options import StoreOption, files_of_store
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.files import form_of_file
from mnfpn_cli.text import either

if TYPE_CHECKING:
    from mnfpn_cli.store.rows import RunStatus

STATUSES = ("done", "failed", "pending")
FORMATS = ("csv", "json", "parquet", "markdown")
ON_SCREEN, IN_PIPE = 50, 10_000
"""How many runs a table lists by default; JSON has all."""

HELP = """List, show, score, prune, merge and export the runs of a store.

Examples:
    mnfpn runs list --store runs.db
    mnfpn runs export --store runs.db --output runs.csv
"""
runs = Typer(name="runs", cls=CommandGroup, help=HELP, add_completion=False)

StatusOption = Annotated[
    str | None,
    choice_option("--status", STATUSES, f"Include only runs that are {either(STATUSES)}.", "STATUS"),
]
SweepOption = Annotated[
    int | None, Option(help="Include only runs of this sweep.", metavar="N", parser=whole("--sweep", 1))
]


@runs.command("list", cls=Command)
@grouped
def list_(
    store: StoreOption,
    output: OutputOptions,
    status: StatusOption = None,
    sweep: SweepOption = None,
    limit: Annotated[
        int | None,
        Option(
            help=f"List at most N runs (default: {ON_SCREEN} in a terminal, else {IN_PIPE}).",
            metavar="N",
            parser=whole("--limit", 1),
        ),
    ] = None,
) -> None:
    """List sweeps and runs, newest first.

    Examples:
        mnfpn runs list --store runs.db
        mnfpn runs list --store runs.db --status failed
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.runs import list_report
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import read_sweeps
    from mnfpn_cli.sweep.run_records import list_document, select_runs

    most = limit or (ON_SCREEN if sys.stdout.isatty() and output.output is None else IN_PIPE)
    in_document = limit if "json" in (output.form, output.file_form) else most
    with open_store(store) as opened:
        rows, times = select_runs(opened, status, sweep)
        listed = [one for one in reversed(read_sweeps(opened)) if sweep in (None, one.id)]
        document = list_document(opened.location, rows, in_document, listed, times)
    emit(list_report(document, most), document, output)


@runs.command("show", cls=Command)
@grouped
def show(
    key: Annotated[str, Argument(help="The key of a run, or its first characters.", metavar="KEY")],
    store: StoreOption,
    output: OutputOptions,
) -> None:
    """Show the settings, cost, results and environment of a run.

    Also show the command that measures the run.

    Examples:
        mnfpn runs show 3f2a --store runs.db
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.runs import show_report
    from mnfpn_cli.store.read import read_run
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import read_baselines
    from mnfpn_cli.store.trainings import trainings_of
    from mnfpn_cli.sweep.run_records import show_document

    with open_store(store) as opened:
        run, results = read_run(opened, key.lower())
        document = show_document(run, results, read_baselines(opened), trainings_of(opened, run))
    emit(show_report(document), document, output)


@runs.command("score", cls=Command)
@grouped
def score(
    store: StoreOption,
    output: OutputOptions,
    key: Annotated[str | None, Argument(help="The key of a run, or its first characters.", metavar="[KEY]")] = None,
    values: Annotated[
        list[str] | None, Argument(help="Scores by metric, as map=0.231.", metavar="[METRIC=VALUE]...")
    ] = None,
    scores: Annotated[
        Path | None,
        Option(help="Read scores from a CSV file: columns of runs, and one for each metric.", metavar="FILE"),
        Reads(),
    ] = None,
    source: Annotated[
        str | None, Option(help="Say where the scores come from (default: the file's name).", metavar="TEXT")
    ] = None,
) -> None:
    """Give networks scores by metrics of your own.

    A higher score is better. It holds for all runs of the same network, size and dtype.

    Examples:
        mnfpn runs score 3f2a map=0.231 --store runs.db
        mnfpn runs score --scores scores.csv --store runs.db
    """
    from mnfpn_cli.api.scoring import score as give
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.runs import scored_report

    if (scores is None) == (key is None):
        raise UsageError(Problem("score", "must be given either KEY METRIC=VALUE, or --scores FILE"))
    if scores is not None and values:
        raise UsageError(Problem("score", "must be given either KEY METRIC=VALUE, or --scores FILE"))
    if scores is not None:
        document = give(store, str(scores), source=source)
    else:
        document = give(store, {str(key): _scores(values or [])}, source=source or "given on the command line")
    emit(scored_report(document), document, output)


def _scores(values: Sequence[str]) -> dict[str, float]:
    """Return scores by metric.

    Raises:
        UsageError: if there is none, or one is malformed or given twice.
    """
    from mnfpn_cli.store.scores import check_metric, check_score

    if not values:
        raise UsageError(Problem("METRIC=VALUE", "must be given, as map=0.231"))
    scores = dict[str, float]()
    for text in values:
        metric, equals, value = text.partition("=")
        if not equals:
            raise UsageError(Problem("METRIC=VALUE", "must be a metric and its value, as map=0.231", f"'{text}'"))
        if metric in scores:
            raise UsageError(Problem("METRIC=VALUE", "must have each metric once", f"'{text}'"))
        scores[check_metric("METRIC=VALUE", metric)] = check_score(metric, value)
    return scores


@runs.command("prune", cls=Command)
@grouped
def prune(
    store: StoreOption,
    output: OutputOptions,
    keys: Annotated[
        list[str] | None, Argument(help="The keys of runs to remove, or their first characters.", metavar="[KEY]...")
    ] = None,
    failed: Annotated[bool, Option("--failed", help="Remove runs that failed.")] = False,
    pending: Annotated[
        bool, Option("--pending", help="Remove runs that are not measured yet; this ends their sweeps.")
    ] = False,
    superseded: Annotated[
        bool, Option("--superseded", help="Remove older results of runs that were measured again.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only show what would be removed.")] = False,
) -> None:
    """Remove runs from a store, with their results.

    Runs that are being measured stay.

    Examples:
        mnfpn runs prune --store runs.db --failed --dry-run
        mnfpn runs prune 3f2a --store runs.db
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.runs import removed_report
    from mnfpn_cli.store.change import Unwanted, remove
    from mnfpn_cli.store.claims import Claims
    from mnfpn_cli.store.read import full_key
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.run_records import prune_document

    statuses: list[RunStatus] = [*(["failed"] * failed), *(["pending"] * pending)]  # type: ignore[list-item]
    if not (statuses or superseded or keys):
        raise UsageError(Problem("prune", "must be given --failed, --pending, --superseded or keys of runs"))
    with open_store(store) as opened:
        unwanted = Unwanted(statuses, [full_key(opened, key.lower()) for key in keys or ()], superseded)
        if not dry_run:
            Claims(opened).release_expired()
        removed = remove(opened, unwanted, dry_run=dry_run)
    document = prune_document(removed, dry_run)
    emit(removed_report(document), document, output)


@contextmanager
def _as_other() -> Iterator[None]:
    """Name OTHER, not --store, in the messages of errors."""
    try:
        yield
    except MnfpnError as error:
        raise error.at("OTHER") from None


def files_of_other(name: str) -> tuple[Path, ...]:
    """Return the file of the other store; nothing for a server.

    Raises:
        UsageError: if the name is neither a file nor the URL of a server.
    """
    with _as_other():
        return files_of_store(name)


@runs.command("merge", cls=Command)
@grouped
def merge(
    other: Annotated[
        str,
        Argument(help="The store to copy from: an SQLite file or PostgreSQL URL.", metavar="OTHER"),
        Reads(files_of_other),
    ],
    store: StoreOption,
    output: OutputOptions,
) -> None:
    """Copy runs and results from another store.

    The store of --store is created if it does not exist.

    Examples:
        mnfpn runs merge other.db --store runs.db
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.documents.runs import RunsMergeDocument
    from mnfpn_cli.report.terminal.runs import merged_report
    from mnfpn_cli.store.merge import merge_stores
    from mnfpn_cli.store.store import open_store

    with ExitStack() as stack:
        with _as_other():
            source = stack.enter_context(open_store(other))
        for path in files_of_store(store):
            check_not_read("--store", path, files_of_store(other))
        target = stack.enter_context(open_store(store, create=True))
        progress = stack.enter_context(progress_bar())
        document = RunsMergeDocument(
            settings=None,
            model=None,
            source=source.location,
            target=target.location,
            results=merge_stores(target, source, progress),
        )
    emit(merged_report(document), document, output)


@runs.command("export", cls=Command)
@grouped
def export(
    store: StoreOption,
    format: Annotated[
        str | None,
        choice_option(
            "--format",
            FORMATS,
            f"Write {either(FORMATS)} (default: by the suffix of FILE; json to standard output).",
            "FORMAT",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(help="Write to FILE, whole or not at all (default: to standard output).", metavar="FILE"),
        Writes(),
    ] = None,
    status: StatusOption = None,
    sweep: SweepOption = None,
    metric: Annotated[
        str | None,
        Option(help="Write only runs that have a score of this metric, and no other metric.", metavar="NAME"),
    ] = None,
    json: Annotated[bool, json_option()] = False,
) -> None:
    """Write runs as rows for other programs.

    Examples:
        mnfpn runs export --store runs.db --output runs.csv
        mnfpn runs export --store runs.db --format json --status done
        mnfpn runs export --store runs.db --metric map --output runs.csv
    """
    from mnfpn_cli.cli.output import write_bytes
    from mnfpn_cli.cli.words import as_options
    from mnfpn_cli.report.run_files import runs_bytes
    from mnfpn_cli.store.scores import with_metric
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.run_records import runs_export_document, select_runs

    form = _form(format, output, json=json)
    with open_store(store) as opened:
        rows, times = select_runs(opened, status, sweep)
        scored = rows if metric is None else with_metric(rows, metric)
        document = runs_export_document(scored, times)
    if output is not None:
        write_bytes(output, runs_bytes(form, document, as_options))
    if json or output is None:
        sys.stdout.write(runs_bytes("json" if json else form, document, as_options).decode())


def _form(asked: str | None, output: Path | None, *, json: bool) -> str:
    """Return the form of the file, or of the output if there is no file.

    Raises:
        UsageError: if the options and the suffix contradict each other, or nothing names a form.
    """
    if json and output is None and asked not in (None, "json"):
        raise UsageError(Problem("--json", f"is --format json, and cannot be used with --format {asked}"))
    form = form_of_file("--output", output, FORMATS, asked) if output else asked or "json"
    if form == "parquet" and output is None:
        raise UsageError(Problem("--format", "parquet is binary, and requires --output FILE"))
    return form
