"""--quiet and --verbose: on every command, and only about what stands on standard error beside warnings and errors."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from mnfpn_cli.cli.sweep_progress import sweep_bar
from mnfpn_cli.cli.talk import TalkOptions, progress_bar, talking
from mnfpn_cli.report.units import seconds
from mnfpn_cli.space.runs import run_namer
from mnfpn_cli.sweep.state import State
from tests.cli.test_help import PAGES, ROOT
from tests.conftest import Mnfpn
from tests.sweep.test_failures import DONE

STAMPED = re.compile(r"\[ *[0-9]+\.[0-9]{2} s\] (.+)")
COMMANDS = [page for page in PAGES if page and not any(other[: len(page)] == page != other for other in PAGES)]


class Terminal(StringIO):
    """A standard error that says that it is a terminal."""

    def isatty(self) -> bool:
        """What programs ask."""
        return True


def said(text: str) -> list[str]:
    """The lines of --verbose without their times; every line has one."""
    found = [STAMPED.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [match[1] for match in found if match]


@pytest.mark.parametrize("page", COMMANDS, ids=[" ".join(page) for page in COMMANDS])
def test_every_command_has_both(page: tuple[str, ...]) -> None:
    """With the same help."""
    command = ROOT
    for name in page:
        command = command.commands[name]
    flags = {name: param.help for param in command.params for name in param.opts}
    assert (flags["--quiet"], flags["--verbose"]) == (
        "Show no progress, only warnings and errors.",
        "Say what is done, step by step, and when.",
    )


@pytest.mark.parametrize("command", ["shapes", "bench", "sweep", "schema shapes", "settings show", "runtimes"])
def test_a_command_refuses_both_at_once(mnfpn: Mnfpn, command: str) -> None:
    """Before it does anything."""
    outcome = mnfpn(*command.split(), "--quiet", "--verbose")
    assert (outcome.code, outcome.out, outcome.err) == (2, "", "error: --quiet: cannot be used with --verbose\n")


def test_verbose_says_versions_files_settings_and_the_time_of_each(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """The result is the same; the settings are those after merging."""
    config = tmp_path / "net.json"
    config.write_text(json.dumps({"width_mult": 0.5, "pyramid": {"channels": 64}}))
    arguments = ("shapes", "--size", "96", "--config", str(config), "--width-mult", "0.75")
    usual, outcome = mnfpn(*arguments), mnfpn(*arguments, "--verbose")
    assert (outcome.code, outcome.out, usual.err) == (0, usual.out, "")
    versions, *lines = said(outcome.err)
    assert versions.startswith("mnfpn ")
    assert ", Python 3." in versions
    assert ", torch 2." in versions
    expected = [f"reads {config}", "settings: width_mult 0.75, pyramid.channels 64", "the result is ready", "done"]
    assert lines == expected


def test_a_file_that_is_written_is_said(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Before it is."""
    path = tmp_path / "shapes.json"
    outcome = mnfpn("shapes", "--size", "96", "--output", str(path), "--verbose")
    assert said(outcome.err)[-2:] == [f"writes {path}", "done"]


def test_an_error_is_an_error_with_each(mnfpn: Mnfpn) -> None:
    """Also where nothing else is said; a command that failed does not say that it is done."""
    outcomes = {option: mnfpn("shapes", "--width-mult", "-1", *option) for option in ((), ("--quiet",), ("--verbose",))}
    assert {outcome.code for outcome in outcomes.values()} == {2}
    assert outcomes[()].err == outcomes[("--quiet",)].err
    assert outcomes[("--verbose",)].err.endswith(outcomes[()].err)
    assert outcomes[()].err.startswith("error: --width-mult: ")
    assert "done" not in outcomes[("--verbose",)].err


def test_quiet_says_nothing_but_the_result(mnfpn: Mnfpn) -> None:
    """As without it in a pipe."""
    usual, outcome = mnfpn("shapes", "--size", "96"), mnfpn("shapes", "--size", "96", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, usual.out, "")


@pytest.mark.parametrize(("options", "shown"), [(TalkOptions(), True), (TalkOptions(quiet=True), False)])
def test_a_bar_is_drawn_in_a_terminal_unless_silence_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, options: TalkOptions, shown: bool
) -> None:
    """With nothing left of it but escape sequences."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with talking(options, ()), progress_bar() as progress:
        progress("timing", 0.5)
    assert bool(screen.getvalue()) is shown


def test_verbose_has_a_line_for_each_step_in_a_terminal_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps that take turns have one line each, and the sum of their times at the end."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    with talking(TalkOptions(verbose=True), ()), progress_bar() as progress:
        for share in (0.0, 0.5, 1.0):
            progress("timing eager", share)
            progress("timing fused", share)
    lines = said(screen.getvalue())[1:]
    assert lines[:2] == ["timing eager", "timing fused"]
    assert [line.partition(": took ")[0] for line in lines[2:]] == ["timing eager", "timing fused", "done"]


def test_what_is_said_ends_with_the_command(mnfpn: Mnfpn) -> None:
    """The next one in the same process says what is usual."""
    mnfpn("shapes", "--size", "96", "--verbose")
    assert mnfpn("shapes", "--size", "96").err == ""


@pytest.mark.parametrize(
    ("options", "err"),
    [
        (TalkOptions(), "1 of 3: {name}: {time}, 60 s left\nwarning: hot\n3 of 3: {name}: {time}\n"),
        (TalkOptions(quiet=True), "warning: hot\n"),
    ],
)
def test_a_sweep_has_a_line_for_each_run_that_ended_and_with_quiet_only_warnings(
    capsys: pytest.CaptureFixture[str], options: TalkOptions, err: str
) -> None:
    """A run that is left out as too slow counts, and has no line; nor has one that was measured before."""
    again = replace(DONE)
    with talking(options, ()), sweep_bar([DONE], set()) as show:
        for state in (
            State(1, 3),
            State(1, 3, done=1, last=DONE, left_s=60.0),
            State(1, 3, done=1, last=DONE, left_s=60.0, notes=("hot",)),
            State(1, 3, done=1, skipped=1, last=DONE, left_s=60.0, notes=("hot",)),
            State(1, 3, done=2, skipped=1, last=again, left_s=0.0, notes=("hot",)),
        ):
            show(state)
    name, time = run_namer([DONE.planned.run])(DONE.planned.run), seconds(DONE.latency_s or 0.0)
    assert capsys.readouterr().err == err.format(name=name, time=time)
