"""Text for a pipe or a file, which is written without rich."""

import re
from pathlib import Path

import pytest

import mnfpn_cli.report.terminal
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.tables import note, phrases, table, width_of


def test_numbers_stand_to_the_right_and_short_rows_are_filled() -> None:
    """With two columns between, nothing behind, and an empty line above a table that is not the first item."""
    made = table("Title", "Name", ">Number", "More")
    made.add_row(phrases("a, b"), "1")
    made.add_row("日本", "100", note("[bold]"))
    text = "Title\nName  Number  More\na, b       1\n日本     100  [bold]\n"
    assert as_text([made]) == text
    assert as_text([note("first"), made, note("indented", indent=2)]) == f"first\n\n{text}  indented\n"


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("×→≠", 3), ("", 0)])
def test_a_sign_takes_the_columns_that_a_terminal_gives_it(text: str, width: int) -> None:
    """None, one or two."""
    assert width_of(text) == width


def test_one_file_of_the_room_draws_with_rich() -> None:
    """Whatever else imported it would bring it into a pipe."""
    files = Path(mnfpn_cli.report.terminal.__path__[0]).glob("*.py")
    found = [one.name for one in files if re.search(r"^\s*(from|import) rich\b", one.read_text("utf-8"), re.M)]
    assert found == ["screen.py"]
