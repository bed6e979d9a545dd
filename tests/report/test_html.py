"""A report in a notebook: all of its text, as text, on light and on dark backgrounds."""

import re
import xml.etree.ElementTree as ET
from itertools import zip_longest
from pathlib import Path

import pytest

from mnfpn_cli.accuracy.presets import presets_document
from mnfpn_cli.errors import spelled
from mnfpn_cli.report.html import COLOURS, RULES, as_html
from mnfpn_cli.report.terminal.frontier import STYLES, frontier_report
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.tables import Column, Forms, Line, Report, Table, command, note, phrases, table
from mnfpn_cli.sweep.report import report_document
from tests.needs import needs
from tests.report.stores import SAMPLE
from tests.report.test_screens import OF_STORES, OTHERS, SWEPT, Stored


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A store whose runs differ in all that runs of a usual sweep differ in."""
    return Stored(tmp_path_factory.mktemp("store"), SWEPT)


def parsed(html: str) -> ET.Element:
    """The elements of HTML, which must be well-formed."""
    return ET.fromstring(html)


def text_of(element: ET.Element) -> str:
    """The text of an element and of all in it."""
    return "".join(element.itertext())


def cells_of(column: Column) -> list[str]:
    """The cells of a column as a file has them."""
    cells = (one if isinstance(one, str | Line) else one.within(one.full_width) for one in column.cells)
    texts = [spelled(str(one), str) for one in cells]
    return [text.rstrip() for text in texts] if column.numbers else texts


@pytest.mark.parametrize("name", [*OF_STORES, *OTHERS])
def test_every_cell_and_every_line_is_in_its_place(name: str, stored: Stored) -> None:
    """Titles, headers, cells and lines, in the order of the report."""
    report = OF_STORES[name](stored) if name in OF_STORES else OTHERS[name]()
    root = parsed(as_html(report))
    tables = [one.tables[0] if isinstance(one, Forms) else one for one in report if isinstance(one, Table | Forms)]
    for wanted, element in zip_longest(tables, root.iter("table")):
        assert [text_of(one) for one in element.iter("caption")] == [spelled(wanted.title or "", str)] * bool(
            wanted.title
        )
        headers = [text_of(one) for one in element.iter("th")]
        assert headers == [column.header for column in wanted.columns] * wanted.show_header
        rows = [
            [text_of(cell) for cell in row.findall("td")] for row in element.iter("tr") if row.find("td") is not None
        ]
        assert rows == [list(row) for row in zip(*map(cells_of, wanted.columns), strict=True)]
        assert len(element.findall("tbody")) == 1 + len({index for index in wanted.sections if index})
    assert {f".{name}" for one in root.iter() for name in (one.get("class") or "").split()} - {".mnfpn"} <= RULES.keys()
    lines = [spelled(part, str) for one in report if isinstance(one, Line) for part in one.text.split("\n")]
    outside = [text_of(one) for one in root if one.tag in ("div", "pre")]
    assert [part for text in outside for part in text.split("\n")] == lines


def test_text_of_users_is_no_markup() -> None:
    """Names of networks, outputs and files, and reasons of failures."""
    bad = "<script>alert(1)</script> & \"quoted\" 'too' <b>`size`</b>"
    made = table(bad, bad, f">{bad}")
    made.add_row(bad, note(bad, "red"))
    made.add_row(phrases(bad), "1")
    root = parsed(as_html([made, note(bad), command(bad)]))
    assert {one.tag for one in root.iter()} == {
        *("div", "style", "table", "caption", "thead", "tbody", "tr", "th", "td", "pre", "span", "code")
    }
    assert sum(bad.replace("`", "") in text_of(one) for one in root.iter() if one.tag in ("td", "th", "caption")) == 6


def test_numbers_are_aligned_to_the_right_and_styles_are_classes() -> None:
    """As on a screen."""
    made = table("", "Name", ">Number")
    made.add_row("a", note("1", "bold red"))
    made.add_section()
    made.add_row("b", "2")
    lines: Report = [Line("one two", "green", marks=(("two", "dim"), ("wo", "bold"))), note("indented", indent=2)]
    root = parsed(as_html([made, *lines]))
    assert [one.get("class") for one in root.iter("td")] == ["whole", "number whole bold red", "whole", "number whole"]
    first, second = (one for one in root if one.tag == "div")
    assert (first.get("class"), second.get("style")) == ("green", "margin-left:2em")
    assert [(one.text, one.get("class")) for one in first] == [("two", "dim")]


def test_what_must_not_be_broken_is_preformatted_and_stands_together() -> None:
    """Commands to copy, and drawings."""
    root = parsed(as_html([note("first"), command("mnfpn shapes"), command("mnfpn audit", "bold"), note("last")]))
    assert [(one.tag, text_of(one)) for one in root][1:] == [
        ("div", "first"),
        ("pre", "mnfpn shapes\nmnfpn audit"),
        ("div", "last"),
    ]


@needs("plotext")
def test_a_plot_is_drawn_in_the_colours_of_its_legend(tmp_path: Path) -> None:
    """It is as wide as in a file; its symbols have the class of their runtime, or are dim."""
    stored = Stored(tmp_path, SAMPLE)
    report = frontier_report(report_document(stored.runs, stored.baselines, stored.objective))
    (plot,) = (one for one in parsed(as_html(report)).iter("pre"))
    colours = {symbol: one.get("class") for one in plot.iter() if one.get("class") for symbol in one.text or ""}
    assert colours == {"●": "bright_blue", "○": "dim", "□": "dim"}
    assert text_of(plot).splitlines()[3] in as_text(report)


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_stands_out_from_white_and_from_black(name: str) -> None:
    """By a contrast of 4 (WCAG 2.2, 1.4.3): a notebook may be light or dark."""
    colour = _luminance(COLOURS[name])
    assert (1 + 0.05) / (colour + 0.05) > 4
    assert (colour + 0.05) / (_luminance("#111111") + 0.05) > 4


def _luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_symbols_of_a_plot_have_colours() -> None:
    """Each runtime its own, as on a screen."""
    assert set(STYLES) <= COLOURS.keys()


def test_it_is_whole_in_itself() -> None:
    """Neither scripts nor other files: a notebook is read offline, and by those who do not trust it."""
    html = presets_document()._repr_html_()
    assert html
    assert not re.search(r"<script|<link|url\(|@import|https?:|\son\w+=", html)
