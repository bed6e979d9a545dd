"""The diagram of a network, as text and as SVG: all maps are in their places, and nothing overlaps."""

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given

from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.pyramid import stage_sizes
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.plan.shapes import LAST, HeadShape, NetworkShapes, network_shapes
from mnfpn_cli.report.figures.svg import diagram_svg
from mnfpn_cli.report.layout import DiagramLayout, DiagramNode, network_layout
from mnfpn_cli.report.terminal.diagram import diagram
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.tables import Table, least_width
from mnfpn_cli.report.units import shape
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import Size, parse_size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source
from tests.strategies import settings_and_size

SIZES = ("600x900", "224x224")
SVG = "{http://www.w3.org/2000/svg}"
FONT_SIZES = {"name": 13, "text": 12, "small": 11}
ADVANCE = 0.605
"""The width of a sign of a fixed-width font over its size; DejaVu Sans Mono, the widest of those named, has 0.602."""


def settings_of(preset: str = "mobilenetv2-fpn", **parts: Any) -> NetworkSettings:
    """A preset with other values in some of its parts."""
    return resolve([read_preset(preset), Source("test", parts)])


def worked_out(settings: NetworkSettings, size: Size | str = "600x900") -> tuple[DiagramLayout, NetworkShapes]:
    """The layout of a network, and the shapes that the diagram must have."""
    size = parse_size(size) if isinstance(size, str) else size
    settings = settings.at(size)
    plan = plan_network(settings)
    shapes = network_shapes(plan, network_input(settings, size))
    return network_layout(plan, shapes), shapes


def lines_of(layout: DiagramLayout) -> list[str]:
    """The lines of the text diagram, without title and notes."""
    made = diagram(layout)[0]
    assert isinstance(made, Table)
    return [str(cell) for cell in made.columns[0].cells]


def drawn(settings: NetworkSettings, size: str = "600x900") -> list[str]:
    """The lines of the text diagram of a network."""
    return lines_of(worked_out(settings, size)[0])


def line_with(lines: list[str], name: str) -> int:
    """The index of the line with a map's name."""
    (index,) = [k for k, line in enumerate(lines) if re.search(rf"(?<![\w.-]){re.escape(name)}  ", line)]
    return index


@dataclass(frozen=True)
class Area:
    """The area that an element covers in a picture."""

    what: str
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Area") -> bool:
        """Whether the two have a point in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: "Area") -> bool:
        """Whether the other is wholly within."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


def texts_of(svg: str) -> list[Area]:
    """What each text covers: as wide as its signs are, from the top of a capital to the foot of a comma."""
    areas = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        size = FONT_SIZES[element.attrib["class"]]
        content, x, y = element.text or "", float(element.attrib["x"]), float(element.attrib["y"])
        width = len(content) * size * ADVANCE
        left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[element.attrib["text-anchor"]]
        areas.append(Area(content, left, y - 0.75 * size, left + width, y + 0.2 * size))
    return areas


def boxes_of(svg: str) -> list[Area]:
    """What each box and pill covers; the card comes first."""
    areas = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        x, y, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
        areas.append(Area(element.attrib["class"], x, y, x + width, y + height))
    return areas


def check_text(layout: DiagramLayout, shapes: NetworkShapes) -> None:
    """Every map is in its place in the picture of text: stages from the image down, levels beside their taps."""
    lines = lines_of(layout)
    below = [line_with(lines, node.name) for node in layout.stages]
    assert below == sorted(below)
    for index, level in enumerate(shapes.levels):
        line, output = lines[line_with(lines, level.name)], shape(level.output.channels, level.output.size)
        assert re.search(rf" {level.name} +{output} +{level.stride or '–'}(?= |$)", line)
        if index < len(layout.paths):
            tap = f"{level.tap_path} +{shape(level.tap.channels, level.tap.size)}"
            if level.tap_path == LAST:  # a note says that it is between the stage and the level
                assert f"{level.name} is on a last 1×1 convolution, {level.tap.channels} channels." in layout.notes
                tap = r"stages\.\d+ +\S+"
            assert re.match(rf"{tap} +\d+ ─.*─▶ {level.name} ", line)
    if shapes.head and shapes.head.anchors:
        check_head(lines, shapes.head)
    for above, line in pairwise(lines):
        hanging = [k for k, sign in enumerate(line) if sign in "│▲┘" and above[k : k + 1].strip() == ""]
        assert not hanging, (above, line)


