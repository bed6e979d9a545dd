"""The network as a diagram of text, which `mnfpn summary` prints for ``tree``."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mnfpn_cli.report.layout import DiagramLayout, DiagramNode, Path, Votes
from mnfpn_cli.report.terminal.tables import Line, Report, note, table

BACKBONE = 2
"""The column of the line that connects the stages, under their names."""

LINES = r"[─│┬┴└├┐┤┘▼▲▶◀⊕]+"


def diagram(layout: DiagramLayout) -> Report:
    """Draw the stages on the left, the levels on the right, and the layers between them as arrows.

    The picture is a table of one column, which keeps its lines whole on any screen.
    """
    made = table(layout.title, "")
    made.show_header = False
    made.columns[0].no_wrap = True
    names = [node.name for node in (*layout.stages, *layout.levels, *layout.outputs)]
    marks = ((LINES, "dim"), ("|".join(map(re.escape, names)), "bold"))
    for index, line in enumerate(_lines(layout)):
        made.add_row(Line(line, "" if index else "bold", marks))
    return [made, *(note(line, "dim") for line in layout.notes)]


def _lines(layout: DiagramLayout) -> list[str]:
    columns, canvas = _columns(layout), _Canvas()
    for index, row in enumerate(layout.rows):
        if row.stage:
            _put_node(canvas, columns.stage, _line(index), row.stage)
        if row.level:
            _put_node(canvas, columns.level, _line(index), row.level)
        if row.path:
            _put_path(canvas, columns, _line(index), row.path)
    _put_headings(canvas, columns, layout)
    _put_backbone(canvas, columns, layout)
    _put_top_down(canvas, columns, layout)
    _put_extra_levels(canvas, columns, layout)
    if layout.votes:
        _put_votes(canvas, columns, layout, layout.votes)
    if layout.branches:
        _put_branches(canvas, columns, layout)
    return ["".join(line).rstrip() for line in canvas.lines]


def _line(index: int) -> int:
    """The line of a row: below the headings, with a line for arrows between two rows."""
    return 1 + 2 * index


class _Canvas:
    """Lines of characters; it grows with the texts that are put on it."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []

    def put(self, line: int, column: int, text: str) -> None:
        self.lines += [[] for _ in range(line + 1 - len(self.lines))]
        characters = self.lines[line]
        characters += " " * (column + len(text) - len(characters))
        characters[column : column + len(text)] = text

    def down(self, lines: range, column: int) -> None:
        for line in lines:
            self.put(line, column, "│")


