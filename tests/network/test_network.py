"""A network equals its plan in shapes, parameters and MACs."""

from collections import Counter

import pytest
import torch
from hypothesis import given

from mnfpn_cli.bench.workload import count_with_fvcore
from mnfpn_cli.network.network import build_meta, build_network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.plan.steps import ConvStep, LinearStep, ResizeStep, walk
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.audit.traced import tree_of
from tests.strategies import settings_and_size
from tests.tiers import at_most


@given(settings_and_size())
def test_the_plan_equals_the_network_on_the_meta_device(case: tuple[NetworkSettings, Size]) -> None:
    """In the outputs and MACs of each convolution, in resizes and parameters, and in nothing more."""
    network_settings, size = case
    plan = plan_network(network_settings)
    rows = {row.path: row for row in tree_of(build_meta(plan), network_input(network_settings, size).shape).rows}
    planned = walk(plan, size).steps
    convs = [step for step in planned if isinstance(step, ConvStep)]
    macs: Counter[str] = Counter()
    outputs: dict[str, tuple[tuple[int, ...], ...]] = {}
    for step in convs:
        macs[step.path] += step.conv.macs(step.output)  # a shared layer runs more than once
        outputs[step.path] = (*outputs.get(step.path, ()), (1, step.conv.out_channels, *step.output))
        assert rows[step.path].parameters == step.conv.parameters
    assert outputs == {path: rows[path].outputs for path in outputs}
    assert {path: len(shapes) for path, shapes in outputs.items()} == {path: rows[path].calls for path in outputs}
    assert macs == {path: rows[path].macs for path in macs}
    assert sum(row.type == "Conv2d" for row in rows.values()) == len(macs)
    dense = {step.path: step.linear for step in planned if isinstance(step, LinearStep)}
    assert {path: row.macs for path, row in rows.items() if row.type == "Linear"} == {
        path: layer.macs for path, layer in dense.items()
    }
    resizes = [row.outputs for path, row in rows.items() if path.startswith("pyramid.resize()")]
    assert resizes == [((1, s.channels, *s.output),) for s in planned if isinstance(s, ResizeStep)]
    cost = network_cost(plan, size)
    assert (rows[""].parameters, rows[""].macs) == (cost.total.parameters, cost.total.macs)
    for part, planned_cost in (("pyramid", cost.pyramid), ("head", cost.head)):
        found = (rows[part].parameters, rows[part].macs) if part in rows else (0, 0)
        assert found == (planned_cost.parameters, planned_cost.macs)


@at_most(25)
@given(settings_and_size())
def test_the_plan_equals_the_network_on_real_tensors_and_fvcore(case: tuple[NetworkSettings, Size]) -> None:
    """In the output shapes and parameters of a real pass, and in fvcore's count of it."""
    network_settings, size = case
    input = network_input(network_settings, size, batch=2)
    plan, network = plan_network(network_settings), build_network(network_settings)
    with torch.inference_mode():
        outputs = network(torch.rand(input.shape))
    shapes = network_shapes(plan, input)
    if shapes.head:
        real = outputs if isinstance(outputs, tuple) else (outputs,)
        assert [y.shape for y in real] == [(2, *output.shape) for output in shapes.head.outputs]
    else:
        assert [tuple(y.shape) for y in outputs] == [(2, lv.output.channels, *lv.output.size) for lv in shapes.levels]
    cost = network_cost(plan, size).total
    assert sum(p.numel() for p in network.parameters()) == cost.parameters
    counted = count_with_fvcore(network, input)
    assert counted.by_operator["conv"] + counted.by_operator.get("linear", 0) == cost.macs
    nearest = network_settings.pyramid is not None and network_settings.pyramid.upsample == "nearest"
    per_resized = 1 if nearest else 4
    counts = (
        2 * cost.norm_elements
        + 5 * cost.group_norm_elements
        + per_resized * cost.resized_elements
        + cost.pooled_elements
    )
    assert counted.total == cost.macs + counts


def test_the_keys_of_the_state_dict_are_fixed() -> None:
    """They are part of the interface: checkpoints depend on them."""
    keys = list(build_meta(plan_network(NetworkSettings())).state_dict())
    for key in (
        "stem.conv.weight",
        "stages.0.0.depthwise.conv.weight",
        "stages.3.0.expand.norm.running_mean",
        "stages.6.0.project.conv.weight",
        "pyramid.lateral.p3.weight",
        "pyramid.smooth.p5.bias",
    ):
        assert key in keys
    assert not any(key.startswith("stages.0.0.expand") for key in keys)


def test_the_seed_determines_the_weights() -> None:
    """Another seed gives others; the state of torch's global generator does not change."""
    before = torch.random.get_rng_state()
    one, same, other = (build_network(NetworkSettings(), seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["stages.3.0.expand.conv.weight"], other["stages.3.0.expand.conv.weight"])


@pytest.mark.parametrize("stages", [NetworkSettings().stages, ((6, 16, 30, 2), (6, 24, 30, 2))])
def test_activations_of_a_fresh_network_keep_their_scale(stages: object) -> None:
    """They neither vanish nor explode: denormal numbers would slow a CPU and falsify a benchmark."""
    network = build_network(NetworkSettings.model_validate({"stages": stages}))
    with torch.inference_mode():
        outputs = network(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    assert all(1e-2 < output.std().item() < 1e3 for output in outputs)


def test_the_whole_network_is_trainable() -> None:
    """Every parameter gets a gradient from the outputs."""
    network = build_network(NetworkSettings.model_validate({"stages": [(2, 8, 2, 2), (2, 8, 2, 2)]})).train()
    sum(output.square().mean() for output in network(torch.rand(2, 3, 33, 47))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
