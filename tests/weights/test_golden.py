"""Every system that the project descends from: built, its state dict mapped onto ours, and equal number for number."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mnfpn_cli.measure.flops import count_with_fvcore
from mnfpn_cli.network.build import build_network
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import Size, network_input
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.weights.files import Checkpoint
from mnfpn_cli.weights.load import load_weights
from tests.golden.cases import CASES, GOLDEN, Case
from tests.golden.fill import uniform, value

TOLERANCE = 1e-9
"""Of an output's largest absolute value."""


@pytest.fixture(params=CASES, ids=[case.file for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    """Each reference in turn."""
    chosen: Case = request.param
    return chosen


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
    return seen + (last[::-1] if case.coarsest_first else last)


def furthest(output: Tensor, expected: dict[str, Any]) -> float:
    """The largest difference of samples, mean, standard deviation and maximum, over the largest absolute value."""
    pairs = [(output.flatten()[index].item(), sample) for index, sample in expected["samples"]]
    pairs += [(output.mean().item(), expected["mean"]), (output.std(correction=0).item(), expected["std"])]
    pairs += [(output.abs().max().item(), expected["absmax"])]
    return max(abs(ours - theirs) for ours, theirs in pairs) / float(expected["absmax"])


def loaded(case: Case) -> tuple[NetworkSettings, Network, dict[str, Any]]:
    """The network of a reference, in float64, with the reference's weights."""
    reference = case.reference()
    settings = case.settings()
    network = build_network(settings).double()
    found = load_weights(network, settings, Checkpoint(case.file, state_dict(reference)))
    assert (found.matched, found.ignored, found.missing) == (len(network.state_dict()), (), ())
    return settings, network, reference


def test_outputs_are_equal(case: Case) -> None:
    """In float64 to 1e-9, every sample, mean, standard deviation and maximum of every output."""
    _, network, reference = loaded(case)
    shape = reference["input_shape"]
    images = torch.from_numpy(uniform("input", math.prod(shape))).reshape(shape)
    outputs = outputs_of(network, case, images)
    assert [list(output.shape) for output in outputs] == [expected["shape"] for expected in reference["outputs"]]
    for output, expected in zip(outputs, reference["outputs"], strict=True):
        assert furthest(output, expected) <= TOLERANCE


def test_parameters_and_macs_are_equal(case: Case) -> None:
    """By the plan, by the real network, and by fvcore; and those without batch norm's."""
    settings, network, reference = loaded(case)
    size = Size(*reference["input_shape"][2:])
    cost = network_cost(plan_network(settings), size).total
    norms = sum(p.numel() for name, p in network.named_parameters() if ".norm." in name)
    assert cost.parameters == sum(p.numel() for p in network.parameters()) == reference["parameters"]
    assert cost.parameters - norms == reference["parameters_without_batch_norm"]
    counted = count_with_fvcore(network, network_input(settings, size)).by_operator
    assert counted["conv"] + counted.get("linear", 0) == cost.macs == reference["conv_and_linear_macs"]


def test_every_reference_is_used() -> None:
    """A file that no case names would pass unseen."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == {case.file for case in CASES}


def test_the_comparison_can_fail() -> None:
    """One weight of a thousandth more is seen."""
    case = next(case for case in CASES if case.file == "resnet_fpn_2222")
    _, network, reference = loaded(case)
    with torch.no_grad():
        network.get_parameter("stages.0.0.reduce.conv.weight")[0] *= 1.001
    shape = reference["input_shape"]
    outputs = outputs_of(network, case, torch.from_numpy(uniform("input", math.prod(shape))).reshape(shape))
    assert max(furthest(output, e) for output, e in zip(outputs, reference["outputs"], strict=True)) > TOLERANCE


def test_every_reference_says_where_it_comes_from() -> None:
    """In the note beside them."""
    note = (GOLDEN / "README.md").read_text()
    assert all(f"`{case.file}`" in note for case in CASES)
