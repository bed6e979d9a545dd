"""`mnfpn summary` as tables: the layers of a network, the operations, and the totals of counters, from its document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import StringIO
from typing import TYPE_CHECKING, Literal

from mnfpn_cli.report.terminal.audit import audit_report
from mnfpn_cli.report.terminal.export import weights_report
from mnfpn_cli.report.terminal.tables import Line, Report, note, table, width_of
from mnfpn_cli.report.units import accuracy, count, inputs_title, per_cent, scaled, size_in_bytes
from mnfpn_cli.text import all_printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnfpn_cli.documents.summary import (
        CounterTotal,
        CountsRecord,
        LayerRecord,
        Shape,
        SummaryDocument,
        WorkRecord,
    )
    from mnfpn_cli.report.terminal.tables import Table

KINDS = {
    "convolution_macs": ("convolutions", "MACs"),
    "dense_macs": ("dense layers, attention and other products", "MACs"),
    "bias_adds": ("bias additions", "elements"),
    "batch_norm": ("batch norm", "elements"),
    "other_norms": ("other norms", "elements"),
    "activations": ("activations", "elements"),
    "resized": ("upsampling and resizing", "elements of the output"),
    "additions": ("additions and subtractions", "elements"),
    "multiplications": ("multiplications and divisions", "elements"),
    "pooled": ("pooling", "elements that are read"),
}
"""The name and the unit of each kind of work."""

PLACING = (
    "To place a number from elsewhere: find it on the right scale. FLOPs are 2 × MACs; what a tool calls flops may be "
    "MACs; all are for the whole input above. A number that is none of these may be of another size or batch."
)


def counts_tables(counts: CountsRecord) -> Report:
    """The operations, the totals of counters, and how to find out what a number from elsewhere counts."""
    return [_work_table(counts.work), _totals_table(counts.tools), *_notes(counts.tools), note(PLACING, "dim")]


def _work_table(work: WorkRecord) -> Table:
    """A row for each kind of operation that the network has."""
    made = table("What there is to compute", "Kind", ">Count", "Unit")
    for key, (name, unit) in KINDS.items():
        if number := getattr(work, key):
            made.add_row(name, count(number), unit)
    return made


def _totals_table(totals: Sequence[CounterTotal]) -> Table:
    made = table("What counters print for it", "Tool", ">Total", "It says", "It is")
    for one in totals:
        if one.total is None:
            made.add_row(one.tool, "none", one.unit, "not run" if one.version is None else "failed")
        else:
            made.add_row(one.tool, count(one.total), one.unit, one.meaning)
    return made


def _notes(totals: Sequence[CounterTotal]) -> Report:
    """Why counters have no total, or another elsewhere; a line for each reason."""
    by_text: dict[str, list[str]] = {}
    for one in totals:
        if one.note:
            by_text.setdefault(one.note, []).append(one.tool)
    return [note(f"{', '.join(tools)}: {text}.", "yellow") for text, tools in by_text.items()]


SortKey = Literal["macs", "parameters", "activations"]
SORT_KEYS: tuple[SortKey, ...] = ("macs", "parameters", "activations")
COLUMNS = ("path", "type", "status", "calls", "output_shape", "parameters", "macs", "activations")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which layers to list; None for all.

    Attributes:
        depth: the largest depth.
        pattern: a glob that the path must match.
        sort: the number to sort by, largest first; layers that hold others are left out then, as they are sums.
        top: the most layers.
    """

    depth: int | None = None
    pattern: str | None = None
    sort: SortKey | None = None
    top: int | None = None

    @property
    def is_flat(self) -> bool:
        """Whether the layers are a list, not a tree."""
        return self.pattern is not None or self.sort is not None or self.top is not None


def select(layers: Sequence[LayerRecord], selection: Selection) -> tuple[LayerRecord, ...]:
    """Select layers; the network itself is among them in a tree, and not in a list."""
    rows: Iterable[LayerRecord] = below(layers) if selection.is_flat else layers
    if selection.depth is not None:
        rows = (row for row in rows if row.depth <= selection.depth)
    if selection.pattern is not None:
        pattern = selection.pattern
        rows = (row for row in rows if fnmatchcase(row.path, pattern))
    if selection.sort is not None:
        key = selection.sort
        rows = sorted((row for row in rows if row.leaf), key=lambda row: -int(getattr(row, key)))
    return tuple(rows)[: selection.top]


def below(layers: Iterable[LayerRecord]) -> list[LayerRecord]:
    """Return the layers without the network itself."""
    return [row for row in layers if row.depth]


def _cells(row: LayerRecord) -> list[str | int]:
    outputs = " ".join("×".join(map(str, shape)) for shape in row.outputs)
    return [row.path, _type(row), row.status, row.calls, outputs, row.parameters, row.macs, row.activations]


def _type(row: LayerRecord) -> str:
    """The class or function of a layer, and a mark where it is not registered."""
    return row.type if row.registered else f"{row.type}, unregistered"


def rows_csv(document: SummaryDocument) -> str:
    """Write the layers as comma-separated values, below a line with the names of the columns."""
    import csv  # here: other commands do not need it

    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(all_printable(_cells(row)) for row in below(document.layers))
    return buffer.getvalue()


