"""Help as a page that people read: short, with examples that work, and the same on every terminal."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mnfpn_cli.cli.compare_sides import parse_side
from mnfpn_cli.cli.help import OPTIONS, OUTPUT, Summary
from mnfpn_cli.cli.main import SUMMARIES, app
from tests.conftest import Mnfpn
from tests.snapshots import check

FOLDER = Path(__file__).parent / "help"
SCREEN, WIDTH = 50, 80
ROOT: Any = get_command(app)


def pages(group: Any = ROOT, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every command, and of the groups that they are in."""
    below = [page for name, one in getattr(group, "commands", {}).items() for page in pages(one, (*path, name))]
    return [path, *below]


PAGES = pages()
IDS = [" ".join(("mnfpn", *page)) for page in PAGES]
each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def examples(page: str) -> list[str]:
    """The commands that a page gives as examples."""
    _, _, rest = page.partition("Examples:\n")
    return [line.strip() for line in rest.partition("\n\n")[0].splitlines()]


@each_page
def test_each_page_is_kept_beside_the_tests(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, page: tuple[str, ...]
) -> None:
    """So that a change is seen as a reader sees it; no terminal and no language changes it."""
    for name, value in {"COLUMNS": "37", "TERM": "dumb", "LC_ALL": "C", "LANG": "de_DE", "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    outcome = mnfpn(*page, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    check(FOLDER / f"{'-'.join(('mnfpn', *page))}.txt", outcome.out)


def test_no_snapshot_is_of_a_command_that_is_gone() -> None:
    """One file a page."""
    assert {path.stem for path in FOLDER.iterdir()} == {"-".join(("mnfpn", *page)) for page in PAGES}


@each_page
def test_the_first_screen_of_a_page_is_what_most_people_need(mnfpn: Mnfpn, page: tuple[str, ...]) -> None:
    """Usage, examples, and the options that are used most; no line is wider than 80 columns."""
    text = mnfpn(*page, "--help").out
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "<bool>" not in text
    assert "[default" not in text
    first = "\n".join(text.splitlines()[:SCREEN])
    assert "Usage: mnfpn" in first
    assert 1 <= len(examples(first)) <= 3
    for title in (OPTIONS, OUTPUT):
        assert (f"\n{title}:\n" in text) == (f"\n{title}:\n" in first)


@each_page
def test_the_examples_of_a_page_are_commands_that_there_are(mnfpn: Mnfpn, page: tuple[str, ...]) -> None:
    """Each is read as the command line reads it: its command, options and sides; but not run."""
    for example in examples(mnfpn(*page, "--help").out):
        program, *words = shlex.split(example)
        assert (program, *words[: len(page)]) == ("mnfpn", *page)
        command, context = ROOT, None
        while hasattr(command, "commands"):
            command, context = command.commands[words[0]], command.make_context("mnfpn", words[:1], parent=context)
            words = words[1:]
        given = command.make_context(example, words, parent=context).params
        for side in ("a", "b"):
            for text in given.get(side) or () if command.name == "compare" else ():
                parse_side(f"--{side}", text)


CHEAP = ("mnfpn shapes", "mnfpn summary --tree", "mnfpn settings", "mnfpn audit\n", "mnfpn sweep --width")


@each_page
def test_the_examples_that_cost_little_run(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: tuple[str, ...]
) -> None:
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)
    for example in examples(mnfpn(*page, "--help").out):
        if f"{example}\n".startswith(CHEAP):
            outcome = mnfpn(*shlex.split(example)[1:])
            assert (outcome.code, outcome.err.startswith("error")) == (0, False), example


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_page_fits_a_terminal(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """It is never wider than 80 columns, where lines get hard to read."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    text = mnfpn("bench", "--help").out
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
    given = examples("\n".join(plain))
    assert max(len(line) for line in plain if line.strip() not in given) in range(width - 12, width + 1) or width == 200
    assert max(map(len, plain)) <= WIDTH


@pytest.mark.parametrize("line", SUMMARIES, ids=[line.name for line in SUMMARIES])
def test_the_line_about_a_command_is_the_first_of_its_page(line: Summary) -> None:
    """`mnfpn --help` has it without importing the command."""
    command = ROOT.commands[line.name]
    assert (command.name, command.help.partition("\n\n")[0]) == (line.name, line.text)


def test_mnfpn_alone_says_what_to_try(mnfpn: Mnfpn) -> None:
    """A short screen on standard error, and exit code 2, as where a group is given no command."""
    outcome = mnfpn()
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) <= 15
    assert outcome.err.count("mnfpn ") >= 6
    assert "mnfpn --help" in outcome.err


def test_every_option_is_shown(mnfpn: Mnfpn) -> None:
    """None is hidden, and each has a sentence."""
    for page in PAGES:
        command = ROOT
        for name in page:
            command = command.commands[name]
        text = mnfpn(*page, "--help").out
        for param in command.params:
            assert param.help, (page, param.name)
            assert param.help.endswith("."), (page, param.name)
            shown = [param.metavar] if not param.opts[0].startswith("-") else [*param.opts, *param.secondary_opts]
            assert any(f"  {name}" in text for name in shown), (page, param.name)
