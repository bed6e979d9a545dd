"""Decoding is torchvision's to the last digit; suppression is the plain greedy definition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mnfpn_cli.detection import boxes as ours
from mnfpn_cli.detection.boxes import BLOCK, clip, decode_distances, decode_offsets, overlaps, suppress

pytest.importorskip("torchvision")

from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder
from torchvision.ops import box_iou, clip_boxes_to_image


def random_boxes(number: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Boxes (number, 4) with sides of 1 to 100 pixels."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(number, 2, generator=generator, dtype=dtype) * 200
    return torch.cat([low, low + 1 + 99 * torch.rand(number, 2, generator=generator, dtype=dtype)], dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (10.0, 5.0)])
def test_offsets_are_decoded_as_torchvision_does(weights: tuple[float, float], dtype: torch.dtype) -> None:
    """Offsets so large that their exponential is limited, too."""
    anchors = random_boxes(100, dtype=dtype)
    offsets = torch.randn(100, 4, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 10
    middle, side = weights
    expected = BoxCoder((middle, middle, side, side)).decode_single(offsets, anchors)
    assert torch.equal(decode_offsets(offsets, anchors, ours.CoderWeights(*weights)), expected)
    assert offsets.max() / side > ours.MAX_LOG_RATIO / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_are_decoded_as_torchvision_does(dtype: torch.dtype) -> None:
    """In sides of the anchor, from its middle."""
    anchors = random_boxes(100, dtype=dtype)
    distances = torch.rand(100, 4, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 5
    assert torch.equal(decode_distances(distances, anchors), BoxLinearCoder(True).decode(distances, anchors))


def test_boxes_end_at_the_image_and_overlap_as_in_torchvision() -> None:
    """Height comes first, as in torchvision; an overlap of boxes without an area is not a number, as there."""
    boxes = random_boxes(50) - 40
    assert torch.equal(clip(boxes, 80, 120), clip_boxes_to_image(boxes, (80, 120)))
    torch.testing.assert_close(overlaps(boxes[:20], boxes), box_iou(boxes[:20], boxes), rtol=1e-6, atol=0)
    flat = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    assert overlaps(flat, flat).isnan().all()


def greedy(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> list[int]:
    """Choose boxes one by one, the best first, unless a chosen one of the group overlaps: the definition."""
    table, chosen = box_iou(boxes, boxes) > threshold, list[int]()
    for index in scores.argsort(descending=True, stable=True).tolist():
        if not any(table[index, other] and groups[index] == groups[other] for other in chosen):
            chosen.append(index)
    return chosen


@given(
    st.integers(0, 60),
    st.integers(0, 2**16),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_suppression_is_greedy_within_each_group(
    number: int, seed: int, threshold: float, groups: int, most: int
) -> None:
    """Boxes without an area, equal boxes and equal scores too; the first boxes chosen are the same where few are."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 8, (number, 2, 2), generator=generator).double()
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    scores = torch.randint(0, 9, (number,), generator=generator) / 9
    labels = torch.randint(0, groups, (number,), generator=generator)
    expected = greedy(boxes, scores, labels, threshold)
    assert suppress(boxes, scores, labels, threshold).tolist() == expected
    assert suppress(boxes, scores, labels, threshold, most).tolist() == expected[:most]


def test_boxes_of_one_block_suppress_those_of_the_next() -> None:
    """More boxes than a block holds, and chains of boxes of which each overlaps only the next."""
    number = 2 * BLOCK + 50
    boxes = random_boxes(number, dtype=torch.float64)
    boxes[: number // 2, :2] = torch.arange(number // 2)[:, None].double()
    boxes[: number // 2, 2:] = boxes[: number // 2, :2] + 4
    scores = torch.linspace(1, 0, number, dtype=torch.float64)[torch.arange(number).sort().indices]
    labels = torch.zeros(number, dtype=torch.int64)
    chosen = suppress(boxes, scores, labels, 0.3).tolist()
    assert chosen == greedy(boxes, scores, labels, 0.3)
    assert len(chosen) < number - BLOCK
    assert suppress(boxes, scores, None, 0.3).tolist() == chosen
