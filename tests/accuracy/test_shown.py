"""Known accuracy stands beside the network: in the tables, and in the documents."""

import json

import pytest

from tests.conftest import Mnfpn


def summary(mnfpn: Mnfpn, *arguments: str) -> tuple[dict[str, object] | None, str]:
    """The accuracy in the document of a summary, and the lines of its text that name it."""
    document = mnfpn("summary", "--no-audit", *arguments, "--json")
    text = mnfpn("summary", "--no-audit", *arguments)
    assert (document.code, text.code) == (0, 0)
    lines = [line for line in text.out.splitlines() if "ImageNet" in line or "COCO" in line]
    return json.loads(document.out)["accuracy"], "\n".join(lines)


def test_a_summary_names_a_published_score(mnfpn: Mnfpn) -> None:
    """With its source."""
    found, line = summary(mnfpn, "--preset", "mobilenetv2-classifier", "--size", "224")
    assert found
    assert (found["metric"], found["value"], found["kind"], found["error"]) == (
        "imagenet-top1",
        71.8,
        "published",
        None,
    )
    assert line == f"ImageNet top-1 71.8 % (published: {found['source']})."


def test_a_summary_names_the_error_of_an_estimate(mnfpn: Mnfpn) -> None:
    """And what it was made of."""
    arguments = ("--preset", "mobilenetv2-keras", "--width-mult", "0.6", "--size", "200")
    found, line = summary(mnfpn, *arguments)
    assert found
    assert found["kind"] == "estimated"
    assert line == f"ImageNet top-1 66.5 ± 0.7 % (estimated: {found['source']})."


@pytest.mark.parametrize(
    "arguments",
    [
        ("--preset", "mobilenetv2-classifier", "--size", "600x900"),
        ("--size", "224"),
        ("--model", "torch.nn:Identity", "--size", "224"),
    ],
    ids=" ".join,
)
def test_a_summary_of_another_network_has_no_accuracy(mnfpn: Mnfpn, arguments: tuple[str, ...]) -> None:
    """Another size, a pyramid, a module of others."""
    assert summary(mnfpn, *arguments) == (None, "")


def test_presets_have_a_line_of_what_was_published(mnfpn: Mnfpn) -> None:
    """Below their description."""
    lines = [" ".join(line.split()) for line in mnfpn("settings", "presets").out.splitlines()]
    at = next(index for index, line in enumerate(lines) if line.startswith("mobilenetv2-fpnlite "))
    assert lines[at + 1] == "Published: COCO mAP 22.2 % at 320, 28.2 % at 640."
    assert sum(line.startswith("Published: ") for line in lines) == 3
