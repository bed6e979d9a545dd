"""Networks that others wrote, on the command line: what is wrong with a target or its code is reported, and no more."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from mnfpn_cli.text import first_line
from tests.conftest import Mnfpn

NETS = str(Path(__file__).parent.parent / "external" / "nets.py")
SIZE = ("--size", "8")

BESIDE = "cannot be used with --model, whose network has no settings"
HAS = "FailsInside, Listed, Net, Returns, Two, made"
TWO = "(x: torch.Tensor, places: torch.Tensor) -> Any"
REPEAT = "separate the inputs of a pass by commas, as --input 1x3x600x900,1x4"
UNKNOWN = "got an unexpected keyword argument 'width'; {nets}:Net takes (channels: int = 4)"
MISSING = "missing a required argument: 'width'; {nets}:helper takes (width: int) -> torch.nn.modules.module.Module"
NO_NETWORK = "must be an nn.Module, a class or a function, got an object of type int"

REFUSED = {
    "no such attribute": (("Nix",), "--model: {nets} has no 'Nix'; networks in it: " + HAS),
    "attribute of a similar name": (("Nett",), "--model: {nets} has no 'Nett'; did you mean '{nets}:Net'?"),
    "below a class": (("Zoo.smal",), "--model: {nets} has no 'Zoo.smal'; did you mean '{nets}:Zoo.small'?"),
    "function of a similar name": (("helpr",), "--model: {nets} has no 'helpr'; did you mean '{nets}:helper'?"),
    "argument given twice": (
        ("Net", "--model-arg", "channels=4", "--model-arg", "channels=5"),
        "--model-arg: must give each argument once, got 'channels=4' and 'channels=5'",
    ),
    "no network": (("number",), "--model: {nets}:number " + NO_NETWORK),
    "returns none": (("os.getpid",), "--model: {nets}:os.getpid must return an nn.Module, got an object of type int"),
    "unknown argument": (("Net", "--model-arg", "width=3"), "--model-arg: " + UNKNOWN),
    "missing argument": (("helper",), "--model-arg: " + MISSING),
    "arguments of one that is made": (
        ("made", "--model-arg", "channels=3"),
        "--model-arg: {nets}:made is a network already, and takes no arguments",
    ),
    "too few inputs": (("Two",), f"--input: forward of Two takes {TWO}, got 1 input; {REPEAT}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_target_that_is_no_network_is_refused(mnfpn: Mnfpn, name: str) -> None:
    """With place, rule and value, and nothing on standard output."""
    (attribute, *options), message = REFUSED[name]
    outcome = mnfpn("audit", "--model", f"{NETS}:{attribute}", *options, *SIZE)
    errors = [line for line in outcome.err.splitlines() if not line.startswith("hello")]
    assert (outcome.code, outcome.out) == (2, "")
    assert errors == [f"error: {message.format(nets=NETS)}"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nix_nix:Net", "error: --model: there is no module 'nix_nix' here"),
        ("os.nix:Net", "error: --model: there is no module 'os.nix' here"),
    ],
)
def test_a_module_that_is_not_there_is_reported(mnfpn: Mnfpn, target: str, message: str) -> None:
    """By its name."""
    outcome = mnfpn("audit", "--model", target)
    assert (outcome.code, outcome.err.strip()) == (2, message)


def test_a_file_that_cannot_be_read_is_an_error_of_its_own(
    mnfpn: Mnfpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one of the code in it: the option, the file, and the reason."""
    path = tmp_path / "net.py"
    path.touch()
    opened = Path.open

    def refuse(self: Path, *arguments: Any, **more: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    outcome = mnfpn("audit", "--model", f"{path}:Net")
    message = f"error: --model: '{path}' could not be read: Permission denied\n"
    assert (outcome.code, outcome.out, outcome.err) == (1, "", message)


NEAR = {
    "modell:Net": "there is no module 'modell' here; did you mean 'model.py:Net'?",
    "inner:Net": "there is no module 'inner' here; did you mean 'nets/inner.py:Net'?",
    "nets/inner:Net": "must be package.module:attribute or path/to/file.py:attribute, got 'nets/inner:Net'; "
    "did you mean 'nets/inner.py:Net'?",
    "mobilenetv2-fpn": "must be package.module:attribute or path/to/file.py:attribute, got 'mobilenetv2-fpn'; "
    "that is a --preset",
    "nets/iner.py:Net": "there is no file 'nets/iner.py'; did you mean 'nets/inner.py:Net'?",
    "torchvison.models:vit": "there is no module 'torchvison' here; did you mean 'torchvision.models:vit'?",
    "xml.dome.minidom:Net": "there is no module 'xml.dome' here; did you mean 'xml.dom.minidom:Net'?",
    "foo.modal:Net": "there is no module 'foo' here",
    "net.inner:Net": "there is no module 'net' here; did you mean 'nets/inner.py:Net'?",
    "numpi:Net": "there is no module 'numpi' here",
}


@pytest.mark.parametrize("target", NEAR)
def test_a_place_of_a_similar_name_is_offered(
    mnfpn: Mnfpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """A file, a module beside it, a known package; and nothing is offered that is not known to be there."""
    (tmp_path / "nets").mkdir()
    for name in ("model.py", "nets/inner.py"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    outcome = mnfpn("audit", "--model", target)
    assert (outcome.code, outcome.err) == (2, f"error: --model: {NEAR[target]}\n")


def test_a_known_package_that_is_missing_is_installed_by_its_name(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other names on PyPI are not known, and not made up."""
    monkeypatch.setattr("mnfpn_cli.external.target.PACKAGES", ("nix_nix",))
    assert mnfpn("audit", "--model", "nix_nix.models:Net").err.endswith(
        "no module 'nix_nix' here; pip install nix_nix\n"
    )


def test_a_syntax_error_is_reported_with_its_place(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """The file, the line, and what is in it."""
    path = tmp_path / "typo.py"
    path.write_text("import torch\n\ndef made(:\n    pass\n")
    outcome = mnfpn("audit", "--model", f"{path}:made")
    first, _, second, *shown = outcome.err.splitlines()
    assert (outcome.code, outcome.out) == (1, "")
    assert first == f"error: importing {path} failed: SyntaxError: invalid syntax ({path}, line 3)"
    assert second == f'  File "{path}", line 3'
    assert shown[0].strip() == "def made(:"


def test_colours_in_a_message_of_others_are_left_out(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Whatever a library writes into its errors."""
    path = tmp_path / "coloured.py"
    path.write_text("def made():\n    raise ValueError(chr(27) + '[96mno' + chr(27) + '[0m width')\n")
    outcome = mnfpn("audit", "--model", f"{path}:made")
    assert outcome.err.splitlines()[0] == f"error: building {path}:made failed: ValueError: no width"
    path.write_text("def made():\n    raise ValueError('\\nno width\\nat all')\n")
    outcome = mnfpn("audit", "--model", f"{path}:made")
    assert outcome.err.splitlines()[0] == f"error: building {path}:made failed: ValueError: no width"
    assert first_line(RuntimeError("\x1b[96mstep 1\x1b[0m: no\nmore")) == "step 1: no"
    assert "[96m" not in outcome.err.splitlines()[-1]


@pytest.mark.parametrize("command", ["audit", "summary", "shapes"])
@pytest.mark.parametrize(
    ("attribute", "first", "frames"),
    [
        ("fails", "building {nets}:fails failed: ValueError: no width of 1", ["fails", "helper"]),
        ("FailsInside", "running FailsInside failed: ValueError: no width of 1", ["forward", "helper"]),
        ("ends", "building {nets}:ends failed: sys.exit(4) was called", ["ends"]),
    ],
)
def test_code_that_fails_shows_its_own_frames(
    mnfpn: Mnfpn, command: str, attribute: str, first: str, frames: list[str]
) -> None:
    """Neither torch's nor ours; exit code 1."""
    outcome = mnfpn(command, "--model", f"{NETS}:{attribute}", *SIZE)
    lines = [line for line in outcome.err.splitlines() if not line.startswith("hello")]
    assert (outcome.code, outcome.out) == (1, "")
    assert lines[0] == f"error: {first.format(nets=NETS)}"
    assert [line.split(" in ")[1] for line in lines if line.startswith('  File "')] == frames
    assert all(NETS in line for line in lines if line.startswith('  File "'))


@pytest.mark.parametrize(
    ("what", "kind"), [("none", "NoneType"), ("3", "int"), ('["a"]', "list"), ("[]", "an empty list")]
)
def test_what_returns_no_tensors_is_reported(mnfpn: Mnfpn, what: str, kind: str) -> None:
    """With what it returned instead."""
    outcome = mnfpn("summary", "--model", f"{NETS}:Returns", "--model-arg", f"what={what}", *SIZE)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == f"error: Returns must return tensors, got {kind}"


def test_what_a_file_prints_does_not_break_json(mnfpn_process: Mnfpn) -> None:
    """At its import or in its forward, by Python or below it: it goes to standard error."""
    outcome = mnfpn_process("summary", "--model", f"{NETS}:Net", *SIZE, "--json")
    document = json.loads(outcome.out)
    assert document["settings"] is None
    assert document["model"] == {"target": f"{NETS}:Net", "arguments": {}}
    assert document["totals"]["parameters"] == 4 * 27 + 4
    assert {"hello from the file", "hello from below", "hello from forward"} <= set(outcome.err.splitlines())


def test_what_a_file_changes_is_put_back(mnfpn: Mnfpn) -> None:
    """Default dtype, threads, random numbers, the current folder."""
    torch.set_num_threads(2)
    torch.manual_seed(5)
    random.seed(5)
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().tolist(), random.getstate())
    folder = Path.cwd()
    try:
        assert mnfpn("audit", "--model", f"{NETS}:Net", *SIZE).code == 0
        after = (torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().tolist(), random.getstate())
        assert before == after
        assert Path.cwd() == folder
    finally:
        torch.set_num_threads(1)
        os.chdir(folder)


def test_a_network_is_made_with_arguments_and_run_on_several_inputs(mnfpn: Mnfpn) -> None:
    """A class, what is in a class, one that is made already; element types where they are said."""
    for attribute, channels in (("Net", 7), ("Zoo.small", 7), ("made", None)):
        options = ("--model-arg", f"channels={channels}") if channels else ()
        outcome = mnfpn("summary", "--model", f"{NETS}:{attribute}", *options, *SIZE, "--json")
        assert json.loads(outcome.out)["totals"]["parameters"] == (channels or 2) * 28
    two = ("--model", f"{NETS}:Two", "--input", "2x3x8x8,2x5:int64")
    document = json.loads(mnfpn("summary", *two, "--json").out)
    assert document["inputs"] == [{"shape": [2, 3, 8, 8], "dtype": None}, {"shape": [2, 5], "dtype": "int64"}]
    assert document["input"] is None
    assert document["audit"]["clean"] is True
    assert mnfpn("shapes", *two).out.splitlines()[0] == "Inputs 2×3×8×8, 2×5 int64"


def test_the_authors_mistake_is_found_by_list_and_remedy(mnfpn: Mnfpn) -> None:
    """Exit code 3; `summary` tells it too, and goes on."""
    outcome = mnfpn("audit", "--model", f"{NETS}:Listed", "--size", "64")
    assert outcome.code == 3
    lines = outcome.out.splitlines()
    assert "unregistered: self.smooth[0], self.smooth[1], self.smooth[2]: 252 parameters" in lines
    assert "  Remedy: self.smooth = nn.ModuleList(self.smooth)" in lines
    assert f"error: the audit of {NETS}:Listed has 2 findings" in outcome.err
    document = json.loads(mnfpn("audit", "--model", f"{NETS}:Listed", "--size", "64", "--json").out)
    first = document["findings"][0]
    assert (first["kind"], first["parameters"]) == ("unregistered", 252)
    assert first["paths"] == ["self.smooth[0]", "self.smooth[1]", "self.smooth[2]"]
    assert [level["stride"] for level in document["levels"]] == [1, 2, 4]
    summary = mnfpn("summary", "--model", f"{NETS}:Listed", "--size", "64")
    assert summary.code == 0
    assert "unregistered: self.smooth[0], self.smooth[1], self.smooth[2]: 252 parameters" in summary.out.splitlines()


def test_a_long_list_is_cut_on_the_screen_and_whole_in_json(mnfpn: Mnfpn) -> None:
    """Six paths, and how many more."""
    options = ("--model", f"{NETS}:Listed", "--model-arg", "count=9", "--size", "256")
    assert "self.smooth[5] and 3 more: 756 parameters" in mnfpn("audit", *options).out
    assert len(json.loads(mnfpn("audit", *options, "--json").out)["findings"][0]["paths"]) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("audit", "--model", "timm:x", "--preset", "fpnssd"), f"--preset: {BESIDE}"),
        (("summary", "--model", "timm:x", "--weights", "x.pth"), f"--weights: {BESIDE}"),
        (
            ("summary", "--model", "timm:x", "--tree"),
            "--tree: draws networks from settings, and cannot be used with --model",
        ),
        (("shapes", "--model", "timm:x", "--verify"), f"--verify: {BESIDE} and runs unchanged"),
        (("shapes", "--model", "timm:x", "--dtype", "float16"), f"--dtype: {BESIDE} and runs unchanged"),
        (("audit", "--model-arg", "a=1"), "--model-arg: requires --model"),
        (
            ("shapes", "--input", "1x3x8x8"),
            "--input: requires --model; networks from settings take --size",
        ),
        (
            ("audit", "--model", "timm:x", "--input", "1x3", "--size", "8"),
            "--size: cannot be used with --input, which already gives the shape",
        ),
        (("audit", "--model", "timm:x", "--in-channels", "0"), "--in-channels: must be 1 or more, got 0"),
        (
            ("summary", "--tree", "--json"),
            "--tree: is drawn as text only; mnfpn shapes --json has the levels as data",
        ),
        (
            ("summary", "--counts", "--format", "csv"),
            "--counts: is in text and JSON, and cannot be used with --format csv",
        ),
        (
            ("summary", "--json", "--format", "text"),
            "--json: is --format json, and cannot be used with --format text",
        ),
        (("summary", "--json", "--format", "csv"), "--json: is --format json, and cannot be used with --format csv"),
        (("summary", "--sort", "size"), "--sort: must be one of macs, parameters, activations, got 'size'"),
        (("summary", "--svg", "/nix/nix.svg"), "--svg: folder '/nix' does not exist"),
    ],
)
def test_options_that_do_not_go_together_are_refused(mnfpn: Mnfpn, arguments: tuple[str, ...], message: str) -> None:
    """Before anything is imported."""
    outcome = mnfpn(*arguments)
    assert (outcome.code, outcome.out, outcome.err.splitlines()[0]) == (2, "", f"error: {message}")


