"""Detectors on the command line: their boxes depend on numbers, they want targets in training, and find nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.external.torchvision import DECLARED
from tests.conftest import Mnfpn

pytest.importorskip("torchvision")

DETECTORS = str(Path(__file__).parent.parent / "external" / "detectors.py")
ZOO = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "keypointrcnn_resnet50_fpn",
)
UNTRAINED = ("weights=none", "weights_backbone=none")


Document = dict[str, Any]


def documents(mnfpn: Mnfpn, *model: str) -> tuple[Document, Document, Document]:
    """What the three commands give, each with exit code 0."""
    made = []
    for command, options in (("audit", ()), ("summary", ()), ("bench", ("--passes", "1", "--warmup", "0"))):
        outcome = mnfpn(command, "--model", *model, *options, "--json")
        assert outcome.code == 0, outcome.err
        made.append(json.loads(outcome.out))
    audit, summary, bench = made
    return audit, summary, bench


def check(audit: Document, summary: Document, bench: Document, proposes: bool) -> None:
    """A healthy detector is accused of nothing; that what proposes regions is trained cannot be seen, and is said."""
    assert (audit["findings"], audit["mode"]) == ([], "real")
    assert any("depend on the values of an image" in note for note in audit["notes"])
    open_ends = [note for note in audit["notes"] if note.startswith("Whether ")]
    assert len(open_ends) == proposes
    assert all("rpn.head" in note for note in open_ends)
    assert summary["totals"]["parameters"] == bench["cost"]["parameters"]
    assert summary["memory"]["model_bytes"] == bench["cost"]["model_bytes"]
    assert bench["failures"] == []
    assert len(bench["runs"]) == 1


def test_a_detector_that_proposes_regions_is_audited_summarised_and_timed(mnfpn: Mnfpn) -> None:
    """On a backbone of ours; a warning says where its time is not torchvision's own."""
    audit, summary, bench = documents(mnfpn, f"{DETECTORS}:faster_rcnn", "--size", "64")
    check(audit, summary, bench, proposes=True)
    causes = [one["cause"] for one in bench["warnings"] if one["kind"] == "plain_operators"]
    assert len(causes) == bool(DECLARED)
    assert all("nms, roi_align of torchvision ran in plain torch" in cause for cause in causes)


@pytest.mark.slow
def test_the_readmes_detector_is_audited_summarised_and_timed(mnfpn: Mnfpn) -> None:
    """A RetinaNet."""
    check(*documents(mnfpn, f"{DETECTORS}:retinanet", "--size", "64"), proposes=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_each_detector_of_torchvision_is_audited_summarised_and_timed(mnfpn: Mnfpn, name: str) -> None:
    """With random weights; on images that it does not enlarge to its usual 800 pixels, and of few regions."""
    fewer: tuple[str, ...] = () if name.startswith("ssd") else ("min_size=64", "max_size=64")
    fewer += ("rpn_post_nms_top_n_test=20",) if "rcnn" in name else ()
    options = [word for argument in (*UNTRAINED, *fewer) for word in ("--model-arg", argument)]
    model = (f"torchvision.models.detection:{name}", *options, "--size", "128x128")
    check(*documents(mnfpn, *model), proposes="rcnn" in name)
