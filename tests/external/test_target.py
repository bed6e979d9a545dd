"""What `model`, `model_arg` and `input` say."""

from pathlib import Path

import pytest

from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.target import InputSpec, Target, parse_input, parse_pass, parse_target


@pytest.mark.parametrize(
    ("text", "place", "attribute"),
    [
        ("torchvision.models:mobilenet_v2", "torchvision.models", "mobilenet_v2"),
        ("timm:create_model", "timm", "create_model"),
        ("my_nets:Zoo.small", "my_nets", "Zoo.small"),
        ("conftest.py:Net", "conftest.py", "Net"),
    ],
)
def test_a_target_is_a_place_and_an_attribute(
    text: str, place: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dotted module or a file, a colon, and a name."""
    monkeypatch.chdir(Path(__file__).parent.parent)
    target = parse_target(text)
    assert (target.source, target.attribute, target.arguments) == (place, attribute, ())
    assert (target.file is not None) == place.endswith(".py")


def test_a_file_that_is_no_python_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``net.json`` could be a module of a package ``net``, but is a file here."""
    monkeypatch.chdir(tmp_path)
    Path("net.json").touch()
    rule = r"^model: must be package[.]module:attribute or path/to/file[.]py:attribute, got 'net[.]json:x'"
    with pytest.raises(UsageError, match=rule):
        parse_target("net.json:x")


@pytest.mark.parametrize("text", ["", "timm", "timm:", ":Net", "a/b:Net", "timm:1x", "timm:a-b", "my net:x", "nix.py"])
def test_what_is_no_target_is_refused(text: str) -> None:
    """With the two forms that there are, and the value."""
    with pytest.raises(UsageError, match=r"^model: must be package[.]module:attribute or path/to/file[.]py:attribute"):
        parse_target(text)


def test_a_file_that_is_not_there_is_told_by_name() -> None:
    """Before torch is imported."""
    with pytest.raises(UsageError, match=r"^model: there is no file 'nix[.]py'"):
        parse_target("nix.py:Net")


def test_arguments_are_numbers_words_json_or_text() -> None:
    """As they read."""
    texts = ["a=1", "b=0.5", "c=true", "d=None", "e=[1, 2]", "f=mobilenetv2_100", "g=x=y", 'h="1"']
    target = parse_target("timm:create_model", texts)
    expected = {"a": 1, "b": 0.5, "c": True, "d": None, "e": [1, 2], "f": "mobilenetv2_100", "g": "x=y", "h": "1"}
    assert target == Target("timm:create_model", "timm", "create_model", tuple(expected.items()))


@pytest.mark.parametrize("text", ["a", "=1", "a b=1", "1=2"])
def test_an_argument_without_a_name_is_refused(text: str) -> None:
    """As Python has none such."""
    with pytest.raises(UsageError, match=r"^model_arg: must be name=value, got"):
        parse_target("timm:create_model", [text])


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1x3x600x900", InputSpec((1, 3, 600, 900))),
        ("1×128:int64", InputSpec((1, 128), "int64")),
        (" 7 ", InputSpec((7,))),
    ],
)
def test_an_input_is_a_shape_and_perhaps_a_type(text: str, spec: InputSpec) -> None:
    """Written as shapes are printed."""
    assert parse_input(text) == spec
    assert str(parse_input("1x4:int64")) == "1×4 int64"


@pytest.mark.parametrize("text", ["", "x", "1x", "1x-3", "1x3.5", "1x3:int7", "0x3", "1x3:", "9999999x9999999"])
def test_what_is_no_input_is_refused(text: str) -> None:
    """Nor one without elements, or with more than there can be."""
    with pytest.raises(UsageError, match=r"^input: must "):
        parse_input(text)


def test_the_inputs_of_a_pass_are_separated_by_commas() -> None:
    """Each is a shape, and perhaps a dtype."""
    assert parse_pass("1x3x8x8,1x4:int64") == (InputSpec((1, 3, 8, 8)), InputSpec((1, 4), "int64"))
    assert parse_pass("7") == (InputSpec((7,)),)
    with pytest.raises(UsageError, match=r"^input: must be a shape, as .*, got ''$"):
        parse_pass("1x3,")