@dataclass(frozen=True, slots=True)
class _NodeColumns:
    """The columns of nodes: where names begin, and where shapes and strides end (exclusive)."""

    name: int
    shape: int
    stride: int


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of the picture: stages, arrows of laterals, the top-down path, arrows of smoothing, levels."""

    stage: _NodeColumns
    lateral: range
    merge: int
    smooth: range
    level: _NodeColumns


def _columns(layout: DiagramLayout) -> _Columns:
    stage = _node_columns(0, layout.stages)
    lateral = _widest(path.lateral for path in layout.paths)
    smooth = _widest(path.smooth for path in layout.paths)
    merge = _widest(_merge(path) for path in layout.paths)
    into_merge = stage.stride + 1 + len(_across("", lateral)) + 1
    level = into_merge + merge + 1 + len(_across("", smooth)) + 1
    levels = layout.levels + ((layout.votes.logits,) if layout.votes else ())
    return _Columns(
        stage=stage,
        lateral=range(stage.stride + 1, into_merge - 1),
        merge=into_merge + merge // 2,
        smooth=range(into_merge + merge + 1, level - 1),
        level=_node_columns(level, levels),
    )


def _node_columns(left: int, nodes: Sequence[DiagramNode]) -> _NodeColumns:
    names, shapes = _widest(node.name for node in nodes), _widest(node.shape for node in nodes)
    shape_end = left + max(names + 2 + shapes, len("Stage  Map"))
    return _NodeColumns(left, shape_end, shape_end + len(" Stride"))


def _widest(texts: Iterable[str]) -> int:
    return max((len(text) for text in texts), default=0)


def _across(label: str, width: int) -> str:
    """An arrow to the right with a label, which has ``width`` columns: ``─ 3×3 ─▶``."""
    return (f" {label} " if label else "").center(width + 4, "─") + "▶"


def _merge(path: Path) -> str:
    return "⊕" if path.merge == "add" else f"concat {path.merged}" if path.merge else ""


def _put_headings(canvas: _Canvas, columns: _Columns, layout: DiagramLayout) -> None:
    for nodes, name in ((columns.stage, "Stage"), (columns.level, "Level")):
        canvas.put(0, nodes.name, name)
        canvas.put(0, nodes.shape - len("Map"), "Map")
        canvas.put(0, nodes.stride - len("Stride"), "Stride")
        if not layout.levels:
            return
    canvas.put(0, columns.lateral.start + 1, "Lateral")
    if len(layout.paths) > 1:
        canvas.put(0, columns.merge - len("Top-d"), "Top-down")
    if any(path.smooth for path in layout.paths):
        canvas.put(0, columns.smooth.start + 2, "Smooth")


def _put_node(canvas: _Canvas, columns: _NodeColumns, line: int, node: DiagramNode) -> None:
    canvas.put(line, columns.name, node.name)
    canvas.put(line, columns.shape - len(node.shape), node.shape)
    stride = str(node.stride or "–")
    canvas.put(line, columns.stride - len(stride), stride)


def _put_path(canvas: _Canvas, columns: _Columns, line: int, path: Path) -> None:
    across, merge = _across(path.lateral, len(columns.lateral) - 5), _merge(path)
    if not merge:  # the line runs through to the level
        across = across.removesuffix("▶").ljust(columns.smooth.start - columns.lateral.start, "─")
    canvas.put(line, columns.lateral.start, across)
    canvas.put(line, columns.merge - len(merge) // 2, merge)
    canvas.put(line, columns.smooth.start, _across(path.smooth, len(columns.smooth) - 5))


def _put_backbone(canvas: _Canvas, columns: _Columns, layout: DiagramLayout) -> None:
    """Connect the stages, and the last tap with the extra level that is built on it."""
    lines = [_line(index) for index, row in enumerate(layout.rows) if row.stage]
    for upper, lower in pairwise(lines):
        canvas.down(range(upper + 1, lower), BACKBONE)
    for index, row in enumerate(layout.rows):
        line = _line(index)
        if row.stage and index:
            canvas.put(line - 1, BACKBONE, f"▼ {row.stage.step}".rstrip())
        if row.level and row.on_tap:
            canvas.put(line - 1, BACKBONE, "│")
            canvas.put(line, BACKBONE, ("├" if line < lines[-1] else "└").ljust(columns.lateral.start - BACKBONE, "─"))
            width = columns.smooth.stop - columns.lateral.start - 5
            canvas.put(line, columns.lateral.start, _across(row.level.step, width))


def _put_top_down(canvas: _Canvas, columns: _Columns, layout: DiagramLayout) -> None:
    lines = [_line(index) for index in layout.merging]
    for upper, lower in pairwise(lines):
        canvas.put(upper + 1, columns.merge, f"▲ {layout.resize}")
        canvas.down(range(upper + 2, lower), columns.merge)
    if len(lines) > 1:
        canvas.put(lines[-1], columns.merge, "┴")


def _put_extra_levels(canvas: _Canvas, columns: _Columns, layout: DiagramLayout) -> None:
    for index, row in enumerate(layout.rows):
        if row.level and not row.path and not row.on_tap:
            canvas.put(_line(index) - 1, columns.level.name, f"▼ {row.level.step}")


def _put_votes(canvas: _Canvas, columns: _Columns, layout: DiagramLayout, votes: Votes) -> None:
    """Connect all levels with the logits, by a line on the right."""
    lines = [_line(index) for index, row in enumerate(layout.rows) if row.level]
    start, last = columns.level.stride + 1, _line(len(layout.rows))
    end = start + len(f"─ {votes.each} ─")
    canvas.down(range(lines[0], last), end)
    for line in lines:
        canvas.put(line, start, f"─ {votes.each} ─" + ("┐" if line == lines[0] else "┤"))
    _put_node(canvas, columns.level, last, votes.logits)
    canvas.put(last, start, f"◀ {votes.logits.step} ".ljust(end - start, "─") + "┘")


def _put_branches(canvas: _Canvas, columns: _Columns, layout: DiagramLayout) -> None:
    """Connect all levels with each branch of the head, by a line on the right, and each branch with its outputs."""
    texts = list(_branch_lines(layout))
    width = max(len(text) for text in texts)
    end = max(columns.level.stride + 2, width)
    first, left = _line(len(layout.rows)), end - width
    for index, text in enumerate(texts):
        canvas.put(first + index, left, text)
    levels = [_line(index) for index, row in enumerate(layout.rows) if row.level]
    taking = [first + index for index, text in enumerate(texts) if text.endswith("◀─")]
    canvas.down(range(levels[0], taking[-1]), end)
    for line in levels:
        across = "─" * (end - columns.level.stride - 1)
        canvas.put(line, columns.level.stride + 1, across + ("┐" if line == levels[0] else "┤"))
    for line in taking:
        canvas.put(line, end, "┘" if line == taking[-1] else "┤")


def _branch_lines(layout: DiagramLayout) -> Iterator[str]:
    """A heading, and a line for each output, with its branch on the first of these."""
    outputs, branches = layout.outputs, layout.branches
    names, shapes = _widest(node.name for node in outputs), _widest(node.shape for node in outputs)
    heads, towers = _widest(branch.name for branch in branches), _widest(branch.tower for branch in branches)
    fork = names + shapes + _widest(node.step for node in outputs) + len("  ◀─  ─")
    yield f"{'Output':<{names}} {'Map':>{shapes}}".ljust(fork + 3) + "Head"
    for branch in branches:
        last = len(branch.outputs) - 1
        for index, node in enumerate(branch.outputs):
            text = f"{node.name:<{names}} {node.shape:>{shapes}} ◀─ {node.step} ".ljust(fork, "─")
            if index:
                yield text + ("┘" if index == last else "┤")
            else:
                yield f"{text}{'┬' if last else '─'}─ {branch.name:<{heads}}  {branch.tower:<{towers}} ◀─"