def test_shapes_that_depend_on_numbers_are_said_to(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """By `shapes` as by `audit`: in words, and in the document."""
    path = tmp_path / "keeps.py"
    path.write_text(
        "from torch import nn\n\nclass Net(nn.Conv2d):\n    def __init__(self):\n        super().__init__(3, 4, 1)\n\n"
        "    def forward(self, x):\n        y = super().forward(x)\n        return y[y > 0]\n"
    )
    shapes, audit = (
        json.loads(mnfpn(name, "--model", f"{path}:Net", *SIZE, "--json").out) for name in ("shapes", "audit")
    )
    (notes,) = [one["notes"] for one in shapes["results"]]
    assert any("depend on the values of an image" in note for note in notes)
    assert notes == audit["notes"]
    assert "depend on the values of an image" in mnfpn("shapes", "--model", f"{path}:Net", *SIZE).out


def test_torchvisions_pyramid_names_the_doubled_stride(mnfpn: Mnfpn) -> None:
    """Through `shapes`, which names both levels."""
    target = "torchvision.models.detection.backbone_utils:mobilenet_backbone"
    options = [f"--model-arg={one}" for one in ("backbone_name=mobilenet_v2", "weights=none", "fpn=true")]
    outcome = mnfpn("shapes", "--model", target, *options)
    assert outcome.code == 0
    assert "same stride: 0, 1" in outcome.out.splitlines()
    assert "  2 levels of stride 32, each 19x29: 0, 1" in outcome.out.splitlines()


def test_several_inputs_are_several_passes(mnfpn: Mnfpn) -> None:
    """Of one audit, and each a result of `shapes` and of `bench`."""
    passes = ("--model", f"{NETS}:Two", "--input", "2x3x8x8,2x5:int64", "--input", "1x3x16x16,1x5:int64")
    audit = json.loads(mnfpn("audit", *passes, "--json").out)
    assert audit["inputs"] == [{"shape": [2, 3, 8, 8], "dtype": None}, {"shape": [2, 5], "dtype": "int64"}]
    assert audit["other_passes"] == [[{"shape": [1, 3, 16, 16], "dtype": None}, {"shape": [1, 5], "dtype": "int64"}]]
    title, *_ = mnfpn("audit", *passes).out.splitlines()
    assert title == f"{NETS}:Two: Inputs 2×3×8×8, 2×5 int64; Inputs 1×3×16×16, 1×5 int64"
    shapes = json.loads(mnfpn("shapes", *passes, "--json").out)
    assert [one["inputs"][0]["shape"] for one in shapes["results"]] == [[2, 3, 8, 8], [1, 3, 16, 16]]
    one = json.loads(mnfpn("shapes", *passes, "--input", "2x3x8x8,2x5:int64", "--json").out)
    assert len(one["results"]) == 2


@pytest.mark.parametrize(
    ("arguments", "place"),
    [(("summary",), "--input: must be given once, as summary"), (("compare", "--a"), "--a: --input: must be given")],
)
def test_one_pass_is_asked_for_where_only_one_can_be_shown(
    mnfpn: Mnfpn, arguments: tuple[str, ...], place: str
) -> None:
    """The message has what the user may have meant: inputs of one pass."""
    words = ("--model", f"{NETS}:Two", "--input", "2x3x8x8", "--input", "2x5:int64")
    compare = [f"--model '{NETS}:Two' --input 2x3x8x8 --input 2x5:int64", "--b", ""]
    outcome = mnfpn(*arguments, *(words if arguments == ("summary",) else compare))
    assert (outcome.code, outcome.out) == (2, "")
    assert f"error: {place}" in outcome.err
    assert "separate the inputs of a pass by commas, as --input 2x3x8x8,2x5:int64" in outcome.err
