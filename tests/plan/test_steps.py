"""One walk over a plan gives the maps of stages and levels, and all quantities are computed from it."""

from itertools import pairwise

import pytest
from hypothesis import given

from mnfpn_cli.plan import steps
from mnfpn_cli.plan.cost import activation_bytes, memory_needed, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import network_work
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.plan.steps import ConvStep, ResizeStep, Step, walk
from mnfpn_cli.report.layout import network_layout
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.strategies import settings_and_size

SIZE = Size(72, 104)


def path_of(step: Step) -> str:
    """The path of a step's module; a resize has none."""
    return "" if isinstance(step, ResizeStep) else step.path


def test_all_quantities_of_a_network_share_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes, cost, memory, work and the diagram are folds over the same steps."""
    walked = list[str]()
    for name in ("_backbone_steps", "_pyramid_steps"):
        real = getattr(steps, name)

        def counted(*args: object, real: object = real, name: str = name) -> object:
            walked.append(name)
            return real(*args)  # type: ignore[operator]

        monkeypatch.setattr(steps, name, counted)
    settings = NetworkSettings.model_validate({"pyramid": {"channels": 40}})
    plan, input = plan_network(settings), network_input(settings, SIZE)
    for cached in (walk, steps.backbone_steps):
        cached.cache_clear()
    shapes = network_shapes(plan, input)
    network_cost(plan, SIZE)
    activation_bytes(plan, input, "float32")
    memory_needed(plan, input, "float16")
    network_work(plan, input, 4)
    network_layout(plan, shapes)
    assert sorted(walked) == ["_backbone_steps", "_pyramid_steps"]


@given(settings_and_size())
def test_the_map_of_a_stage_is_what_its_last_step_makes(case: tuple[NetworkSettings, Size]) -> None:
    """It is the input of the next stage."""
    settings, size = case
    plan = plan_network(settings)
    walked = walk(plan, size)
    assert len(walked.stages) == len(plan.backbone.stages)
    for index, (stage, stage_size) in enumerate(zip(plan.backbone.stages, walked.stages, strict=True)):
        last = [step for step in walked.backbone if path_of(step).startswith(f"stages.{index}.")][-1]
        assert last.makes == stage.out_channels * stage_size.cells
        after = [step for step in walked.backbone if path_of(step).startswith(f"stages.{index + 1}.0.")]
        assert all(step.input == stage_size for step in after[:1] if isinstance(step, ConvStep))


@given(settings_and_size())
def test_the_map_of_a_level_is_what_its_last_step_makes(case: tuple[NetworkSettings, Size]) -> None:
    """Of its lateral, its merge or its smoothing; each level is resized from the next coarser level on a tap."""
    settings, size = case
    plan = plan_network(settings)
    walked = walk(plan, size)
    if plan.pyramid is None:
        assert (walked.levels, walked.pyramid) == ((), ())
        return
    assert len(walked.levels) == len(plan.pyramid.names)
    sizes = dict(zip(plan.pyramid.names, walked.levels, strict=True))
    for step in walked.pyramid:
        if isinstance(step, ConvStep) and not step.path.startswith(("pyramid.smooth.shared", "pyramid.last")):
            assert step.output == sizes[step.path.split(".")[2]]
    on_taps = [level.name for level in plan.pyramid.levels]
    resized = {step.level: (step.input, step.output) for step in walked.pyramid if isinstance(step, ResizeStep)}
    assert resized == {fine: (sizes[coarse], sizes[fine]) for fine, coarse in pairwise(on_taps)}
