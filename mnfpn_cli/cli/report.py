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
    from mnfpn_cli.documents.report import PageDocument

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
    from mnfpn_cli.sweep.report import read_report

    form = _form(output, format)
    document, page = read_report(store, device, sweep, metric, str(output) if output else None, predict)
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
