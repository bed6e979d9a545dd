"""Axes of a design space are read from options and files."""

import json
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.space.read import axis_of, join_axes, merge_axes, override_axis, read_space, split_choices
from tests.space.spaces import space_of

TABLE = [[1, 16, 1, 1], [6, 24, 2, 2]]


def in_file(folder: Path, value: Any) -> Path:
    """A file that holds a value as JSON."""
    path = folder / "space.json"
    path.write_text(json.dumps(value))
    return path


def choices(path: Path) -> dict[str, tuple[Any, ...]]:
    """The choices of each key in a file."""
    return {axis.key: axis.values for axis in read_space(path)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64,128", ["64", "128"]),
        ('["p3","p5"],all', ['["p3","p5"]', "all"]),
        ('{"kind":"classifier","classes":10},none', ['{"kind":"classifier","classes":10}', "none"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("p3-p5", ["p3-p5"]),
    ],
)
def test_commas_outside_brackets_separate_choices(text: str, expected: list[str]) -> None:
    """A list in JSON is one choice."""
    assert split_choices("`set`", text) == expected


@pytest.mark.parametrize("text", ["", "1,,2", ",1", "1,"])
def test_no_choice_is_empty(text: str) -> None:
    """An extra comma is an error."""
    with pytest.raises(UsageError, match="must have a value before and after each comma"):
        split_choices("`width_mult`", text)


def test_lists_ranges_and_single_values_are_read(tmp_path: Path) -> None:
    """Under nested or dotted keys; a list holds choices, also where each choice is a table of stages."""
    space = {
        "$comment": "as in a settings file",
        "width_mult": {"from": 0.5, "to": 1.0, "step": 0.25},
        "pyramid": {"channels": {"from": 64, "to": 192, "step": 64}, "smooth": "conv"},
        "stages": [TABLE],
        "size": ["64x96", 128],
        "in_channels": {"from": 1, "to": 3},
        "runtime": "all",
        "batch": [1, 8, 1],
    }
    read = choices(in_file(tmp_path, space))
    assert read["width_mult"] == (0.5, 0.75, 1.0)
    assert read["pyramid.channels"] == (64, 128, 192)
    assert read["in_channels"] == (1, 2, 3)
    assert read["pyramid.smooth"] == ("conv",)
    assert read["stages"] == (TABLE,)
    assert read["size"] == (Size(64, 96), Size(128, 128))
    assert read["runtime"][0] == "eager"
    assert len(read["runtime"]) > 3
    assert read["batch"] == (1, 8)


def test_options_replace_the_choices_of_a_file() -> None:
    """The last axis of a key counts, however the key is written."""
    space = merge_axes([axis_of("stages.3.channels", "file", [48, 64]), override_axis("stages[3].channels=32")])
    assert [axis.values for axis in space.axes] == [(32,)]


def test_a_repeated_option_adds_choices() -> None:
    """`set` as any other, each choice once, however the key is written."""
    axes = join_axes(map(override_axis, ("stages[3].channels=32,48", "stages.3.channels=64,32", "in_channels=1")))
    assert [axis.values for axis in axes] == [(32, 48, 64), (1,)]


def test_two_options_must_not_give_choices_for_one_key() -> None:
    """In other commands the later option counts; here both could be meant."""
    with pytest.raises(UsageError, match=r"^width_mult, set width_mult: must not both give choices for one key"):
        join_axes([axis_of("width_mult", "`width_mult`", [1.0]), override_axis("width_mult=2")])


def test_a_list_of_levels_separated_by_commas_is_refused() -> None:
    """Other commands read it as one list: the message has both spellings, for a list and for choices."""
    rule = (
        "set pyramid.levels: 'p3,p4' is one list in other commands, but 2 choices here: "
        """write pyramid.levels='["p3","p4"]' for the list, or repeat set for each choice"""
    )
    with pytest.raises(UsageError) as error:
        override_axis("pyramid.levels=p3,p4")
    assert str(error.value) == rule
    assert override_axis('pyramid.levels=["p3","p4"],all').values == (["p3", "p4"], "all")
    assert override_axis("pyramid.levels=p3-p5,all").values == ("p3-p5", "all")


BAD: list[tuple[Any, str]] = [
    ({"width_mutl": [1]}, "width_mutl: unknown key; did you mean 'width_mult'?"),
    ({"sizes": ["64"]}, "sizes: unknown key; did you mean 'size'?"),
    ({"pyramid": {"chanels": [64]}}, "pyramid.chanels: unknown key; did you mean 'pyramid.channels'?"),
    ({"width_mult": [1], "width_mult ": [2]}, "width_mult : must be given once, got it in two spellings"),
    ({"pyramid.channels": [64], "pyramid": {"channels": [32]}}, "pyramid.channels: must be given once, got it in two"),
    ({"width_mult": []}, "width_mult: must have at least one value, got none"),
    ({"width_mult": {"from": 0.1}}, "width_mult: a range must have from and to, optionally step, got from"),
    (
        {"width_mult": {"min": 1, "max": 2}},
        "width_mult: a range must have from and to, optionally step, got max, min",
    ),
    (
        {"pyramid": {"channels": {"min": 1}}},
        "pyramid.channels: a range must have from and to, optionally step, got min",
    ),
    ({"size": {"min": 64}}, "size: a range must have from and to, optionally step, got min"),
    ({"pyramyd": {"channels": [1]}}, "pyramyd.channels: unknown key; did you mean 'pyramid.channels'?"),
    ({"width_mult": {"from": 1, "to": 0}}, "a range must go up from 'from' to 'to' by a positive step"),
    ({"width_mult": {"from": 0, "to": 1, "step": 0}}, "a range must go up from 'from' to 'to' by a positive step"),
    ({"width_mult": {"from": 0, "to": 1e18, "step": 1e-9}}, "in at most 1,000,000 steps"),
    ({"in_channels": {"from": 1, "to": 10**400}}, "in at most 1,000,000 steps"),
    (
        {"width_mult": {"from": 0.5, "to": 1.0}},
        'width_mult: a range must have a step, unless from and to are whole numbers, got {"from": 0.5, "to": 1.0}',
    ),
    ({"width_mult": {"from": 0, "to": "x"}}, "width_mult: from, to and step of a range must be numbers"),
    (
        {"width_mult": {"from": 0, "to": 1, "stop": 1}},
        "a range must have from and to, optionally step, got from, stop, to",
    ),
    ({"size": ["0x5"]}, "size: each side must be 1 to 65536 pixels, got 0x5"),
    ({"size": [True]}, "size: must be HxW in pixels, as 600x900 or 512, got 'True'"),
    ({"batch": [0]}, "batch: must be a whole number from 1 to 65536, got 0"),
    ({"batch": [1.5]}, "batch: must be a whole number from 1 to 65536, got 1.5"),
    ({"runtime": ["tensorrt"]}, "runtime: must be one of eager, "),
    ({"device": ["gpu"]}, "device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
    ({"dtype": ["int4"]}, "dtype: must be one of float32, bfloat16, float16, int8, got 'int4'"),
    ({"preset": ["none"]}, "must be one of fpn-classifier"),
    ([1, 2], "must be an object of keys and their choices, got [1, 2]"),
]


@pytest.mark.parametrize(("value", "message"), BAD, ids=lambda value: str(value)[:40])
def test_an_invalid_space_is_refused_with_key_rule_and_value(tmp_path: Path, value: Any, message: str) -> None:
    """When the file is read, not as invalid runs."""
    with pytest.raises(UsageError) as error:
        read_space(in_file(tmp_path, value))
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path))


@pytest.mark.parametrize("text", ['{"a": 1', "\xff", '{"size": ["64"], "size": ["64"]}', "[" * 100_000])
def test_invalid_json_is_refused(tmp_path: Path, text: str) -> None:
    """Half a file, another encoding, a key given twice, nesting without end."""
    path = tmp_path / "space.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"space\.json: "):
        read_space(path)


@pytest.mark.parametrize(("name", "rule"), [("none.json", "no such file"), (".", "must be a file, but")])
def test_a_missing_file_is_reported(tmp_path: Path, name: str, rule: str) -> None:
    """And a folder."""
    with pytest.raises(UsageError, match=rule):
        read_space(tmp_path / name)


def test_too_large_a_space_is_refused_with_its_count() -> None:
    """Before any run is planned."""
    space = space_of(width_mult=range(1, 10_001), pyramid__channels=range(1, 10_001), in_channels=range(1, 10_001))
    with pytest.raises(UsageError, match=r"at most 1,000,000 runs, got 1,000,000,000,000 \(width_mult 10,000, "):
        space.check()