def rows_markdown(document: SummaryDocument) -> str:
    """Write the layers as a Markdown table; numbers have separators."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---:|---|---:|---:|---:|"]
    for row in below(document.layers):
        path, *cells = all_printable(_cells(row))
        texts = [f"`{path}`", *(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in texts)} |")
    return "\n".join(lines) + "\n"


NOT_CALLED = {"never_called": "never called", "used": "used, not called"}


DEFAULT_DEPTH = 2
"""The depth of the layers that are listed where none is asked for."""


def default_selection(document: SummaryDocument) -> Selection:
    """Select layers down to the default depth; all, where some of them were chosen already."""
    layers = document.layers
    if not any(row.depth == 0 for row in layers):
        return Selection(pattern="*")
    deepest = max(row.depth for row in layers)
    return Selection(depth=DEFAULT_DEPTH if deepest == document.totals.depth else deepest)


def summary_tables(document: SummaryDocument, selection: Selection | None = None) -> Report:
    """The selected layers with their totals, how the checkpoint fits, the counts, and what the audit found.

    ``selection``: which layers of the document to list; None for `default_selection`.
    """
    selection = selection or default_selection(document)
    return [
        *_layer_tables(document, selection),
        *weights_report(document.weights),
        *(counts_tables(document.counts) if document.counts else ()),
        *(audit_report(document.audit, document.levels or ()) if document.audit else ()),
    ]


def _layer_tables(document: SummaryDocument, selection: Selection) -> Report:
    """The layer tree or the list of layers, with a row of totals, and notes below."""
    network = document.totals
    by_activations = selection.sort == "activations"
    made = table(
        inputs_title(document.inputs),
        "Layer",
        "Type",
        ">Output",
        *[">Activations"] * by_activations,
        ">Parameters",
        ">%",
        ">MACs",
        ">%",
    )
    batch = document.input.batch if document.input else None
    rows = below(select(document.layers, selection))
    for row in rows:
        made.add_row(
            PathCell(_label(row), 1 if selection.is_flat else row.depth, selection.is_flat),
            _type(row),
            NOT_CALLED.get(row.status) or _outputs(row.outputs, batch),
            *[scaled(row.activations)] * by_activations,
            count(row.parameters) if row.parameters else "",
            per_cent(row.parameters, network.parameters) if row.registered else "",
            scaled(row.macs) if row.macs else "",
            per_cent(row.macs, network.macs),
        )
    made.add_section()
    totals = (count(network.parameters), "100", scaled(network.macs), "100")
    made.add_row("total", network.type, _outputs(network.outputs, batch), *[""] * by_activations, *totals)
    return [made, *_selection_notes(document, rows, selection), *_totals(document)]


def _selection_notes(document: SummaryDocument, rows: Sequence[LayerRecord], selection: Selection) -> Report:
    """How much of the network the listed layers are, or how to list deeper ones."""
    whole = document.totals
    if selection.is_flat:
        leaves = [row for row in rows if row.leaf]
        macs, parameters = sum(row.macs for row in leaves), sum(row.parameters for row in leaves if row.registered)
        text = f"{len(leaves)} of {whole.leaves} single layers: {per_cent(macs, whole.macs) or 0} % of the MACs"
        return [note(f"{text}, {per_cent(parameters, whole.parameters) or 0} % of the parameters.", "dim")]
    if selection.depth is not None and selection.depth < whole.depth:
        return [note(f"Depth {selection.depth} of {whole.depth}: `depth` {whole.depth} shows every layer.", "dim")]
    return []


def _totals(document: SummaryDocument) -> Report:
    network, memory = document.totals, document.memory
    sizes = f"{size_in_bytes(memory.model_bytes)} of weights, {size_in_bytes(memory.activation_bytes)} of activations"
    known = document.accuracy
    return [
        note(f"{count(network.parameters)} parameters, {count(network.macs)} MACs (FLOPs = 2 × MACs)."),
        note(f"Memory of inference: {sizes} at the peak."),
        *([note(f"{accuracy(known)} ({known.kind}: {known.source}).")] if known else []),
    ]


def _label(row: LayerRecord) -> str:
    """The path, and the number of calls where there are several."""
    return f"{row.path} ×{row.calls}" if row.calls > 1 else row.path


@dataclass(frozen=True)
class PathCell:
    """An attribute path in the tree: whole where it fits its column, else its last name, indented."""

    path: str
    depth: int
    whole: bool = False

    @property
    def forms(self) -> list[Line]:
        """The path in full, its last name, and that with less indent; what the parent's row shows is dimmed."""
        if self.whole:
            return [Line(self.path)]
        parent, dot, name = self.path.rpartition(".")
        above = self.depth - 1
        return [
            Line("  " * above + self.path, marks=((rf"(?<![^ ]){re.escape(parent + dot)}", "dim"),)),
            Line("  " * above + name),
            Line(" " * above + name),
        ]

    def __str__(self) -> str:
        return self.forms[-1].text

    @property
    def full_width(self) -> int:
        """The width of the whole path."""
        return width_of(self.forms[0].text)

    def within(self, width: int) -> Line:
        """The longest form that fits the width, or the shortest."""
        return next((form for form in self.forms if width_of(form.text) <= width), self.forms[-1])


def _outputs(maps: Sequence[Shape], batch: int | None) -> str:
    """The shape of one output, or the number of several: of maps where each has a height.

    It is without the batch of images. Of other inputs, no dimension is known to be the batch.
    """
    if len(maps) > 1:
        return f"{len(maps)} {'maps' if all(len(shape) > LEAST_OF_A_MAP for shape in maps) else 'outputs'}"
    return "".join("×".join(map(str, shape[1:] if shape[:1] == (batch,) else shape)) for shape in maps)


LEAST_OF_A_MAP = 3
"""A map has more dimensions than these: the batch, channels, and at least a height and a width."""
