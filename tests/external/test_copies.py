"""Networks are copied whole, also those that Python's `deepcopy` refuses."""

import copyreg
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Lock, RLock
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from mnfpn_cli.external.copies import copy_network

BEFORE = Tensor.__deepcopy__


def pruned() -> nn.Module:
    """A layer whose weight is a product, made anew before each pass."""
    layer = nn.Conv2d(3, 4, 3)
    prune.l1_unstructured(layer, "weight", 0.5)  # type: ignore[no-untyped-call]
    return layer


def remembering() -> nn.Module:
    """A layer that keeps what it returned."""
    layer, kept = nn.Conv2d(3, 4, 3), []

    def keep(_module: nn.Module, _args: object, output: Tensor) -> None:
        kept.append(output)

    layer.register_forward_hook(keep)
    layer.kept = kept  # type: ignore[assignment]
    layer(torch.rand(1, 3, 8, 8))
    return layer


def locked() -> nn.Module:
    """A layer with locks."""
    layer = nn.Conv2d(3, 4, 3)
    layer.locks = [Lock(), RLock(), Condition()]  # type: ignore[assignment]
    return layer


@pytest.mark.parametrize("make", [pruned, remembering, locked])
def test_a_copy_computes_the_same_and_shares_nothing(make: type) -> None:
    """Changes of its weights are not the network's; what copies elsewhere do is as before."""
    network, images = make(), torch.rand(1, 3, 8, 8)
    expected = network(images)
    copied = copy_network(network)
    assert torch.equal(copied(images), expected)
    with torch.no_grad():
        for tensor in copied.state_dict().values():
            tensor.zero_()
    assert torch.equal(network(images), expected)
    assert not copied(images).any()
    assert Tensor.__deepcopy__ is BEFORE
    assert type(Lock()) not in copyreg.dispatch_table


def test_a_view_of_a_weight_stays_one() -> None:
    """Of the weight of the copy."""
    network: Any = nn.Linear(3, 4)
    network.turned = network.weight.t()
    copied = copy_network(network)
    with torch.no_grad():
        copied.weight.zero_()
    assert copied.turned.shape == (3, 4)
    assert not copied.turned.any()
    assert network.turned.any()


def test_conditions_of_a_copy_can_be_used() -> None:
    """They have a lock of their own."""
    network: Any = copy_network(locked())
    condition = network.locks[2]
    with condition:
        condition.notify()


def test_threads_copy_at_once() -> None:
    """What copies elsewhere do is as before when the last one is done."""
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: copy_network(pruned()), range(40)))) == 40
    assert Tensor.__deepcopy__ is BEFORE
    assert type(Lock()) not in copyreg.dispatch_table
