"""`mnfpn detect`: boxes in image files, of a detector that was trained in the test."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mnfpn_cli import api
from mnfpn_cli.documents.detect import DetectDocument
from mnfpn_cli.errors import UsageError
from tests.conftest import Mnfpn, Outcome
from tests.detection import squares

pytest.importorskip("torchvision")
pytest.importorskip("PIL")

from PIL import Image

ONE, TWO = [(12, 14, 40, 42)], [(4, 6, 30, 32), (34, 36, 62, 62)]


def write(name: str, *boxes: tuple[int, int, int, int], height: int = 64, width: int = 64) -> None:
    """Write an image with red rectangles."""
    pixels = (squares.with_squares(height, width, *boxes) * 255).round().byte()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(name)


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.json").write_text(json.dumps(squares.SETTINGS))
    torch.save(squares.trained(), "net.pth")
    write("one.png", *ONE)
    write("two.png", *TWO)
    write("none.png")


@pytest.fixture
def detect(mnfpn: Mnfpn) -> Mnfpn:
    """Run the command with the trained detector."""

    def call(*arguments: str) -> Outcome:
        return mnfpn("detect", "--config", "net.json", "--weights", "net.pth", "--size", "64", *arguments)

    return call


def test_another_threshold_is_no_other_network(mnfpn: Mnfpn) -> None:
    """A checkpoint that carries its settings is not said to be of others."""
    words = ("--config", "net.json", "--size", "64")
    assert (
        mnfpn("export", *words, "--weights", "net.pth", "--format", "safetensors", "--output", "net.safetensors").code
        == 0
    )
    outcome = mnfpn("detect", "one.png", *words, "--weights", "net.safetensors", "--score-threshold", "0.9")
    assert outcome.code == 0
    assert "differ" not in outcome.out
    others = mnfpn("detect", "one.png", *words, "--weights", "net.safetensors", "--set", "preprocess.mean=[0.4]")
    assert "Made with settings that differ from these in preprocess.mean." in others.out


def test_bench_makes_boxes_of_an_image(mnfpn: Mnfpn) -> None:
    """As many as are found in it, for each image of the batch; the document names the file."""
    words = ("--config", "net.json", "--weights", "net.pth", "--size", "64", "--passes", "2", "--device", "cpu")
    outcome = mnfpn("bench", *words, "--postprocess", "--image", "two.png", "--batch", "3", "--json")
    (record,) = json.loads(outcome.out)["postprocess"]
    assert (record["measured_on"], record["boxes"], record["batch"]) == ("two.png", 6, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--image", "two.png"), "--image: requires --postprocess"),
        (("--postprocess", "--image", "two.png"), "--image: requires --weights"),
        (("--postprocess", "--weights", "net.pth", "--image", "net.json"), "net.json: must be an image"),
        (("--postprocess", "--weights", "net.pth", "--image", "lost.png"), "lost.png: no such file"),
    ],
)
def test_bench_refuses_an_image_that_it_cannot_use(mnfpn: Mnfpn, words: tuple[str, ...], message: str) -> None:
    """Before anything is timed."""
    outcome = mnfpn("bench", "--config", "net.json", "--size", "64", "--device", "cpu", *words)
    assert (outcome.out, outcome.code in (1, 2)) == ("", True)
    assert message in outcome.err


def overlap(found: dict[str, float], box: tuple[float, float, float, float]) -> float:
    """The overlap of a box of the document with another one."""
    from mnfpn_cli.detection.boxes import overlaps

    corners = [found[side] for side in ("left", "top", "right", "bottom")]
    return float(overlaps(torch.tensor([corners]), torch.tensor([box])))


def found_in(outcome: Outcome) -> list[dict[str, Any]]:
    """The images of a document."""
    assert (outcome.code, outcome.err) == (0, "")
    images: list[dict[str, Any]] = json.loads(outcome.out)["images"]
    return images


def test_it_finds_the_squares(detect: Mnfpn) -> None:
    """One in the first image, two in the second, none in the third: label, score, and where they are."""
    one, two, none = found_in(detect("one.png", "two.png", "none.png", "--json"))
    (box,) = one["boxes"]
    assert (box["label"], one["height"], one["width"], one["file"]) == (1, 64, 64, "one.png")
    assert box["score"] > 0.8
    assert overlap(box, ONE[0]) > 0.6
    assert [max(overlap(box, square) for box in two["boxes"]) > 0.5 for square in TWO] == [True, True]
    assert none["boxes"] == []
    assert min(one["network_s"], one["postprocess_s"]) > 0


def test_boxes_are_in_pixels_of_the_image(detect: Mnfpn) -> None:
    """An image four times as large has the box at four times the place; so has a stretched one."""
    left, top, right, bottom = ONE[0]
    write("large.png", (4 * left, 4 * top, 4 * right, 4 * bottom), height=256, width=256)
    write("wide.png", (3 * left, top, 3 * right, bottom), height=64, width=192)
    large, wide = found_in(detect("large.png", "wide.png", "--json"))
    assert overlap(large["boxes"][0], (4 * left, 4 * top, 4 * right, 4 * bottom)) > 0.6
    assert overlap(wide["boxes"][0], (3 * left, top, 3 * right, bottom)) > 0.6
    assert (wide["width"], wide["resized"]) == (192, {"height": 64, "width": 64})


def test_the_table_has_a_row_for_each_box(detect: Mnfpn) -> None:
    """And says where there is none; of many boxes it shows the best."""
    lines = detect("one.png", "none.png").out.split("\n")
    assert lines[0].startswith("Weights of net.pth: ")
    assert lines[2] == "one.png (64×64)"
    assert lines[3].split() == ["Label", "Score", "Left", "Top", "Right", "Bottom"]
    assert lines[4].split()[0] == "1"
    assert lines[6] == "none.png (64×64): no box has a score above 50 %."
    (all_boxes,) = found_in(detect("one.png", "--score-threshold", "0", "--json"))
    number = len(all_boxes["boxes"]) - 20
    assert number > 20
    assert f"and {number} with lower scores, which JSON has." in detect("one.png", "--score-threshold", "0").out


def test_boxes_are_drawn_on_the_images(detect: Mnfpn) -> None:
    """In a folder that is made, an image each, whose pixels differ from the image's where a box is."""
    (one,) = found_in(detect("one.png", "--output", "boxes", "--json"))
    assert one["picture"] == str(Path("boxes") / "one.png")
    assert [path.name for path in Path("boxes").iterdir()] == ["one.png"]
    before, after = (Image.open(name).convert("RGB") for name in ("one.png", one["picture"]))
    assert before.size == after.size
    x, y = round(one["boxes"][0]["left"]), round(one["boxes"][0]["bottom"]) - 3
    assert before.getpixel((x, y)) != after.getpixel((x, y))
    assert after.getpixel((60, 60)) == squares.GREY


