"""`mnfpn report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.options import choice_option, device_option, json_option, whole
from mnfpn_cli.cli.paths import Writes
from mnfpn_cli.cli.store_options import MetricOption, StoreOption
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.files import form_of_file
from mnfpn_cli.text import either

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.records import LatencyModelRecord
    from mnfpn_cli.documents.report import PageDocument, ReportDocument
    from mnfpn_cli.store.rows import BaselineTiming, StoredRun, Sweep
    from mnfpn_cli.sweep.predictions import Predicted

FORMATS = ("html", "png", "svg")


@grouped
def report(
    store: StoreOption,
    output: Annotated[
        Path | None,
        Option(help="Write a page or a plot to FILE instead, as report.html, plot.png or plot.svg.", metavar="FILE"),
        Writes(),
    ] = None,
    format: Annotated[
        str | None,
        choice_option(
            "--format",
            FORMATS,
            f"Write {either(FORMATS)} (default: by the suffix of FILE).",
            "FORMAT",
        ),
    ] = None,
    device: Annotated[str | None, device_option("Include only runs of this device.")] = None,
    sweep: Annotated[
        int | None, Option(help="Include only runs of this sweep.", metavar="N", parser=whole("--sweep", 1))
    ] = None,
    metric: MetricOption = None,
    predict: Annotated[
        bool, Option("--predict", help="Predict the pending runs from those that are measured, and show them too.")
    ] = False,
    json: Annotated[bool, json_option()] = False,
) -> None:
    """Show the measured frontier of a store as text, page or picture.

    Examples:
        mnfpn report --store runs.db
        mnfpn report --store runs.db --output report.html
    """
    from mnfpn_cli.cli.options import OutputOptions
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.frontier import frontier_report
    from mnfpn_cli.report.terminal.tables import note

    form = _form(output, format)
    document, page = _read(store, device, sweep, metric, output, predict)
    lines = frontier_report(document)
    if output and page:
        lines = [note(_write(output, form, page))]
    emit(lines, document, OutputOptions(json=json))


def _form(output: Path | None, format: str | None) -> str:
    """Return the form of the file; empty if there is none.

    Raises:
        UsageError: if the suffix contradicts --format, or nothing names a form.
    """
    if output is None:
        if format is not None:
            raise UsageError(Problem("--format", "requires --output FILE"))
        return ""
    return form_of_file("--output", output, FORMATS, format)


def _read(
    store: str, device: str | None, sweep: int | None, metric: str | None, output: Path | None, predict: bool
) -> "tuple[ReportDocument, PageDocument | None]":
    """Return the report of the selected runs; for a file, also with what a page shows besides."""
    from mnfpn_cli.store.filters import choose_runs, run_filters
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import read_baselines, read_sweeps
    from mnfpn_cli.sweep.command_lines import measuring
    from mnfpn_cli.sweep.objective import choose_objective
    from mnfpn_cli.sweep.report import page_document, report_document

    with open_store(store) as opened:
        known = _chosen(read_sweeps(opened), sweep)
        runs = choose_runs(read_runs(opened, sweep), run_filters(device, None, None))
        timed = read_baselines(opened)
        name = Path(str(opened.engine.url.database)).name  # without folder, user or server
        known_runs = read_runs(opened, status="done") if predict else []
    predicted, models, warnings = _predicted(runs, known_runs, timed) if predict else ({}, (), ())
    objective = choose_objective(runs, metric, predicted)
    written = str(output) if output else None
    report = report_document(runs, timed, objective, measuring, written, predicted, models, warnings)
    return report, page_document(report, name, runs, known) if output else None


def _predicted(
    runs: "Sequence[StoredRun]", known: "Sequence[StoredRun]", timed: "Sequence[BaselineTiming]"
) -> "tuple[Mapping[str, Predicted], Sequence[LatencyModelRecord], Sequence[str]]":
    """Return the predicted times of the pending runs, the models, and reasons to trust them less."""
    from mnfpn_cli.sweep.predictions import predict_stored

    predicted, predictions = predict_stored(runs, known, timed)
    return predicted, predictions.models, predictions.warnings


def _chosen(known: "Sequence[Sweep]", sweep: int | None) -> "Sequence[Sweep]":
    chosen = [one for one in known if sweep in (None, one.id)]
    if sweep is not None and not chosen:
        numbers = ", ".join(str(one.id) for one in known) or "none"
        raise UsageError(Problem("--sweep", f"must be the number of a sweep in the store ({numbers})", str(sweep)))
    return chosen


def _write(output: Path, form: str, page: "PageDocument") -> str:
    """Write the file, whole or not at all; return a sentence about its content.

    Raises:
        MnfpnError: if it cannot be drawn or written.
    """
    from mnfpn_cli.cli.output import write_bytes
    from mnfpn_cli.report.units import size_in_bytes
    from mnfpn_cli.text import counted

    if form == "html":
        from mnfpn_cli.report.page.page import report_page

        content = report_page(page, as_options).encode()
    else:
        from mnfpn_cli.report.figures.frontier import frontier_picture

        content = frontier_picture(page, form)
    write_bytes(output, content)
    what = "the page" if form == "html" else "the frontier's plot"
    return f"{output}: {what} of {counted(len(page.runs), 'run')}, {size_in_bytes(len(content))}."
