"""Where results go: terminal, pipe, file."""

import json
import os
import re
import sys
from io import StringIO
from pathlib import Path

import pytest

from mnfpn_cli.cli.main import run
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.output import emit, write_text
from mnfpn_cli.cli.stderr import write_error
from mnfpn_cli.documents.base import Document
from mnfpn_cli.report.terminal.summary import PathCell
from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.network import NetworkSettings
from tests.conftest import Mnfpn


def test_text_for_a_pipe_has_no_lines_no_colours_and_no_gaps(mnfpn: Mnfpn) -> None:
    """Each row is one line, however long."""
    lines = mnfpn("shapes", "--size", "600x900").out.splitlines()
    assert lines[1].split() == ["Level", "Stride", "Tap", "Tap", "map", "Top-down", "Output", "Bytes"]
    p3 = ["p3", "8", "stages.2", "32×75×113", "38×57", "→", "75×113", "256×75×113", "≠", "8.276", "MiB"]
    assert lines[3].split() == p3
    assert not any(sign in line for line in lines for sign in ("\x1b", "─", "…"))
    assert all(line == line.rstrip() for line in lines)


def test_json_is_one_document(mnfpn: Mnfpn) -> None:
    """Nothing before it, nothing behind it."""
    document = json.loads(mnfpn("shapes", "--json").out)
    assert document["format_version"] == 2
    assert document["settings"]["width_mult"] == 1.0


def test_output_writes_json_for_json_and_text_otherwise(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """By `--json`, or by the name; what is printed is printed all the same."""
    text, by_name, by_flag = (tmp_path / name for name in ("a.txt", "b.json", "c.out"))
    plain = mnfpn("shapes", "--output", str(text)).out
    assert text.read_text() == plain == mnfpn("shapes", "--output", str(by_name)).out
    printed = mnfpn("shapes", "--json", "--output", str(by_flag)).out
    assert json.loads(by_name.read_text()) == json.loads(by_flag.read_text()) == json.loads(printed)


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """`--output /dev/null`, run by root, must leave the machine its /dev/null; a pipe stays a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "text")
    assert os.read(reader, 99) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_standard_output_can_be_the_file(mnfpn_process: Mnfpn) -> None:
    """`--output /dev/stdout` into a pipe: the name resolves to one that does not exist."""
    printed = mnfpn_process("shapes", "--size", "64").out
    both = mnfpn_process("shapes", "--size", "64", "--output", "/dev/stdout")
    assert (both.code, both.out) == (0, printed + printed)


def test_a_descriptor_that_is_a_file_keeps_what_it_holds(tmp_path: Path) -> None:
    """A shell writes to the file before and after: it is neither replaced nor truncated."""
    log = tmp_path / "log"
    with log.open("wb", buffering=0) as stream:
        stream.write(b"before\n")
        write_text(Path(f"/dev/fd/{stream.fileno()}"), "text\n")
        stream.write(b"after\n")
    assert log.read_text() == "before\ntext\nafter\n"
    assert list(tmp_path.iterdir()) == [log]


def test_a_file_that_cannot_be_written_loses_no_result(mnfpn: Mnfpn) -> None:
    """The disk may be full by the time a long benchmark is done: it is printed, and the exit code is 1."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("Linux has a device that is always full")
    outcome = mnfpn("shapes", "--json", "--output", "/dev/full")
    assert (outcome.code, json.loads(outcome.out)["command"]) == (1, "shapes")
    assert outcome.err == "error: --output: '/dev/full' could not be written: No space left on device\n"


class Terminal(StringIO):
    """A standard output that says that it is a terminal."""

    def isatty(self) -> bool:
        """What programs ask."""
        return True


def lines_in_terminal(monkeypatch: pytest.MonkeyPatch, report: Report, columns: int, kind: str) -> list[str]:
    """What a report looks like in a terminal of so many columns, without its colours."""
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys, "stdout", screen)
    emit(report, NetworkSettings(), OutputOptions())
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in screen.getvalue().splitlines()]