def check_head(lines: list[str], head: HeadShape) -> None:
    """Every output of a detector is below the levels, with its shape, and a line leads to it from each level."""
    bus = next(line.index("┐") for line in lines if line.endswith("┐"))
    for output in head.outputs:
        anchors, values = output.shape
        (line,) = [line for line in lines if re.match(rf" *{output.name} +{anchors:,}×{values} ◀─ ", line)]
        assert re.search(r"─ (cls|box|joint) .* ◀─[┤┘]$", line) or line.endswith(("─┘", "─┤"))
    assert next(line[bus] for line in lines if line[bus:]) == "┐"
    assert lines[max(k for k, line in enumerate(lines) if line[bus:])][bus] == "┘"
    assert sum(line[bus : bus + 1] in tuple("┐┤") and "◀" not in line for line in lines) == len(head.anchors)


def check_svg(layout: DiagramLayout) -> None:
    """All that the picture of text says is in the SVG, within it, and legible."""
    svg = diagram_svg(layout)
    root, texts, (card, *boxes) = ElementTree.fromstring(svg), texts_of(svg), boxes_of(svg)
    said = {text.what for text in texts}
    for node in (*layout.stages, *layout.levels, *layout.outputs, *([layout.votes.logits] if layout.votes else [])):
        assert {node.name, node.shape} <= said
        assert node.step in said | {""}
    for branch in layout.branches:
        assert {f"head.{branch.name}", branch.tower} <= said
    view = Area("view", *map(float, root.attrib["viewBox"].split()))
    assert all(view.holds(area) for area in (card, *boxes, *texts))
    assert [(a.what, b.what) for a, b in combinations(texts, 2) if a.meets(b)] == []
    assert [(a.what, b) for a in texts for b in boxes if a.meets(b) and not b.holds(a)] == []
    assert [(a, b) for a, b in combinations(boxes, 2) if a.meets(b)] == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_drawn(preset: str, size: str) -> None:
    """With every map in its place, and within 100 columns."""
    layout, shapes = worked_out(settings_of(preset), size)
    check_text(layout, shapes)
    check_svg(layout)
    assert max(map(len, lines_of(layout))) <= 100


@given(settings_and_size())
def test_any_network_is_drawn(case: tuple[NetworkSettings, Size]) -> None:
    """Whatever the settings can say has its place in both pictures."""
    layout, shapes = worked_out(*case)
    check_text(layout, shapes)
    check_svg(layout)


@pytest.mark.parametrize("size", SIZES)
def test_the_default_network_fits_a_terminal(size: str) -> None:
    """Eighty columns, arrows and all."""
    assert max(map(len, drawn(settings_of(), size))) <= 80


@pytest.mark.parametrize("preset", preset_names())
def test_every_stage_has_its_map(preset: str) -> None:
    """The channels of its last block, the size that the plan works out, and the stride of all layers so far."""
    settings, size = settings_of(preset), parse_size("600x900")
    plan = plan_network(settings.at(size))
    lines = drawn(settings)
    stride = 4 if plan.backbone.stem_pool else 2
    for index, (stage, of_stage) in enumerate(zip(plan.backbone.stages, stage_sizes(plan.backbone, size), strict=True)):
        stride *= stage.stride
        at = line_with(lines, f"stages.{index}")
        assert re.match(rf"stages\.{index} +{shape(stage.out_channels, of_stage)} +{stride}\b", lines[at])
        assert lines[at - 1].startswith(f"  ▼ {len(stage.blocks)} × ")


