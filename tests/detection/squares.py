"""A detector of squares, trained for a few steps: images, targets, settings, weights."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from mnfpn_cli.api import detector, settings
from mnfpn_cli.settings.network import NetworkSettings

SETTINGS: dict[str, Any] = {
    "width_mult": 0.1,
    "stages": [[1, 16, 1, 1], [3, 24, 1, 2], [3, 32, 1, 2], [3, 48, 1, 2]],
    "pyramid": {"channels": 16, "levels": "p3-p4"},
    "head": {"kind": "ssd", "classes": 2, "depth": 1},
    "preprocess": {"mean": [0.5], "std": [0.5]},
    "postprocess": {"score_threshold": 0.5},
}
SIDE = 64
"""Height and width of the images that it is trained on."""

GREY, RED = (51, 51, 51), (230, 77, 51)
"""The colours of an image and of a square."""


def network_settings() -> NetworkSettings:
    """The settings of the detector."""
    return settings(config=SETTINGS)


def with_squares(height: int, width: int, *squares: tuple[int, int, int, int]) -> Tensor:
    """An image (3, height, width) with red rectangles: left, top, right, bottom."""
    image = torch.tensor(GREY)[:, None, None].expand(3, height, width).clone()
    for left, top, right, bottom in squares:
        image[:, top:bottom, left:right] = torch.tensor(RED)[:, None, None]
    return image / 255


@cache
def trained() -> dict[str, Tensor]:
    """The state dict of torchvision's SSD on our network after 80 steps; torch's own generator is left as it was."""
    generator = torch.Generator().manual_seed(0)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    model = detector(network_settings(), size=SIDE).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(80):
        images, targets = [], []
        for _ in range(8):
            side = number(20, 33)
            left, top = number(0, SIDE - side), number(0, SIDE - side)
            box = (left, top, left + side, top + side)
            images.append(with_squares(SIDE, SIDE, box))
            targets.append({"boxes": torch.tensor([box], dtype=torch.float32), "labels": torch.tensor([1])})
        losses = model(images, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    state: dict[str, Tensor] = model.state_dict()
    return state
