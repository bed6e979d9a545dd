"""A step of training, for its cost alone: there is nothing to learn."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.devices import first_line
from mnfpn_cli.measure.runtime import as_tensors

LEARNING_RATE = 1e-6
MOMENTUM = 0.9


def training_step(
    network: nn.Module, images: Tensor, forward: Callable[[Tensor], Any] | None = None
) -> Callable[[], Tensor]:
    """A step that can be taken again and again: forward, backward, and an update of the weights by SGD with momentum.

    The loss is the sum of the outputs' mean squares, in float32: it draws outputs towards zero, slowly enough that
    thousands of steps neither overflow nor end in zeros.

    Args:
        network: is put into training mode; its weights change with every step.
        images: (n, in_channels, h, w), on the network's device and in its dtype.
        forward: what computes the network's outputs, where that is not the network itself.

    Raises:
        MnfpnError: from the step, where batch norm has but one value a channel to normalise.
    """
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    compute = forward or network

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        try:
            outputs = as_tensors(compute(images))
        except ValueError as error:  # batch norm's, of a map of one cell and a batch of one
            raise MnfpnError(f"cannot be trained on {tuple(images.shape)}: {first_line(error)}") from error
        loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step