def test_the_default_network() -> None:
    """Two rows, and the line between them."""
    lines = drawn(settings_of())
    assert lines[0].split() == ["Stage", "Map", "Stride", "Lateral", "Top-down", "Smooth", "Level", "Map", "Stride"]
    assert lines[7:10] == [
        "stages.1  24×150×225      4 ─ 1×1, 256 ─▶ ⊕ ─ 3×3 ─▶ p2  256×150×225      4",
        "  ▼ 3 × inverted residual, /2             ▲ bilinear",
        "stages.2   32×75×113      8 ─ 1×1, 256 ─▶ ⊕ ─ 3×3 ─▶ p3   256×75×113      8",
    ]
    assert lines[-1] == "stages.6   320×19×29     32 ─ 1×1, 256 ───┴── 3×3 ─▶ p5    256×19×29     32"


@pytest.mark.parametrize("merge", ["add", "concat"])
def test_the_top_down_path_is_one_line(merge: str) -> None:
    """From the coarsest lateral up through every merge, past stages that are not tapped."""
    layout, _ = worked_out(settings_of(pyramid={"merge": merge}))
    lines = lines_of(layout)
    column = lines[-1].index("┴")
    found = "".join(line[column] for line in lines[line_with(lines, "p2") :])
    merged = "⊕" if merge == "add" else "t"  # of concat
    assert found == f"{merged}▲{merged}▲││{merged}▲││┴"


def test_concatenated_maps_say_how_many_channels_they_have() -> None:
    """They grow from level to level, which adding would not make them do."""
    lines = drawn(settings_of(pyramid={"merge": "concat"}))
    assert [found for line in lines for found in re.findall(r"concat \d+", line)] == [
        "concat 1024",
        "concat 768",
        "concat 512",
    ]


def test_levels_that_were_not_chosen_are_not_there() -> None:
    """Their stages are, without a lateral."""
    layout, _ = worked_out(settings_of(pyramid={"levels": "p3-p5"}))
    lines = lines_of(layout)
    assert [level.name for level in layout.levels] == ["p3", "p4", "p5"]
    assert lines[line_with(lines, "stages.1")] == "stages.1  24×150×225      4"
    assert "p2" not in diagram_svg(layout)


def test_an_extra_level_stands_under_the_level_it_is_made_of() -> None:
    """With the layer in between, whose stride is 2."""
    lines = drawn(settings_of("mobilenetv2-fpnlite"))
    for finer, coarser in pairwise(("p5", "p6", "p7")):
        at = line_with(lines, coarser)
        assert at == line_with(lines, finer) + 2
        assert lines[at - 1].strip(" │") == "▼ separable, /2"
        assert lines[at - 1].index("▼") == lines[at].index(coarser)


def test_an_extra_level_of_a_tap_comes_from_the_left() -> None:
    """And those after it from the level above them."""
    lines = drawn(settings_of("retina-fpn"))
    at = line_with(lines, "p6")
    assert re.match(r"  └─+ 3×3, /2 ─+▶ p6 ", lines[at])
    assert lines[at - 1] == "  │"
    assert lines[at - 2].startswith("stages.3")
    assert lines[at + 1].strip() == "▼ ReLU, 3×3, /2"


def test_stages_behind_the_last_tap_stand_under_extra_levels() -> None:
    """The backbone goes on past them; only a plan as a whole has such stages."""
    settings = settings_of(pyramid={"taps": "first", "extra": "conv", "extra_from": "tap"})
    plan = plan_network(settings, whole=True)
    shapes = network_shapes(plan, network_input(settings, parse_size("600x900")))
    layout = network_layout(plan, shapes)
    check_text(layout, shapes)
    check_svg(layout)
    lines = lines_of(layout)
    at = line_with(lines, "p6")
    assert lines[at].startswith("  ├──")
    assert lines[at + 2].startswith("  │   ")
    assert lines[at + 4].startswith("stages.6")


