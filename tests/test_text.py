"""Texts from outside are printed, and control no terminal."""

import json

import pytest
from rich.console import Console

from mnfpn_cli.documents.base import to_json
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.tables import pairs, table
from mnfpn_cli.text import all_printable, printable

EVIL = "a\0b\x1b[31mc\x9bd\u202ee\u2066f\x7f\N{LINE SEPARATOR}"
SHOWN = r"a\x00b\x1b[31mc\x9bd\u202ee\u2066f\x7f\u2028"


@pytest.mark.parametrize("text", ["", "eager", "1×3×600×900", "名前", "±95 %", "width_mult 0.5"])
def test_printable_text_is_unchanged(text: str) -> None:
    """In any script."""
    assert printable(text) == text


def test_control_characters_become_escapes() -> None:
    """Those of terminals, and those that turn the direction of a text round; line breaks stay on request."""
    assert printable(EVIL) == SHOWN
    assert printable("a\nb\tc", keep="\n") == "a\nb\\tc"
    assert all_printable({EVIL: [EVIL, 1, None, ("a\n", 0.5)]}) == {SHOWN: [SHOWN, 1, None, ["a\n", 0.5]]}


def test_json_gives_each_text_back_and_controls_no_terminal() -> None:
    """JSON's own escapes."""
    document = {EVIL: [EVIL, "𝄞\U000e0001"]}
    text = to_json(document)
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == document


def test_no_cell_of_a_table_controls_a_terminal_or_is_markup() -> None:
    """Whoever adds it, and where: names, values, titles."""
    made = table(EVIL, "Name", ">Value")
    made.add_row(EVIL, "[red]1[/red]")
    for report in ([made], [pairs("Names", [(EVIL, "[red]1[/red]")])]):
        shown = as_text(list(report))
        assert shown.replace("\n", "").isprintable()
        assert SHOWN in shown
        assert "[red]1[/red]" in shown
    console = Console(force_terminal=False, width=200)
    with console.capture() as captured:
        console.print(made.columns[0].cells[0])
    assert SHOWN in captured.get()
