"""Where results go: terminal, pipe, file."""

import json
import os
from pathlib import Path

import pytest

from mnfpn_cli.cli.output import write_text
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
    assert document["format_version"] == 1
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


def test_a_file_that_cannot_be_written_loses_no_result(mnfpn: Mnfpn) -> None:
    """The disk may be full by the time a long benchmark is done: it is printed, and the exit code is 1."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("Linux has a device that is always full")
    outcome = mnfpn("shapes", "--json", "--output", "/dev/full")
    assert (outcome.code, json.loads(outcome.out)["command"]) == (1, "shapes")
    assert outcome.err == "error: --output: '/dev/full' could not be written: No space left on device\n"
