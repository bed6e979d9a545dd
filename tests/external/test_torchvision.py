"""Torchvision's operators in plain torch, for where its own library does not load."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mnfpn_cli.external.torchvision import nms

pytest.importorskip("torchvision")

from torchvision.ops import box_iou


@given(st.integers(0, 30), st.integers(0, 2**16), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_boxes_are_kept_that_no_better_one_overlaps(number: int, seed: int, threshold: float) -> None:
    """The best first; what is not kept overlaps a better one that is. Boxes without an area stay, as in torchvision."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 8, (number, 2, 2), generator=generator).float()
    boxes, scores = torch.cat([corners.amin(1), corners.amax(1)], 1), torch.rand(number, generator=generator)
    kept = nms(boxes, scores, threshold)
    overlaps = box_iou(boxes, boxes) > threshold
    expected: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if not overlaps[index, expected].any():
            expected.append(index)
    assert (kept.dtype, kept.tolist()) == (torch.int64, expected)


def test_regions_are_resampled_with_their_gradient() -> None:
    """A map that rises evenly gives the middles of the cells; and gradients are those of small differences."""
    rising = torch.arange(8.0, dtype=torch.float64).expand(1, 1, 8, 8)
    regions = torch.tensor([[0.0, 1.0, 1.0, 5.0, 5.0]], dtype=torch.float64)

    def aligned(x: Tensor) -> Tensor:
        found: Tensor = torch.ops.torchvision.roi_align(x, regions, 1.0, 2, 2, 2, True)
        return found

    assert aligned(rising).tolist() == [[[[1.5, 3.5], [1.5, 3.5]]]]
    x = torch.rand(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(aligned, x)
