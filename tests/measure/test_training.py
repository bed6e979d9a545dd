"""A step of training: what it computes, and what it leaves."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.network.network import build_network
from mnfpn_cli.runtimes.runtime import training_step
from tests.export.networks import SMALL


def images(*shape: int) -> torch.Tensor:
    """Images of values from 0 to 1, the same every time."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_a_step_updates_every_weight_and_batch_norms_statistics() -> None:
    """The loss is the sum over the outputs of the mean of squares.

    The rate is so low that a batch norm's scale of 1 may be rounded to what it was.
    """
    network, other = build_network(SMALL), build_network(SMALL).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loss = training_step(network, (images(2, 3, 32, 48),))()
    expected = sum((output**2).mean() for output in other(images(2, 3, 32, 48)))
    torch.testing.assert_close(loss, expected)
    assert not loss.requires_grad
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    same = {name for name, tensor in network.state_dict().items() if torch.equal(tensor, before[name])}
    assert {name.rpartition(".")[2] for name in same} <= {"weight"}
    assert not same & {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def test_the_loss_falls_slowly_and_for_long() -> None:
    """Hundreds of steps are the same work: nothing overflows, nothing is learnt down to zeros."""
    step = training_step(build_network(SMALL), (images(2, 3, 8, 8),))
    losses = [step().item() for _ in range(300)]
    assert all(later < earlier for earlier, later in pairwise(losses[::50]))
    assert losses[-1] > losses[0] / 2


def test_gradients_do_not_add_up() -> None:
    """Each step has its own."""
    network = build_network(SMALL)
    step = training_step(network, (images(2, 3, 32, 48),))
    step()
    first = network.stem.get_parameter("conv.weight").grad
    step()
    second = network.stem.get_parameter("conv.weight").grad
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-3)


def test_one_value_a_channel_is_too_few_for_batch_norm() -> None:
    """Torch refuses to train on it; here that is an error in words."""
    training_step(build_network(SMALL), (images(1, 3, 16, 16),))()
    with pytest.raises(MnfpnError, match=r"^cannot be trained on \(1, 3, 8, 8\): Expected more than 1 value"):
        training_step(build_network(SMALL), (images(1, 3, 8, 8),))()
