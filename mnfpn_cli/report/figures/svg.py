"""Draw a diagram as an SVG picture, for a README or a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element, indent, tostring

from mnfpn_cli.report.layout import DiagramBranch, DiagramLayout, DiagramNode, Path, Votes

FONTS = {"text": 12, "name": 13, "small": 11}
"""The size of text in pixels, by class."""

ADVANCE = 0.61
"""The width of a character over the size of the text: no common fixed-width font is wider."""

XMLNS = "http://www.w3.org/2000/svg"

MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

LIGHT = {
    "card": ("#ffffff", "#d0d7de"),
    "plain": ("#f6f8fa", "#afb8c1"),
    "tap": ("#ddf4ff", "#54aeff"),
    "level": ("#dafbe1", "#4ac26b"),
    "head": ("#fff8c5", "#d4a72c"),
    "pill": ("#ffffff", "#818b98"),
    "line": ("none", "#818b98"),
    "tip": ("#818b98", "none"),
    "text": ("#1f2328", "none"),
    "name": ("#1f2328", "none"),
    "small": ("#59636e", "none"),
}
DARK = {
    "card": ("#0d1117", "#3d444d"),
    "plain": ("#151b23", "#656c76"),
    "tap": ("#0c2d4d", "#4493f8"),
    "level": ("#12341d", "#3fb950"),
    "head": ("#3a2d0c", "#d29922"),
    "pill": ("#0d1117", "#9198a1"),
    "line": ("none", "#9198a1"),
    "tip": ("#9198a1", "none"),
    "text": ("#f0f6fc", "none"),
    "name": ("#f0f6fc", "none"),
    "small": ("#a9b1ba", "none"),
}


def text_width(content: str, kind: str) -> float:
    """Return the width of a text in pixels."""
    return len(content) * ADVANCE * FONTS[kind]


def pill_width(label: str) -> int:
    """Return the width of a pill around a label in pixels."""
    return round(text_width(label, "small")) + 16


def text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> Element:
    """Return a line of text on a baseline at ``y``."""
    return _element("text", kind, content, x=x, y=y, text_anchor=anchor)


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 6) -> Element:
    """Return a box with round corners, centred at ``x``, ``y``."""
    return _element("rect", kind, x=x - width / 2, y=y - height / 2, width=width, height=height, rx=radius)


def pill(x: float, y: float, label: str) -> list[Element]:
    """Return a label that covers a part of a line."""
    return [box(x, y, pill_width(label), 20, "pill", 10), text(x, y + 4, label, "small", "middle")]


def plus(x: float, y: float, radius: float) -> list[Element]:
    """Return the sign of an addition: a plus in a circle."""
    arm = radius / 2
    cross = f"M{x - arm:g} {y:g}h{2 * arm:g}M{x:g} {y - arm:g}v{2 * arm:g}"
    return [_element("circle", "pill", cx=x, cy=y, r=radius), _element("path", "line", d=cross)]


def dot(x: float, y: float) -> Element:
    """Return a dot, where a line branches off another."""
    return _element("circle", "tip", cx=x, cy=y, r=3)


def line(*points: tuple[float, float], tip: bool = True) -> Element:
    """Return a line through points, with an arrowhead at its end unless ``tip`` is false."""
    path = "L".join(f"{x:g} {y:g}" for x, y in points)
    return _element("path", "line", d=f"M{path}", **{"marker_end": "url(#tip)"} if tip else {})


def document(width: int, height: int, title: str, parts: Sequence[Element]) -> str:
    """Return the picture as text: a card with all parts on it; ``title`` is read out by screen readers."""
    style = f"{_fonts()}{_colours(LIGHT)}@media(prefers-color-scheme:dark){{{_colours(DARK)}}}"
    tip = _element(
        "marker", id="tip", viewBox="0 0 8 8", refX=7.5, refY=4, markerWidth=7, markerHeight=7, orient="auto"
    )
    tip.append(_element("path", "tip", d="M0 .5 8 4 0 7.5z"))
    definitions = _element("defs")
    definitions.append(tip)
    svg = _element("svg", xmlns=XMLNS, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img")
    card = box(width / 2, height / 2, width - 1, height - 1, "card", 10)
    svg.extend([_element("title", content=title), _element("style", content=style), definitions, card, *parts])
    indent(svg, "")
    return f"{tostring(svg, encoding='unicode')}\n"


def _element(tag: str, kind: str = "", content: str | None = None, **attributes: float | str) -> Element:
    """Return an element of a class with a text; ``text_anchor`` sets the attribute ``text-anchor``."""
    element = Element(tag, {"class": kind} if kind else {})
    element.text = content
    for name, value in attributes.items():
        element.set(name.replace("_", "-"), value if isinstance(value, str) else f"{value:g}")
    return element


def _fonts() -> str:
    sizes = "".join(f".{kind}{{font-size:{size}px}}" for kind, size in FONTS.items())
    return f"text{{font-family:{MONO}}}.name{{font-weight:600}}.line{{stroke-width:1.5}}{sizes}"


def _colours(palette: dict[str, tuple[str, str]]) -> str:
    return "".join(f".{kind}{{fill:{fill};stroke:{stroke}}}" for kind, (fill, stroke) in palette.items())


MARGIN = 28
TOP = 44
"""The height of the headings, with the margin above them."""
PITCH, HEIGHT = 64, 42
"""The distance of two rows, and the height of a node."""
WIDEST, NARROWER = 240, 15
"""The width of a node of the image's size, and how much narrower each halving makes it."""
GAP = 32
"""The least length of a visible line between two columns."""
RADIUS = 11
"""The radius of the circle around a plus."""
LABEL = 9
"""The distance of a label from its arrow."""


