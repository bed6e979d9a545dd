"""The planned memory is that of a real pass, to the byte."""

import weakref
from typing import Any

import torch
from hypothesis import given
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnfpn_cli.bench.workload import model_bytes
from mnfpn_cli.network.network import build_meta, build_network
from mnfpn_cli.plan.cost import activation_bytes, memory_needed, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import ITEM_BYTES, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.audit.traced import tree_of
from tests.strategies import settings_and_size
from tests.tiers import at_most


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of the live storages after each operation."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __init__(self, image: torch.Tensor, weights: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = weights
        self.seen = [weakref.ref(image)]
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, and update the peak of the live bytes."""
        result = func(*args, **(kwargs or {}))
        self.seen += [weakref.ref(leaf) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        alive = [tensor for ref in self.seen if (tensor := ref()) is not None]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in alive}
        self.peak = max(self.peak, sum(size for where, size in storages.items() if where not in self.weights))
        self.seen = [weakref.ref(tensor) for tensor in alive]
        return result


def real_peak(network_settings: NetworkSettings, input: NetworkInput) -> int:
    """The most bytes of activations alive at one time in a real pass."""
    network, image = build_network(network_settings), torch.zeros(input.shape)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    with torch.no_grad(), LiveTensors(image, weights) as live:
        network(image)
    return int(live.peak)


@at_most(30)
@given(settings_and_size())
def test_peak_activations_are_those_of_a_real_pass(case: tuple[NetworkSettings, Size]) -> None:
    """To the byte, for two images."""
    network_settings, size = case
    input = network_input(network_settings, size, batch=2)
    assert activation_bytes(plan_network(network_settings), input, "float32") == real_peak(network_settings, input)


def test_the_peak_of_a_wide_pyramid_is_in_the_pyramid() -> None:
    """Most random networks have their peak in the backbone; this one has it in the pyramid, with each smoothing."""
    for smooth in ("conv", "separable", "none"):
        values = {"stages": [(1, 8, 1, 2), (1, 8, 1, 2)], "pyramid": {"channels": 96, "smooth": smooth}}
        network_settings = NetworkSettings.model_validate(values)
        input = network_input(network_settings, Size(40, 56))
        planned = activation_bytes(plan_network(network_settings), input, "float32")
        assert planned == real_peak(network_settings, input)


def test_float64_beside_float32_keeps_its_size() -> None:
    """As its values do; in half precision it is converted, and so is a network all in float64."""
    mixed = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False).double())
    assert model_bytes(mixed, "float32") == 1200
    assert model_bytes(mixed, "bfloat16") == 400
    assert model_bytes(mixed.double(), "float32") == 800


@given(settings_and_size())
def test_weights_are_the_state_of_the_real_network(case: tuple[NetworkSettings, Size]) -> None:
    """To the byte in each dtype, with batch norm's counters; `summary` and `bench` report the same."""
    network_settings, size = case
    plan, input = plan_network(network_settings), network_input(network_settings, size)
    network = build_meta(plan)
    assert tree_of(network, input.shape).state_bytes == network_cost(plan, size).state_bytes("float32")
    for dtype in ITEM_BYTES:
        weights = network_cost(plan, size).state_bytes(dtype)
        assert model_bytes(network, dtype) == weights
        assert memory_needed(plan, input, dtype) == weights + activation_bytes(plan, input, dtype)
        if dtype == "int8":  # torch's own layers have none: one byte less for each element than in bfloat16
            state = (*network.parameters(), *network.buffers())
            elements = sum(one.numel() for one in state if one.is_floating_point())
            assert weights == network_cost(plan, size).state_bytes("bfloat16") - elements
            continue
        cast = build_meta(plan).to(getattr(torch, dtype))
        assert sum(one.nbytes for one in (*cast.parameters(), *cast.buffers())) == weights


def test_memory_needed_follows_the_element_type() -> None:
    """Half the bytes per element, half the memory, except for the counters of 51 batch norms, which are int64."""
    plan, input = plan_network(NetworkSettings()), network_input(NetworkSettings(), Size(600, 900))
    weights = 4 * (4_293_888 + 31_552) + 51 * 8
    assert memory_needed(plan, input, "float32") == weights + activation_bytes(plan, input, "float32")
    assert memory_needed(plan, input, "bfloat16") * 2 == memory_needed(plan, input, "float32") + 51 * 8
