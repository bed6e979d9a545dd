"""The few shapes that a diagram is made of, as SVG: boxes, pills, arrows and text, and the style that they share.

A card of its own colour lies behind them, light or dark as the reader's system is, whatever the page that shows it.
"""

from collections.abc import Sequence
from xml.sax.saxutils import escape

FONTS = {"text": 12, "name": 13, "small": 11}
"""Sizes of text in pixels, by class."""

ADVANCE = 0.61
"""Width of a sign over the size of its text: no common fixed-width font is wider."""

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


def text_width(text: str, kind: str) -> float:
    """The room that a text needs, in pixels."""
    return len(text) * ADVANCE * FONTS[kind]


def pill_width(label: str) -> int:
    """The width of a pill around a label."""
    return round(text_width(label, "small")) + 16


def text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    """A line of text on a baseline at ``y``."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(content)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 6) -> str:
    """A box with round corners around a centre."""
    corner = f'x="{x - width / 2:g}" y="{y - height / 2:g}"'
    return f'<rect class="{kind}" {corner} width="{width:g}" height="{height:g}" rx="{radius:g}"/>'


def pill(x: float, y: float, label: str) -> list[str]:
    """A label on a line, which it covers."""
    return [box(x, y, pill_width(label), 20, "pill", 10), text(x, y + 4, label, "small", "middle")]


def plus(x: float, y: float, radius: float) -> list[str]:
    """An addition: a plus in a circle."""
    arm = radius / 2
    return [
        f'<circle class="pill" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>',
        f'<path class="line" d="M{x - arm:g} {y:g}h{2 * arm:g}M{x:g} {y - arm:g}v{2 * arm:g}"/>',
    ]


def dot(x: float, y: float) -> str:
    """Where a line leaves another."""
    return f'<circle class="tip" cx="{x:g}" cy="{y:g}" r="3"/>'


def line(*points: tuple[float, float], tip: bool = True) -> str:
    """A line through points, with the tip of an arrow at its end."""
    way = "L".join(f"{x:g} {y:g}" for x, y in points)
    end = ' marker-end="url(#tip)"' if tip else ""
    return f'<path class="line" d="M{way}"{end}/>'


def document(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """The whole picture: a card with everything on it; ``title`` is for those who cannot see it."""
    style = f"{_fonts()}{_colours(LIGHT)}@media(prefers-color-scheme:dark){{{_colours(DARK)}}}"
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style>",
            f'<defs>{tip}<path class="tip" d="M0 .5 8 4 0 7.5z"/></marker></defs>',
            box(width / 2, height / 2, width - 1, height - 1, "card", 10),
            *parts,
            "</svg>\n",
        )
    )


def _fonts() -> str:
    sizes = "".join(f".{kind}{{font-size:{size}px}}" for kind, size in FONTS.items())
    return f"text{{font-family:{MONO}}}.name{{font-weight:600}}.line{{stroke-width:1.5}}{sizes}"


def _colours(palette: dict[str, tuple[str, str]]) -> str:
    return "".join(f".{kind}{{fill:{fill};stroke:{stroke}}}" for kind, (fill, stroke) in palette.items())
