"""`mnfpn summary`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import NetworkOptions, RowOutputOptions, SizeOption, WeightsOptions, choice_option, whole
from mnfpn_cli.cli.paths import Writes
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import FromSettings, Workload
from mnfpn_cli.files import form_of_file
from mnfpn_cli.report.terminal.summary import DEFAULT_DEPTH, SORT_KEYS, Selection, SortKey, below, select
from mnfpn_cli.text import as_option, did_you_mean, either

if TYPE_CHECKING:
    from mnfpn_cli.documents.summary import LayerRecord


@dataclass(frozen=True)
class RowOptions:
    """Which layers are shown."""

    depth: Annotated[
        int | None,
        Option(
            help=f"Show layers down to depth N (default: {DEFAULT_DEPTH}; all in json, csv and markdown).",
            metavar="N",
            parser=whole("--depth", 1),
        ),
    ] = None
    sort: Annotated[
        SortKey | None,
        choice_option(
            "--sort",
            SORT_KEYS,
            f"Show only single layers, sorted by {either(SORT_KEYS)}.",
            "KEY",
        ),
    ] = None
    top: Annotated[int | None, Option(help="Show at most N rows.", metavar="N", parser=whole("--top", 1))] = None
    filter: Annotated[
        str | None, Option(help="Show only layers whose path matches, as 'pyramid.*' or '*.conv'.", metavar="GLOB")
    ] = None

    def given(self) -> list[str]:
        """Return the names of the options that were given."""
        return [as_option(one.name) for one in fields(self) if getattr(self, one.name) is not None]

    def selection(self, everything: bool) -> Selection:
        """Return the selection of layers; ``everything``: whether the default depth is unlimited."""
        flat = self.filter is not None or self.sort is not None
        depth = self.depth if everything or flat else self.depth or DEFAULT_DEPTH
        return Selection(depth, self.filter, self.sort, self.top)

    def check(self, layers: "Sequence[LayerRecord]") -> None:
        """Check that the selection has some of these layers, the network itself first.

        Raises:
            UsageError: if it has none.
        """
        matched = select(layers, Selection(pattern=self.filter))
        if self.filter is not None and not matched:
            near = did_you_mean(self.filter, [row.path for row in below(layers)])
            raise UsageError(Problem("--filter", "must match the path of a layer", f"'{self.filter}'", near))
        selected = select(layers, Selection(pattern=self.filter, sort=self.sort))
        if matched and not selected:
            raise UsageError(Problem("--filter", "must match single layers with --sort", f"'{self.filter}'"))
        first = min((row.depth for row in selected), default=0)
        if self.depth is not None and self.depth < first:
            raise UsageError(
                Problem("--depth", f"must be {first} or more, the depth of the first matching layer", str(self.depth))
            )


@dataclass(frozen=True)
class PictureOptions:
    """The diagram of the network."""

    tree: Annotated[bool, Option("--tree", help="Draw stages, laterals and levels instead of listing layers.")] = False
    svg: Annotated[Path | None, Option(help="Also write this drawing to FILE, as SVG.", metavar="FILE"), Writes()] = (
        None
    )

    def check(self, output: RowOutputOptions, of_layers: Sequence[str]) -> None:
        """Check, before any work is done, that the other options allow a diagram, and that its file ends in .svg.

        ``of_layers``: the options about layers that were given.

        Raises:
            UsageError: if not.
        """
        if self.tree and of_layers:
            raise UsageError(
                Problem(", ".join(of_layers), "cannot be used with --tree, which draws levels, not layers")
            )
        if self.tree and {output.form, output.file_form} != {"text"}:
            raise UsageError(Problem("--tree", "is drawn as text only; mnfpn shapes --json has the levels as data"))
        if self.svg is not None:
            form_of_file("--svg", self.svg, ["svg"], "svg")

    def draw(self, workload: Workload, output: RowOutputOptions) -> None:
        """Write the picture and print the diagram, if asked for.

        Raises:
            UsageError: if the network is external, and has no plan to draw.
        """
        asked = ["--tree"] * self.tree + ["--svg"] * (self.svg is not None)
        if not asked:
            return
        origin = workload.origin
        if not isinstance(origin, FromSettings):
            raise UsageError(Problem(asked[0], "draws networks from settings, and cannot be used with --model"))

        from mnfpn_cli.cli.output import emit, write_text
        from mnfpn_cli.plan.shapes import network_shapes, shapes_document
        from mnfpn_cli.report.figures.svg import diagram_svg
        from mnfpn_cli.report.layout import network_layout
        from mnfpn_cli.report.terminal.diagram import diagram
        from mnfpn_cli.report.terminal.export import weights_report
        from mnfpn_cli.settings.input import NetworkInput, Size

        batch, channels, height, width = workload.specs[0].shape
        shapes = network_shapes(origin.plan, NetworkInput(batch, channels, Size(height, width)))
        layout = network_layout(origin.plan, shapes)
        if self.svg is not None:
            write_text(self.svg, diagram_svg(layout), "`svg`")
        if self.tree:
            document = shapes_document(origin.settings, [shapes], "float32", verified=False, weights=origin.fit())
            emit(diagram(layout) + weights_report(document.weights), document, output)


@grouped
def summary(
    *,
    picture: PictureOptions,
    size: SizeOption = None,
    rows: RowOptions,
    counts: Annotated[
        bool, Option("--counts", help="Also show all operations, and the figures of other counters.")
    ] = False,
    audit: Annotated[bool, Option("--audit/--no-audit", help="Skip the checks of mnfpn audit.")] = True,
    network: NetworkOptions,
    weights: WeightsOptions,
    model: ModelOptions,
    output: RowOutputOptions,
) -> None:
    """Show the layers of a network: shapes, parameters, MACs.

    Examples:
        mnfpn summary --tree
        mnfpn summary --sort macs --top 10
        mnfpn summary --model torchvision.models:resnet18 --depth 1
    """
    model.check_one_pass("summary")
    (workload,) = model.workloads(network, [size], weights=weights.file())
    picture.check(output, [*rows.given(), *["--counts"] * counts, *["--no-audit"] * (not audit)])
    if counts and output.format in ("csv", "markdown"):
        raise UsageError(Problem("--counts", f"is in text and JSON, and cannot be used with --format {output.format}"))
    picture.draw(workload, output)
    if not picture.tree:
        _show_layers(workload, rows, counts, audit, output)


def _show_layers(workload: Workload, rows: RowOptions, counts: bool, audit: bool, output: RowOutputOptions) -> None:
    """Inspect the network, and show its layers, counts and findings."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.summary import rows_csv, rows_markdown, summary_tables

    with ending_at_once():
        from mnfpn_cli.audit.allow import allow_findings
        from mnfpn_cli.audit.audit import inspect_workload, summary_document
        from mnfpn_cli.audit.counters import counts_record
        from mnfpn_cli.audit.project import project_allowances

    allowances = project_allowances() if audit else ()
    found = inspect_workload(workload, audited=audit)
    whole = summary_document(workload, found)
    if whole.audit:  # as `mnfpn audit` judges it
        whole = whole.model_copy(update={"audit": allow_findings(whole.audit, allowances)})
    rows.check(whole.layers)
    layers = select(whole.layers, rows.selection(everything=True))
    counted = counts_record(found.trace) if counts else None
    document = whole.model_copy(update={"layers": layers, "counts": counted})
    texts = {"csv": lambda: rows_csv(document), "markdown": lambda: rows_markdown(document)}
    emit(summary_tables(document, rows.selection(everything=False)), document, output, texts)
