"""A step of training, for its cost alone: there is nothing to learn."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError, first_line
from mnfpn_cli.measure.runtime import as_tensors

LEARNING_RATE = 1e-6
MOMENTUM = 0.9


def training_step(
    network: nn.Module, inputs: Sequence[Tensor], forward: Callable[..., Any] | None = None
) -> Callable[[], Tensor]:
    """A step that can be taken again and again: forward, backward, and an update of the weights by SGD with momentum.

    The loss is the sum of the outputs' mean squares, in float32: it draws outputs towards zero, slowly enough that
    thousands of steps neither overflow nor end in zeros. Outputs of whole numbers have no gradient, and no part in it.

    Args:
        network: is put into training mode; its weights change with every step.
        inputs: of a pass, on the network's device and in its dtype: images (n, in_channels, h, w), as a rule.
        forward: what computes the network's outputs, where that is not the network itself.

    Raises:
        MnfpnError: from the step, where batch norm has but one value a channel to normalise, or there is no output
            to train on.
    """
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    compute = forward or network

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        try:
            outputs = [output for output in as_tensors(compute(*inputs)) if output.is_floating_point()]
        except ValueError as error:  # batch norm's, of a map of one cell and a batch of one
            shapes = ", ".join(str(tuple(one.shape)) for one in inputs)
            raise MnfpnError(f"cannot be trained on {shapes}: {first_line(error)}") from error
        if not outputs:
            raise MnfpnError("cannot be trained: none of its outputs is of floating-point numbers")
        loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step
