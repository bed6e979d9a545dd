"""`mnfpn summary` as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.measure import Measurement
from rich.text import Text

from mnfpn_cli.report.document import input_document
from mnfpn_cli.report.tables import Report, note, table
from mnfpn_cli.report.units import count, per_cent, scaled

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from mnfpn_cli.measure.tree import LayerRow, LayerTree
    from mnfpn_cli.settings.input import NetworkInput


def summary_tables(tree: LayerTree, input: NetworkInput, depth: int) -> Report:
    """The layer tree down to a depth, totals, and whether all that was called is registered."""
    network = tree.rows[0]
    title = f"Input 1×{input.channels}×{input.size.height}×{input.size.width}"
    made = table(title, "Layer", "Type", ">Output", ">Parameters", ">%", ">MACs", ">%")
    for row in tree.rows[1:]:
        if row.depth <= depth:
            made.add_row(
                PathCell(row.path, row.depth),
                row.type,
                _outputs(row),
                count(row.parameters) if row.parameters else "",
                per_cent(row.parameters, network.parameters),
                scaled(row.macs) if row.macs else "",
                per_cent(row.macs, network.macs),
            )
    made.add_section()
    totals = (count(network.parameters), "100", scaled(network.macs), "100")
    made.add_row("total", network.type, _outputs(network), *totals)
    report: Report = [made]
    if depth < tree.depth:
        report.append(note(f"Depth {depth} of {tree.depth}: --depth {tree.depth} shows every layer.", "dim"))
    report.append(note(f"{count(network.parameters)} parameters, {count(network.macs)} MACs (FLOPs = 2 × MACs)."))
    verdict = "the same" if tree.same else "NOT the same"
    line = f"{tree.called} modules called, {tree.registered} registered: {verdict}."
    report.append(note(line, "green" if tree.same else "bold red"))
    return report


@dataclass(frozen=True)
class PathCell:
    """An attribute path in the tree: whole where it fits its column, else its last name, under its parent's row."""

    path: str
    depth: int

    @property
    def forms(self) -> list[Text]:
        """The ways to write it, from the longest; what the parent's row said already is dimmed."""
        parent, dot, name = self.path.rpartition(".")
        above = self.depth - 1
        return [
            Text.assemble("  " * above, (f"{parent}{dot}", "dim"), name),
            Text("  " * above + name),
            Text(" " * above + name),
        ]

    def __str__(self) -> str:
        return self.forms[-1].plain

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.forms[-1].cell_len, self.forms[0].cell_len)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fitting = (form for form in self.forms if form.cell_len <= options.max_width)
        yield next(fitting, self.forms[-1])


def _outputs(row: LayerRow) -> str:
    if len(row.outputs) > 1:
        return f"{len(row.outputs)} maps"
    return "×".join(str(side) for side in row.outputs[0][1:]) if row.outputs else ""


def summary_document(tree: LayerTree, input: NetworkInput, depth: int | None) -> dict[str, Any]:
    """The tree under the keys that scripts rely on; every layer where no depth is given.

    ``output_shape`` is (n, c, h, w); a list of such shapes where a module returns several maps; null where a container
    is never called.
    """
    return {
        "input": input_document(input),
        "totals": {"parameters": tree.rows[0].parameters, "macs": tree.rows[0].macs},
        "layers": [_layer(row) for row in tree.rows if depth is None or row.depth <= depth],
        "registration": {"called": tree.called, "registered": tree.registered, "same": tree.same},
    }


def _layer(row: LayerRow) -> dict[str, Any]:
    shapes = [list(shape) for shape in row.outputs]
    return {
        "path": row.path,
        "type": row.type,
        "depth": row.depth,
        "output_shape": shapes[0] if len(shapes) == 1 else shapes or None,
        "parameters": row.parameters,
        "macs": row.macs,
    }