def diagram_svg(layout: DiagramLayout) -> str:
    """Draw the maps of the backbone on the left, the levels on the right, and the layers between them.

    The picture needs no other file, and has colours for light and for dark pages.
    """
    at = _columns(layout)
    parts = [*_headings(at, layout), *_backbone(at, layout), *_top_down(at, layout), *_extra_levels(at, layout)]
    for index, row in enumerate(layout.rows):
        if row.stage and row.path and row.level:
            parts += _path(at, _y(index), row.stage, row.path, row.level)
    if layout.votes:
        parts += _votes(at, layout, layout.votes)
    if layout.branches:
        parts += _branches(at, layout)
    for index, row in enumerate(layout.rows):
        if row.stage:
            parts += _node(at.stage, _y(index), row.stage, "tap" if row.path else "plain")
        if row.level:
            parts += _node(at.level, _y(index), row.level, "level")
    rows = len(layout.rows) + bool(layout.votes) + len(layout.outputs)
    bottom = _y(rows - 1) + HEIGHT / 2 + MARGIN
    parts += [text(MARGIN, bottom + 20 * k, note, "small") for k, note in enumerate(layout.notes)]
    height = round(bottom) + 20 * len(layout.notes)
    levels = ", ".join(f"{level.name} {level.shape}" for level in layout.levels)
    return document(at.width, height, f"{layout.title}: {levels}" if levels else layout.title, parts)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The x coordinates of the columns' centres, and of ``bus``, where the lines from all levels meet."""

    stage: float
    lateral: float
    merge: float
    smooth: float
    level: float
    votes: float
    bus: float
    width: int


def _columns(layout: DiagramLayout) -> _Columns:
    votes = pill_width(layout.votes.each) if layout.votes else 0
    widths = (
        max(_width(node) for node in layout.stages),
        max((pill_width(path.lateral) for path in layout.paths), default=0),
        max((_merge_width(path) for path in layout.paths), default=0),
        max((pill_width(path.smooth) for path in layout.paths if path.smooth), default=0),
        max((*(_width(node) for node in layout.levels), *map(_branch_width, layout.branches)), default=0),
        votes,
    )
    middles, right = [], float(MARGIN)
    for width in widths:
        middles.append(right + width / 2)
        right += width + GAP if width else 0
    stage, lateral, merge, smooth, level, vote = middles
    nodes = [(stage, node) for node in layout.stages] + [(level, node) for node in layout.levels]
    labels = max(x + LABEL + text_width(node.step, "small") for x, node in nodes)
    if layout.branches:
        right = max(right, labels + LABEL)
    edge = right if votes or layout.branches else right - GAP  # the bus is a gap to the right of the last column
    return _Columns(stage, lateral, merge, smooth, level, vote, bus=right, width=round(max(edge, labels)) + MARGIN)


def _width(node: DiagramNode) -> float:
    """Return the width of a node: narrower the coarser its map, but never too narrow for its text."""
    halvings = (node.stride or 1).bit_length() - 1
    first = text_width(node.name, "name") + 12 + text_width(_stride(node), "small")
    return max(first + 24, text_width(node.shape, "text") + 24, WIDEST - NARROWER * halvings if node.stride else 0)


def _branch_width(branch: DiagramBranch) -> float:
    return max(text_width(_branch_name(branch), "name"), text_width(branch.tower, "text")) + 24


def _branch_name(branch: DiagramBranch) -> str:
    return f"head.{branch.name}"


def _merge_width(path: Path) -> int:
    return pill_width(f"concat {path.merged}") if path.merge == "concat" else 2 * RADIUS


def _stride(node: DiagramNode) -> str:
    return f"stride {node.stride}" if node.stride else ""


def _y(index: int) -> float:
    return TOP + HEIGHT / 2 + PITCH * index


def _headings(at: _Columns, layout: DiagramLayout) -> list[Element]:
    paths = layout.paths
    headings = {
        "Stage": at.stage,
        "Lateral": at.lateral if paths else None,
        "Top-down": at.merge if len(paths) > 1 else None,
        "Smooth": at.smooth if any(path.smooth for path in paths) else None,
        "Level": at.level if paths else None,
    }
    return [text(x, TOP - 16, name, "small", "middle") for name, x in headings.items() if x]


def _node(x: float, y: float, node: DiagramNode, kind: str) -> list[Element]:
    width = _width(node)
    left, right = x - width / 2 + 12, x + width / 2 - 12
    parts = [
        box(x, y, width, HEIGHT, "head" if node.in_head else kind),
        text(left, y - 4, node.name, "name"),
        text(left, y + 13, node.shape, "text"),
    ]
    return [*parts, text(right, y - 4, _stride(node), "small", "end")] if node.stride else parts


