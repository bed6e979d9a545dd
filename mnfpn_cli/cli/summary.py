"""`mnfpn summary`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import NetworkOptions, RowOutputOptions, SizeOption, WeightsOption, choice, whole
from mnfpn_cli.cli.paths import Writes, form_of_file
from mnfpn_cli.errors import UsageError
from mnfpn_cli.report.rows import SORT_KEYS, Selection, SortKey

if TYPE_CHECKING:
    from torch import nn

    from mnfpn_cli.inspection.facts import Facts
    from mnfpn_cli.models.subject import Subject
    from mnfpn_cli.report.tables import Report
    from mnfpn_cli.weights.load import Loaded

DEFAULT_DEPTH = 2


@dataclass(frozen=True)
class RowOptions:
    """Which rows are shown."""

    depth: Annotated[
        int | None,
        Option(
            help="Show layers down to this depth.",
            metavar="N",
            parser=whole("--depth", 1),
            show_default=f"{DEFAULT_DEPTH}; all in JSON, CSV and Markdown",
        ),
    ] = None
    sort: Annotated[
        SortKey | None,
        Option(
            help="Show single layers, those with the most of it first.",
            metavar="|".join(SORT_KEYS),
            parser=choice("--sort", SORT_KEYS),
        ),
    ] = None
    filter: Annotated[
        str | None, Option(help="Show layers whose path matches: 'pyramid.*', '*.conv'.", metavar="GLOB")
    ] = None
    top: Annotated[int | None, Option(help="Show so many rows at most.", metavar="N", parser=whole("--top", 1))] = None

    def selection(self, everything: bool) -> Selection:
        """The rows that are wanted; ``everything``: whether no depth means all."""
        flat = self.filter is not None or self.sort is not None
        depth = self.depth if everything or flat else self.depth or DEFAULT_DEPTH
        return Selection(depth, self.filter, self.sort, self.top)


@dataclass(frozen=True)
class PictureOptions:
    """The network as a diagram."""

    tree: Annotated[bool, Option("--tree", help="Draw stages, laterals and levels instead, as a diagram.")] = False
    svg: Annotated[Path | None, Option(help="Write that diagram as a picture.", metavar="FILE"), Writes()] = None

    def check(self, subject: "Subject", output: RowOutputOptions) -> None:
        """Make sure, before any work is done, that there is something to draw, and that its file is named for it.

        Raises:
            UsageError: where there is not.
        """
        asked = ["--tree"] * self.tree + ["--svg"] * (self.svg is not None)
        if asked and subject.settings is None:
            raise UsageError(f"{asked[0]}: draws networks from settings, and cannot be given beside --model")
        if self.tree and {output.form, output.file_form} != {"text"}:
            raise UsageError("--tree: is a picture made of text; mnfpn shapes --json has its levels as data")
        if self.svg is not None:
            form_of_file("--svg", self.svg, ["svg"], "svg")

    def draw(self, subject: "Subject") -> "Report":
        """The diagram for the terminal; the picture is written."""
        from mnfpn_cli.cli.output import write_text
        from mnfpn_cli.plan.network import plan_network
        from mnfpn_cli.plan.shapes import network_shapes
        from mnfpn_cli.report.diagram import diagram
        from mnfpn_cli.report.layout import network_layout
        from mnfpn_cli.report.svg import diagram_svg
        from mnfpn_cli.settings.input import NetworkInput, Size

        assert subject.settings is not None
        batch, channels, height, width = subject.inputs[0].shape
        plan = plan_network(subject.settings)
        layout = network_layout(plan, network_shapes(plan, NetworkInput(batch, channels, Size(height, width))))
        if self.svg is not None:
            write_text(self.svg, diagram_svg(layout), "--svg")
        return diagram(layout)


@grouped
def summary(
    network: NetworkOptions,
    model: ModelOptions,
    rows: RowOptions,
    picture: PictureOptions,
    output: RowOutputOptions,
    weights: WeightsOption = None,
    size: SizeOption = None,
    counts: Annotated[
        bool, Option("--counts", help="Show what there is to compute, and what other counters print for it.")
    ] = False,
    audit: Annotated[bool, Option("--audit/--no-audit", help="Check registration and pyramid too.")] = True,
) -> None:
    """Show what is in the network: the layer tree with shapes, parameters and MACs, and whether all is registered."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.audit import audit_document, audit_report, levels_document
    from mnfpn_cli.report.document import subject_document
    from mnfpn_cli.report.rows import rows_csv, rows_markdown, select
    from mnfpn_cli.report.summary import summary_document, summary_tables
    from mnfpn_cli.report.weights import weights_document, weights_report

    subject = model.subject(network, size, weights=weights)
    picture.check(subject, output)
    if picture.tree or picture.svg is not None:
        drawn = picture.draw(subject)
        if picture.tree:
            emit(drawn, {}, output)
            return
    with ending_at_once():
        from mnfpn_cli.inspection.inspect import inspect_subject
        from mnfpn_cli.inspection.tree import layer_tree

    built, found = inspect_subject(subject, audited=audit)
    loaded = _checked(built, subject, weights)
    tree = layer_tree(found.facts)
    every = rows.selection(everything=True)
    report = summary_tables(tree, subject.inputs, rows.selection(everything=False)) + weights_report(loaded)
    body = summary_document(tree, subject.inputs, every)
    if counts:
        tables, counted = _counted(found.facts)
        report, body = report + tables, body | {"counts": counted}
    if found.audit:
        report += audit_report(found.audit, found.pyramids)
        body |= {"audit": audit_document(found.audit), "levels": levels_document(found.pyramids)}
    body |= weights_document(loaded)
    texts = {"csv": lambda: rows_csv(select(tree, every)), "markdown": lambda: rows_markdown(select(tree, every))}
    emit(report, subject_document("summary", subject, body), output, texts)


def _checked(network: "nn.Module", subject: "Subject", weights: Path | None) -> "Loaded | None":
    """What would become of a checkpoint; None where there is none."""
    if weights is None or subject.settings is None:
        return None
    from mnfpn_cli.network.network import Network
    from mnfpn_cli.weights.files import read_checkpoint
    from mnfpn_cli.weights.load import check_weights

    assert isinstance(network, Network)
    return check_weights(network, subject.settings, read_checkpoint(weights))


def _counted(facts: "Facts") -> "tuple[Report, dict[str, Any]]":
    """What there is to compute, and what other counters print for it."""
    from mnfpn_cli.inspection.counts import count_work, tool_totals
    from mnfpn_cli.report.counts import counts_document, counts_tables

    work, totals = count_work(facts), tool_totals(facts)
    return counts_tables(work, totals), counts_document(work, totals)