def test_a_pooled_top_is_one_cell_without_a_stride() -> None:
    """It is a level with a lateral of its own, from which the top-down path starts."""
    lines = drawn(settings_of("mobilenetv2-dynamic-fpn"))
    assert re.search(r"32 ─ pool, 1×1, 256 ─+┴─+ 3×3 ─▶ top +256×1×1 +–$", lines[line_with(lines, "top")])


def test_a_level_that_is_not_smoothed_has_nothing_on_its_way() -> None:
    """As the coarsest of FPNLite's."""
    lines = drawn(settings_of("mobilenetv2-fpnlite"))
    assert " ─ separable ─▶ p4 " in lines[line_with(lines, "p4")]
    assert re.search(r" ─ 1×1, 128 ─+┴─+▶ p5 ", lines[line_with(lines, "p5")])
    assert "Smooth" not in drawn(settings_of(pyramid={"smooth": "none"}))[0]


def test_a_network_without_a_pyramid_is_its_stages_and_its_head() -> None:
    """Down the left, with nothing on the right."""
    layout, _ = worked_out(settings_of("mobilenetv2-classifier"))
    lines = lines_of(layout)
    assert lines[0].split() == ["Stage", "Map", "Stride"]
    assert [line.split() for line in lines[-6:]] == [
        ["▼", "1×1"],
        ["head.last", "1280×19×29", "32"],
        ["▼", "average-pool"],
        ["head.pool", "1280×1×1", "–"],
        ["▼", "dense"],
        ["logits", "1000", "–"],
    ]
    assert "Level" not in {text.what for text in texts_of(diagram_svg(layout))}


def test_classifiers_on_levels_meet_on_the_right() -> None:
    """A line from every level to one that comes back to the logits."""
    layout, _ = worked_out(settings_of("fpn-classifier"))
    lines = lines_of(layout)
    ends = [lines[line_with(lines, level.name)][-11:] for level in layout.levels]
    assert ends == [" ─ dense ─┐", *[" ─ dense ─┤"] * 4]
    assert re.search(r"^ +logits +2 +– ◀ dense ─┘$", lines[-1])
    column = lines[-1].index("┘")
    assert {line[column] for line in lines[line_with(lines, "p3") + 1 : -1]} == {"│", "┤"}


@pytest.mark.parametrize(
    ("kind", "branches"),
    [
        ("retinanet", [("cls", "4 × 3×3, 256, shared", 1), ("box", "4 × 3×3, 256, shared", 1)]),
        ("fcos", [("cls", "4 × 3×3, 256, shared", 1), ("box", "4 × 3×3, 256, shared", 2)]),
        ("ssd", [("cls", "one a level", 1), ("box", "one a level", 1)]),
        ("rpn", [("joint", "1 × 3×3, 256, shared", 2)]),
    ],
)
def test_a_branch_of_a_detector_has_its_tower_and_its_outputs(kind: str, branches: list[tuple[str, str, int]]) -> None:
    """How many layers of what kind and width, whether levels share them, and what is made of the last map."""
    layout, shapes = worked_out(settings_of(head={"kind": kind}))
    assert [(one.name, one.tower, len(one.outputs)) for one in layout.branches] == branches
    check_text(layout, shapes)
    check_svg(layout)
    assert max(map(len, lines_of(layout))) <= 80


def test_the_head_of_a_detector() -> None:
    """The last lines, with a branch of two outputs."""
    lines = drawn(settings_of(head={"kind": "fcos"}), "600x900")
    assert [line.strip() for line in lines[-4:]] == [
        "Output                Map            Head                        │",
        "cls_logits      44,942×91 ◀─ 3×3 ─── cls  4 × 3×3, 256, shared ◀─┤",
        "bbox_regression  44,942×4 ◀─ 3×3 ─┬─ box  4 × 3×3, 256, shared ◀─┘",
        "bbox_ctrness     44,942×1 ◀─ 3×3 ─┘",
    ]


def test_the_notes_of_a_detector() -> None:
    """Its norms, and what separable is, which may only be in the head."""
    layout, _ = worked_out(settings_of(head={"kind": "ssdlite"}))
    assert layout.notes == ("separable: a depthwise 3×3 and a 1×1.",)
    assert "Each level has its own norms in the head." in worked_out(settings_of("mobilenetv2-fpnlite"))[0].notes