def _backbone(at: _Columns, layout: DiagramLayout) -> list[Element]:
    """Return the arrows down the backbone, and the one from its last tap to an extra level."""
    parts: list[Element] = []
    rows = [index for index, row in enumerate(layout.rows) if row.stage]
    for upper, lower in pairwise(rows):
        parts += _down(at.stage, upper, lower, layout.rows[lower].stage)
    for index, row in enumerate(layout.rows):
        if row.level and row.on_tap:
            y = _y(index)
            parts.append(line((at.stage, _y(index - 1)), (at.stage, y), (_left(at, row.level), y)))
            parts += pill(at.lateral, y, row.level.step)
    return parts


def _down(x: float, upper: int, lower: int, node: DiagramNode | None) -> list[Element]:
    """Return an arrow down from one row to another, with the step of the lower node as its label."""
    y = _y(lower) - HEIGHT / 2
    label = [text(x + LABEL, y - 7, node.step, "small")] if node and node.step else []
    return [line((x, _y(upper) + HEIGHT / 2), (x, y)), *label]


def _path(at: _Columns, y: float, stage: DiagramNode, path: Path, level: DiagramNode) -> list[Element]:
    start, end = at.stage + _width(stage) / 2, _left(at, level)
    half = _merge_width(path) / 2
    if path.merge:
        parts = [line((start, y), (at.merge - half, y)), line((at.merge + half, y), (end, y))]
        parts += plus(at.merge, y, RADIUS) if path.merge == "add" else pill(at.merge, y, f"concat {path.merged}")
    else:
        parts = [line((start, y), (end, y))]
    parts += pill(at.lateral, y, path.lateral)
    return parts + (pill(at.smooth, y, path.smooth) if path.smooth else [])


def _left(at: _Columns, level: DiagramNode) -> float:
    return at.level - _width(level) / 2


def _top_down(at: _Columns, layout: DiagramLayout) -> list[Element]:
    parts: list[Element] = []
    for upper, lower in pairwise(layout.merging):
        path = layout.rows[lower].path
        if path and not path.merge:
            parts.append(dot(at.merge, _y(lower)))
        parts.append(line((at.merge, _y(lower)), (at.merge, _y(upper) + RADIUS)))
        parts.append(text(at.merge + LABEL, _y(upper) + PITCH / 2 + 4, layout.resize, "small"))
    return parts


def _extra_levels(at: _Columns, layout: DiagramLayout) -> list[Element]:
    parts: list[Element] = []
    for index, row in enumerate(layout.rows):
        if row.level and not row.path and not row.on_tap:
            parts += _down(at.level, index - 1, index, row.level)
    return parts


def _votes(at: _Columns, layout: DiagramLayout, votes: Votes) -> list[Element]:
    """Return the lines from all levels, which meet on the right and lead back to the logits."""
    levels = [(row.level, _y(index)) for index, row in enumerate(layout.rows) if row.level]
    y, logits = _y(len(layout.rows)), votes.logits
    parts = [
        line((at.bus, levels[0][1]), (at.bus, y), (at.level + _width(logits) / 2, y)),
        *pill(at.votes, y, logits.step),
    ]
    for level, height in levels:
        parts += [
            line((at.level + _width(level) / 2, height), (at.bus, height), tip=False),
            *pill(at.votes, height, votes.each),
        ]
    return [*parts, *_node(at.level, y, logits, "head")]


def _branches(at: _Columns, layout: DiagramLayout) -> list[Element]:
    """Return the lines from all levels, which meet on the right and lead back to each branch and on to its outputs."""
    levels = [(row.level, _y(index)) for index, row in enumerate(layout.rows) if row.level]
    width = max(map(_branch_width, layout.branches))
    left, pills = at.level - width / 2, max(pill_width(node.step) for node in layout.outputs)
    step = left - GAP - pills / 2
    output = step - pills / 2 - GAP - max(map(_width, layout.outputs)) / 2
    parts = [line((at.level + _width(level) / 2, y), (at.bus, y), tip=False) for level, y in levels]
    row = len(layout.rows)
    for branch in layout.branches:
        y = _y(row)
        parts += [
            line((at.bus, y), (at.level + width / 2, y)),
            box(at.level, y, width, HEIGHT, "head"),
            text(left + 12, y - 4, _branch_name(branch), "name"),
            text(left + 12, y + 13, branch.tower, "text"),
        ]
        parts += [dot(left - GAP / 2, y)] if len(branch.outputs) > 1 else []
        for index, node in enumerate(branch.outputs):
            below, end = _y(row), output + _width(node) / 2
            start = [(left - GAP / 2, y), (left - GAP / 2, below)] if index else [(left, y)]
            parts += [line(*start, (end, below)), *pill(step, below, node.step), *_node(output, below, node, "head")]
            row += 1
    return [line((at.bus, levels[0][1]), (at.bus, y), tip=False), *parts]
