"""`mnfpn summary`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import NetworkOptions, RowOutputOptions, SizeOption, WeightsOption, choice_option, whole
from mnfpn_cli.cli.paths import Writes, form_of_file
from mnfpn_cli.errors import UsageError
from mnfpn_cli.report.terminal.summary import SORT_KEYS, Selection, SortKey, select
from mnfpn_cli.text import did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from mnfpn_cli.audit.tree import LayerTree
    from mnfpn_cli.external.inputs import Subject
    from mnfpn_cli.report.terminal.tables import Report
    from mnfpn_cli.weights.load import Loaded

DEFAULT_DEPTH = 2


@dataclass(frozen=True)
class RowOptions:
    """Which rows are shown."""

    depth: Annotated[
        int | None,
        Option(
            help=f"Show layers down to this depth; {DEFAULT_DEPTH} unless given, all in other formats than text.",
            metavar="N",
            parser=whole("--depth", 1),
        ),
    ] = None
    sort: Annotated[
        SortKey | None,
        choice_option(
            "--sort", SORT_KEYS, f"Show single layers, sorted by {', '.join(SORT_KEYS[:-1])} or {SORT_KEYS[-1]}.", "KEY"
        ),
    ] = None
    top: Annotated[int | None, Option(help="Show at most this many rows.", metavar="N", parser=whole("--top", 1))] = (
        None
    )
    filter: Annotated[
        str | None, Option(help="Show layers whose path matches: 'pyramid.*', '*.conv'.", metavar="GLOB")
    ] = None

    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{one.name}" for one in fields(self) if getattr(self, one.name) is not None]

    def selection(self, everything: bool) -> Selection:
        """The rows that are wanted; ``everything``: whether no depth means all."""
        flat = self.filter is not None or self.sort is not None
        depth = self.depth if everything or flat else self.depth or DEFAULT_DEPTH
        return Selection(depth, self.filter, self.sort, self.top)

    def check(self, tree: "LayerTree") -> None:
        """Make sure that there are layers to show.

        Raises:
            UsageError: where no layer is what was asked for.
        """
        matched = select(tree, Selection(pattern=self.filter))
        if self.filter is not None and not matched:
            near = did_you_mean(self.filter, [row.path for row in tree.rows[1:]])
            raise UsageError(f"--filter: must match the path of a layer, got '{self.filter}'{near}")
        shown = select(tree, Selection(pattern=self.filter, sort=self.sort))
        if matched and not shown:
            raise UsageError(f"--filter: must match single layers, which --sort shows, got '{self.filter}'")
        first = min((row.depth for row in shown), default=0)
        if self.depth is not None and self.depth < first:
            raise UsageError(f"--depth: must be {first} or more, where the first such layer is, got {self.depth}")


@dataclass(frozen=True)
class PictureOptions:
    """The network as a diagram."""

    tree: Annotated[bool, Option("--tree", help="Draw stages, laterals and levels instead.")] = False
    svg: Annotated[Path | None, Option(help="Write that drawing as a picture too.", metavar="FILE"), Writes()] = None

    def check(self, subject: "Subject", output: RowOutputOptions, of_layers: Sequence[str]) -> None:
        """Make sure, before any work is done, that there is something to draw, and that its file is named for it.

        ``of_layers``: options that were given too, and say which layers are shown, and how.

        Raises:
            UsageError: where there is not.
        """
        asked = ["--tree"] * self.tree + ["--svg"] * (self.svg is not None)
        if asked and subject.settings is None:
            raise UsageError(f"{asked[0]}: draws networks from settings, and cannot be given beside --model")
        if self.tree and of_layers:
            raise UsageError(f"{', '.join(of_layers)}: must not be given beside --tree, which draws levels, not layers")
        if self.tree and {output.form, output.file_form} != {"text"}:
            raise UsageError("--tree: is a picture made of text; mnfpn shapes --json has its levels as data")
        if self.svg is not None:
            form_of_file("--svg", self.svg, ["svg"], "svg")

    def draw(self, subject: "Subject") -> "Report":
        """The diagram for the terminal; the picture is written."""
        from mnfpn_cli.cli.output import write_text
        from mnfpn_cli.plan.network import plan_network
        from mnfpn_cli.plan.shapes import network_shapes
        from mnfpn_cli.report.figures.svg import diagram_svg
        from mnfpn_cli.report.layout import network_layout
        from mnfpn_cli.report.terminal.diagram import diagram
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
    *,
    picture: PictureOptions,
    size: SizeOption = None,
    rows: RowOptions,
    counts: Annotated[
        bool, Option("--counts", help="Also show the operations, and what other counters print.")
    ] = False,
    audit: Annotated[bool, Option("--audit/--no-audit", help="Leave out the checks of mnfpn audit.")] = True,
    network: NetworkOptions,
    weights: WeightsOption = None,
    model: ModelOptions,
    output: RowOutputOptions,
) -> None:
    """Show the layers of a network: shapes, parameters, MACs.

    Examples:
        mnfpn summary --tree
        mnfpn summary --sort macs --top 10
        mnfpn summary --model torchvision.models:resnet18 --depth 1
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.documents import subject_document
    from mnfpn_cli.report.terminal.audit import audit_report
    from mnfpn_cli.report.terminal.export import weights_document, weights_report
    from mnfpn_cli.report.terminal.summary import rows_csv, rows_markdown, summary_document, summary_tables

    subject = model.subject(network, size, weights=weights)
    of_layers = [*rows.given(), *["--counts"] * counts, *["--no-audit"] * (not audit)]
    picture.check(subject, output, of_layers)
    if counts and output.format in ("csv", "markdown"):
        raise UsageError(f"--counts: is in text and JSON, and cannot be given beside --format {output.format}")
    if picture.tree or picture.svg is not None:
        drawn = picture.draw(subject)
        if picture.tree:
            emit(drawn + _fit(subject, weights), {}, output)
            return
    with ending_at_once():
        from mnfpn_cli.audit.inspect import inspect_subject, level_records
        from mnfpn_cli.audit.tree import layer_tree

    built, found = inspect_subject(subject, audited=audit)
    loaded = _checked(built, subject, weights)
    tree = layer_tree(found.facts)
    rows.check(tree)
    every = rows.selection(everything=True)
    report = summary_tables(tree, subject.inputs, rows.selection(everything=False)) + weights_report(loaded)
    body = summary_document(tree, subject.inputs, every)
    if counts:
        from mnfpn_cli.audit.counts import counts_record
        from mnfpn_cli.report.terminal.counts import counts_tables

        counted = counts_record(found.facts)
        report, body = report + counts_tables(counted), body | {"counts": counted.model_dump(mode="json")}
    if found.audit:
        report += audit_report(found.audit, found.pyramids)
        levels = level_records(found.pyramids)
        body |= {
            "audit": found.audit.model_dump(mode="json"),
            "levels": [one.model_dump(mode="json") for one in levels] if levels else None,
        }
    body |= weights_document(loaded)
    texts = {"csv": lambda: rows_csv(select(tree, every)), "markdown": lambda: rows_markdown(select(tree, every))}
    emit(report, subject_document("summary", subject, body), output, texts)


def _fit(subject: "Subject", weights: Path | None) -> "Report":
    """What would become of a checkpoint, in the network that is drawn."""
    if weights is None:
        return []
    from mnfpn_cli.audit.inspect import build_subject
    from mnfpn_cli.report.terminal.export import weights_report

    return weights_report(_checked(build_subject(subject), subject, weights))


def _checked(network: "nn.Module", subject: "Subject", weights: Path | None) -> "Loaded | None":
    """What would become of a checkpoint; None where there is none."""
    if weights is None or subject.settings is None:
        return None
    from mnfpn_cli.network.network import Network
    from mnfpn_cli.weights.files import read_checkpoint
    from mnfpn_cli.weights.load import check_weights

    assert isinstance(network, Network)
    return check_weights(network, subject.settings, read_checkpoint(weights))
