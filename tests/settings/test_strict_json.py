"""All JSON files are read by the same code: settings, spaces and results are refused with the same messages."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.documents.bench import BenchDocument
from mnfpn_cli.documents.read import read_document
from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.files import read_config
from mnfpn_cli.settings.strict_json import read_json, read_stream
from mnfpn_cli.space.read import read_space

READERS: dict[str, Callable[[Path], Any]] = {
    "settings": lambda path: read_config(str(path)),
    "space": read_space,
    "result": lambda path: read_document(path, BenchDocument),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "must be JSON: it is empty"),
        (b" \n", "must be JSON: it is empty"),
        (b'{"a": tr', "line 1, column 7: must be JSON: expecting value (it ends too early)"),
        (b'{"a": 1,\n"b', "line 2, column 1: must be JSON: unterminated string starting at (it ends too early)"),
        (b'{"a": 1', "line 1, column 8: must be JSON: expecting ',' delimiter (it ends too early)"),
        (b'{"a" 1}', "line 1, column 6: must be JSON: expecting ':' delimiter"),
        (b"{} {}", "line 1, column 4: must be JSON: extra data"),
        (b'{"a": 1, "a": 2}', "must be JSON: the key 'a' is given twice in one object"),
        (b"[" * 100_000, "must be JSON: nested too deeply"),
        (b"1" * 5000, "must be JSON: exceeds the limit (4300 digits) for integer string conversion"),
        (b'{"\xff": 1}', "must be UTF-8 text, but byte 2 is not"),
    ],
    ids=["empty", "space", "word", "text", "end", "colon", "more", "twice", "deep", "number", "bytes"],
)
def test_text_that_is_not_json_is_refused_with_the_same_message(
    tmp_path: Path, reader: Callable[[Path], Any], content: bytes, rule: str
) -> None:
    """The message gives the file, line and column, and the rule."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path}: {rule}")


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_folder_or_missing_file_is_refused_with_the_same_message(
    tmp_path: Path, reader: Callable[[Path], Any]
) -> None:
    """The message gives the path and the rule."""
    for path, rule in ((tmp_path, "must be a file, but it is a folder"), (tmp_path / "x", "no such file")):
        with pytest.raises(UsageError) as caught:
            reader(path)
        assert str(caught.value) == f"{path}: {rule}"


def test_a_byte_order_mark_is_ignored() -> None:
    """Some editors write one."""
    assert read_json("x", b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_a_pipe_that_holds_too_much_is_refused_without_its_size() -> None:
    """The size of a pipe is not known before its end."""
    reader, writer = os.pipe()
    os.write(writer, b" " * 11)
    os.close(writer)
    with os.fdopen(reader, "rb") as file, pytest.raises(UsageError, match=r"^x: a file must have at most 1e-05 MB$"):
        read_stream(file, "x", "a file", 10)