@pytest.mark.parametrize("preset", preset_names())
def test_the_svg_has_an_arrow_wherever_something_leads(preset: str) -> None:
    """Down the left, into every merge from the left and from below, to every level, branch and output of a head."""
    layout, _ = worked_out(settings_of(preset))
    found = [
        path for path in ElementTree.fromstring(diagram_svg(layout)).iter(f"{SVG}path") if "marker-end" in path.attrib
    ]
    merges = max(len(layout.paths) - 1, 0)
    of_head = bool(layout.votes) + len(layout.branches) + len(layout.outputs)
    assert len(found) == len(layout.stages) - 1 + 2 * merges + len(layout.levels) + of_head


def test_the_svg_is_complete_in_itself() -> None:
    """No script, no font, no picture from elsewhere; colours for dark pages; a title for those who cannot see it."""
    svg = diagram_svg(worked_out(settings_of())[0])
    assert not re.search(r"<script|href|@import|@font-face|url\((?!#)", svg)
    assert "prefers-color-scheme:dark" in svg
    title = ElementTree.fromstring(svg).find(f"{SVG}title")
    assert title is not None
    assert title.text == "Input 1×3×600×900: p2 256×150×225, p3 256×75×113, p4 256×38×57, p5 256×19×29"


@pytest.mark.parametrize("hostile", ['a<b & "c"', "</text></svg><script>alert(1)</script>", "]]> <!-- '&amp;' {{ x }}"])
def test_text_is_escaped_in_the_svg(hostile: str) -> None:
    """Whatever a layout holds stays text, and adds no element."""

    def renamed(node: DiagramNode | None) -> DiagramNode | None:
        return node and replace(node, name=hostile, shape=hostile, step=hostile)

    layout, _ = worked_out(settings_of())
    rows = tuple(
        replace(
            row,
            stage=renamed(row.stage),
            level=renamed(row.level),
            path=row.path and replace(row.path, lateral=hostile, smooth=hostile),
        )
        for row in layout.rows
    )
    spoilt = replace(layout, title=hostile, rows=rows, resize=hostile, notes=(hostile,))
    made, plain = (ElementTree.fromstring(diagram_svg(one)) for one in (spoilt, replace(layout, notes=("a note",))))
    headings = {"Stage", "Lateral", "Top-down", "Smooth", "Level"}
    said = {text.text or "" for text in made.iter(f"{SVG}text")}
    assert {one for one in said - headings if not one.startswith("stride ")} == {hostile}
    assert (made.findtext(f"{SVG}title") or "").startswith(f"{hostile}: {hostile} {hostile}, ")
    assert [element.tag for element in made.iter()] == [element.tag for element in plain.iter()]


def test_notes_say_what_the_picture_cannot() -> None:
    """One smoothing for all levels, and what separable means."""
    for preset, line in (
        ("mobilenetv2-dynamic-fpn", "One smooth layer is shared by all levels."),
        ("mobilenetv2-fpnlite", "separable: a depthwise 3×3 and a 1×1."),
    ):
        layout, _ = worked_out(settings_of(preset))
        assert as_text(diagram(layout)).splitlines()[-1] == line
        assert line in {text.what for text in texts_of(diagram_svg(layout))}


def test_a_pipe_gets_the_same_picture() -> None:
    """Every line as it is drawn, under the title; in a narrow terminal none is cut."""
    layout, _ = worked_out(settings_of())
    report = diagram(layout)
    assert as_text(report).splitlines() == ["Input 1×3×600×900", *lines_of(layout)]
    assert isinstance(report[0], Table)
    assert least_width(report[0]) == max(map(len, lines_of(layout)))


def test_drawing_needs_no_torch() -> None:
    """The plan is enough."""
    code = (
        "import mnfpn_cli.report.terminal.diagram, mnfpn_cli.report.figures.svg, sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