@pytest.mark.parametrize("kind", ["dumb", "xterm-256color"])
def test_a_table_wider_than_the_terminal_stands_in_parts_and_a_note_is_broken(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each part with the first column; also on a terminal that rich takes for one of eighty columns."""
    wide = table("Wide", "Name", *[f">{number}" for number in range(9)])
    wide.add_row("all", *["1234567890"] * 9)
    lines = lines_in_terminal(monkeypatch, [wide, note("word " * 30)], 60, kind)
    parts = (6, 3) if kind == "dumb" else (4, 4, 1)
    rows = [line.split() for line in lines if line.startswith("all")]
    assert rows == [["all", *["1234567890"] * columns] for columns in parts]
    notes = [line for line in lines if line.startswith("word")]
    assert [line.count("word") for line in notes] == ([16, 14] if kind == "dumb" else [12, 12, 6])


@pytest.mark.parametrize("width", [40, 60, 1000])
def test_an_error_is_broken_at_words_in_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The terminal would break it within words, and what is indented would lose that; a pipe has whole lines."""
    text = (
        "error: --size: must be two whole numbers such as 600x900, got '1'\n  in what was read from a-file-with-a-name"
    )
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stderr", screen)
    write_error(text)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert screen.getvalue().split() == text.split()
    assert lines[-1].startswith("  ")
    pipe = StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    write_error(text)
    assert pipe.getvalue() == f"{text}\n"


def test_the_presets_fit_a_terminal_and_are_a_line_each_in_a_pipe(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was published has a line more; a description is broken into lines beside the name."""
    lines = mnfpn("settings", "presets").out.splitlines()
    published = [line for line in lines if line.startswith(" ")]
    assert len(lines) - len(published) == len(preset_names())
    assert all(line.strip().startswith("Published: ") for line in published)
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    assert run(["settings", "presets"]) == 0
    assert max(map(len, screen.getvalue().splitlines())) <= 70


def test_presets_as_json_have_their_settings(mnfpn: Mnfpn) -> None:
    """All that the text has, and the whole settings of each."""
    presets = json.loads(mnfpn("settings", "presets", "--json").out)["presets"]
    assert [one["name"] for one in presets] == preset_names()
    for one in presets:
        assert json.loads(mnfpn("settings", "show", "--preset", one["name"]).out) == one["settings"]
        assert f"{one['name']}  " in mnfpn("settings", "presets").out


def test_settings_are_json_with_and_without_the_switch(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """To the byte, also in a file, whatever its name; and they read back as what they are."""
    path = tmp_path / "net"
    plain = mnfpn("settings", "show", "--width-mult", "0.5")
    assert plain == mnfpn("settings", "show", "--width-mult", "0.5", "--json", "--output", str(path))
    assert plain.code == 0
    assert path.read_text() == plain.out == mnfpn("settings", "show", "--config", str(path)).out


def test_a_part_of_a_summary_that_was_not_asked_for_is_null(mnfpn: Mnfpn) -> None:
    """Never absent: a program need not ask whether a key is there."""
    small = ("summary", "--stages", "2,8,2,2 2,16,1,2", "--size", "64", "--json")
    least = json.loads(mnfpn(*small, "--no-audit").out)
    assert [key for key, value in least.items() if value is None] == [
        *("model", "accuracy", "counts", "audit", "levels", "weights")
    ]
    most = json.loads(mnfpn(*small, "--counts").out)
    assert [key for key, value in most.items() if value is None] == ["model", "accuracy", "weights"]
    assert most.keys() == least.keys()
    assert most["counts"]["work"]["dense_macs"] == 0 < most["counts"]["work"]["convolution_macs"]
    assert {"fvcore", "torchinfo"} < {one["tool"] for one in most["counts"]["tools"]}


def test_a_path_gives_way_to_short_text_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a shorter form, and `LevelClassifiers` has none."""
    mixed = table("Mixed", "Name", "Type", ">Number")
    for path in ("pyramid.lateral", "pyramid.smooth"):
        mixed.add_row(PathCell(path, 2), "LevelClassifiers", "1234567890")
    words = [line.split() for line in lines_in_terminal(monkeypatch, [mixed], 42, "xterm")]
    assert words[-2:] == [[name, "LevelClassifiers", "1234567890"] for name in ("lateral", "smooth")]


class Failed(Document):
    """A document with a message in it."""

    reason: str


def test_text_spells_parameters_as_options_and_json_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In notes and in cells, for a terminal and for a pipe; a document keeps the backquotes."""
    failed = table("Failed", "Runtime", "Reason")
    failed.add_row("eager", "raise `max_time`")
    report: Report = [failed, note("`retry_failed` measures them again.")]
    expected = ["Failed", "Runtime", "Reason", "eager", "raise", "--max-time", "--retry-failed"]
    document = Failed(command="bench", settings=None, model=None, reason="raise `max_time`")
    emit(report, document, OutputOptions())
    assert capsys.readouterr().out.split()[: len(expected)] == expected
    text = " ".join(lines_in_terminal(monkeypatch, report, 60, "xterm"))
    assert {"--max-time", "--retry-failed"} <= set(text.split())
    assert "`" not in text
    monkeypatch.undo()
    emit(report, document, OutputOptions(json=True))
    assert json.loads(capsys.readouterr().out)["reason"] == "raise `max_time`"
