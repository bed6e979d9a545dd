"""Every system that the project descends from: built, its state dict mapped onto ours, and equal number for number."""

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from mnfpn_cli.bench.workload import count_with_fvcore
from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.checkpoint import Checkpoint
from mnfpn_cli.weights.load import load_weights
from tests.golden.cases import CASES, GOLDEN, Case
from tests.golden.fill import uniform, value

TOLERANCE = 1e-9
"""Of an output's largest absolute value."""


def state_dict(reference: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of a reference under its own keys, each a pure function of its key."""
    entries = ((key, tuple(shape)) for key, shape in reference["state_dict"])
    return {key: torch.from_numpy(value(key, shape)) if shape else torch.tensor(0) for key, shape in entries}


def outputs_of(network: Network, case: Case, images: Tensor) -> list[Tensor]:
    """The features that a reference holds, and what comes out, in the reference's order."""
    seen: list[Tensor] = []
    hooks = [
        network.get_submodule(path).register_forward_hook(lambda _module, _x, y: seen.append(y))
        for path in case.features
    ]
    with torch.inference_mode():
        out = network(images)
    for hook in hooks:
        hook.remove()
    last = [out] if isinstance(out, Tensor) else list(out)
    return seen + (last[::-1] if case.backwards else last)


def furthest(output: Tensor, expected: dict[str, Any]) -> float:
    """The largest difference of samples, mean, standard deviation and maximum, over the largest absolute value."""
    pairs = [(output.flatten()[index].item(), sample) for index, sample in expected["samples"]]
    pairs += [(output.mean().item(), expected["mean"]), (output.std(correction=0).item(), expected["std"])]
    pairs += [(output.abs().max().item(), expected["absmax"])]
    largest: float = max(abs(ours - theirs) for ours, theirs in pairs) / expected["absmax"]
    return largest


class Equal(NamedTuple):
    """A reference, and our network with its weights, in float64."""

    case: Case
    reference: dict[str, Any]
    settings: NetworkSettings
    network: Network

    def outputs(self) -> list[Tensor]:
        """What the network makes of the reference's input."""
        shape = self.reference["input_shape"]
        return outputs_of(self.network, self.case, torch.from_numpy(uniform("input", math.prod(shape))).reshape(shape))


def equal(case: Case) -> Equal:
    """Build the network of a reference and give it the reference's weights."""
    reference, settings = case.reference(), case.settings()
    network = build_network(settings).double()
    found = load_weights(network, settings, Checkpoint(case.file, state_dict(reference)))
    assert (found.matched, found.ignored, found.missing) == (len(network.state_dict()), (), ())
    return Equal(case, reference, settings, network)


@pytest.fixture(scope="module", params=CASES, ids=[case.file for case in CASES])
def pair(request: pytest.FixtureRequest) -> Equal:
    """Each reference in turn."""
    return equal(request.param)


def test_outputs_are_equal(pair: Equal) -> None:
    """In float64 to 1e-9, every sample, mean, standard deviation and maximum of every output."""
    outputs, reference = pair.outputs(), pair.reference
    assert [list(output.shape) for output in outputs] == [expected["shape"] for expected in reference["outputs"]]
    for output, expected in zip(outputs, reference["outputs"], strict=True):
        assert furthest(output, expected) <= TOLERANCE


def test_parameters_and_macs_are_equal(pair: Equal) -> None:
    """By the plan, by the real network, and by fvcore; and those without batch norm's."""
    settings, network, reference = pair.settings, pair.network, pair.reference
    size = Size(*reference["input_shape"][2:])
    cost = network_cost(plan_network(settings), size).total
    norms = sum(p.numel() for name, p in network.named_parameters() if ".norm." in name)
    assert cost.parameters == sum(p.numel() for p in network.parameters()) == reference["parameters"]
    if "parameters_without_batch_norm" in reference:
        assert cost.parameters - norms == reference["parameters_without_batch_norm"]
    counted = count_with_fvcore(network, network_input(settings, size)).by_operator
    assert counted["conv"] + counted.get("linear", 0) == cost.macs == reference["conv_and_linear_macs"]


def test_every_reference_is_used() -> None:
    """A file that no case names would pass unseen."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == {case.file for case in CASES}


def test_the_comparison_can_fail() -> None:
    """One weight of a thousandth more is seen."""
    pair = equal(next(case for case in CASES if case.file == "torchvision_fpn_w1"))
    with torch.no_grad():
        pair.network.get_parameter("stages.0.0.project.conv.weight")[0] *= 1.001
    outputs = zip(pair.outputs(), pair.reference["outputs"], strict=True)
    assert max(furthest(output, expected) for output, expected in outputs) > TOLERANCE


def test_every_reference_says_where_it_comes_from() -> None:
    """In the note beside them."""
    note = (GOLDEN / "README.md").read_text()
    assert all(f"`{case.file}`" in note for case in CASES)
