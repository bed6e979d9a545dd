"""Small networks, healthy and with one mistake each, for the tests of allowances, formats and assertions."""

import torch
from torch import Tensor, nn


class Healthy(nn.Module):
    """A convolution, and nothing wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Run the stem."""
        return torch.relu(self.stem(image))


class Listed(nn.Module):
    """The original author's mistake: layers in a Python list, which nothing registers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.smooth = [nn.Conv2d(8, 8, 3, 1, 1) for _ in range(2)]

    def forward(self, image: Tensor) -> Tensor:
        """Run the stem, then each layer of the list."""
        image = self.stem(image)
        for layer in self.smooth:
            image = layer(image)
        return image


class Tied(nn.Module):
    """One convolution at two places of the head, and once more in the neck where that is asked for."""

    def __init__(self, neck: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        shared = nn.Conv2d(8, 8, 1)
        self.head = nn.ModuleList([shared, shared])
        if neck:
            self.neck = shared

    def forward(self, image: Tensor) -> Tensor:
        """Run the stem and the head."""
        image = self.stem(image)
        for layer in self.head:
            image = layer(image)
        return image


class Idle(nn.Module):
    """Two branches that no forward calls."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.aux1 = nn.Conv2d(8, 8, 1)
        self.aux2 = nn.Conv2d(8, 8, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Run the stem alone."""
        result: Tensor = self.stem(image)
        return result