def test_the_rows_of_the_document_are_the_boxes() -> None:
    """From Python, too: the same document, which prints as the table."""
    document = api.detect(squares.network_settings(), ["two.png", "none.png"], "net.pth", size=64)
    assert isinstance(document, DetectDocument)
    assert str(document).startswith("Weights of net.pth")
    pytest.importorskip("pandas")
    frame = document.to_pandas()
    assert list(frame.columns) == ["file", "label", "score", "left", "top", "right", "bottom"]
    assert list(frame["file"]) == ["two.png"] * len(document.images[0].boxes)
    empty = api.detect(squares.network_settings(), "none.png", "net.pth", size=64).to_pandas()
    assert list(empty.columns) == list(frame.columns)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["one.png", "text.png"], 2, "text.png: must be an image, as PNG or JPEG, but Pillow knows no such format"),
        (["one.png", "gone.png"], 2, "gone.png: no such file"),
        (["one.png", "."], 2, ".: must be a file, but it is a folder"),
        (["one.png", "--set", "head.kind=none"], 2, "head.kind: must be one that detects: "),
        (["one.png", "--set", "head.classes=5"], 2, "net.pth: must have this network's shapes"),
        (["one.png", "--score-threshold", "2"], 2, "--score-threshold: must be 0 or more and less than 100%"),
        (["one.png", "--output", "net.pth"], 2, "--output: must be a folder, got 'net.pth'"),
        (["one.png", "--output", "no/boxes"], 2, "--output: folder '"),
        (["one.png", "--output", "."], 2, "--output: must not be where it replaces an image that is read: 'one.png'"),
        (
            ["one.png", "of/one.png", "--output", "boxes"],
            2,
            "--output: must have a file of its own for each image, but 'one.png' and 'of/one.png' would both be drawn",
        ),
    ],
)
def test_wrong_input_leaves_nothing_half_done(detect: Mnfpn, arguments: list[str], code: int, message: str) -> None:
    """Where, rule and value, before any image is worked on: no folder and no picture is made."""
    Path("text.png").write_text("no image")
    Path("of").mkdir()
    write("of/one.png")
    before = sorted(map(str, Path().rglob("*")))
    outcome = detect(*arguments, *(() if "--output" in arguments else ("--output", "boxes")))
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(f"error: {message}")
    assert sorted(map(str, Path().rglob("*"))) == before


def test_weights_are_needed(mnfpn: Mnfpn) -> None:
    """A network with random weights would find random boxes."""
    outcome = mnfpn("detect", "one.png", "--config", "net.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: --weights: must be given: only a trained network finds objects\n"


def test_from_python_an_image_is_needed() -> None:
    """An empty list of images is a mistake."""
    with pytest.raises(UsageError, match=r"^images: must be one image or more, got none$"):
        api.detect(squares.network_settings(), [], "net.pth")
