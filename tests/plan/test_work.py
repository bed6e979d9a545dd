"""The work of each layer: the MACs of the plan, and the bytes of the inputs, weights and outputs of real modules."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mnfpn_cli.network.layers import ConvNormAct
from mnfpn_cli.network.network import build_meta
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerWork, network_work
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.plan.steps import ReluStep, ResizeStep, walk
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source
from tests.strategies import settings_and_size

SIZE = Size(64, 96)


def work_of(preset: str, size: Size = SIZE, batch: int = 1, **pyramid: Any) -> tuple[LayerWork, ...]:
    """The work of a preset, with some settings of its pyramid changed, in float32."""
    changes = [Source(name, value, ("pyramid", name)) for name, value in pyramid.items()]
    settings = resolve([read_preset(preset), *changes]).at(size)
    return network_work(plan_network(settings), network_input(settings, size, batch), 4)


@given(settings_and_size(), st.integers(1, 3))
def test_the_macs_are_those_of_the_cost_for_each_image(case: tuple[NetworkSettings, Size], batch: int) -> None:
    """Each id occurs once, and each step of the plan is part of a layer, except the ReLU between extra levels."""
    settings, size = case
    plan = plan_network(settings)
    works = network_work(plan, network_input(settings, size, batch), 4)
    assert sum(work.macs for work in works) == batch * network_cost(plan, size).total.macs
    assert len({work.id for work in works}) == len(works)
    planned = [step for step in walk(plan, size).steps if not isinstance(step, ReluStep)]
    paths = {"pyramid" if isinstance(step, ResizeStep) else step.path for step in planned}
    assert paths <= {work.path for work in works}


@given(settings_and_size(), st.integers(1, 2))
def test_the_bytes_are_what_the_real_modules_read_and_write(case: tuple[NetworkSettings, Size], batch: int) -> None:
    """Input, weights and output of every convolution, dense layer and average, call by call."""
    settings, size = case
    plan, input = plan_network(settings), network_input(settings, size, batch)
    works = [work for work in network_work(plan, input, 4) if work.operation != "move" or work.path.endswith(".pool")]
    network = build_meta(plan)
    moved: dict[str, list[int]] = {work.path: [] for work in works}

    def hooked(path: str) -> Any:
        def note(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            held = [t for t in module.state_dict().values() if t.is_floating_point()]
            moved[path].append(4 * sum(t.numel() for t in (*args, output, *held)))

        return note

    for path in moved:
        network.get_submodule(path).register_forward_hook(hooked(path))
    network(torch.empty(input.shape, device="meta"))
    planned: dict[str, list[int]] = {work.path: [] for work in works}
    for work in works:
        planned[work.path].append(work.bytes)
    assert planned == moved


def test_an_addition_reads_two_maps_and_writes_one_and_a_resize_reads_and_writes() -> None:
    """A residual has the path of its block, the top-down path that of the pyramid."""
    works = {work.id: work for work in work_of("mobilenetv2-fpn", batch=2)}
    assert works["stages.1.1", "stages.1"].bytes == 2 * 4 * 3 * 24 * 16 * 24
    cells = [2 * 3, 4 * 6, 8 * 12, 16 * 24]
    resized = sum(coarse + fine for coarse, fine in pairwise(cells))
    assert works["pyramid", "top-down"].bytes == 2 * 4 * 256 * (resized + 3 * sum(cells[1:]))
    assert works["pyramid", "top-down"].macs == 0


def test_joined_maps_are_read_and_written() -> None:
    """A concatenated map has the channels of the lateral and of the coarser map."""
    (top_down,) = [work for work in work_of("fpn-classifier", levels="p4-p5", extra="none") if work.path == "pyramid"]
    resized, joined = 256 * (2 * 3 + 4 * 6), 2 * 512 * 4 * 6
    assert top_down.bytes == 4 * (resized + joined)


def test_pooling_between_stem_and_stages_belongs_to_the_stem() -> None:
    """Its module has a path of its own."""
    stem, pool = work_of("resnet-fpn")[:2]
    assert (stem.part, pool.part, pool.path) == ("stem", "stem", "stem_pool")
    assert pool.bytes == 4 * 64 * (32 * 48 + 16 * 24)


def parts_of(works: tuple[LayerWork, ...]) -> list[str]:
    """The parts after the stages, in order."""
    return [part for part in dict.fromkeys(work.part for work in works) if part[:2] != "st"]


PARTS = [
    ("mobilenetv2-fpn", {}, ["laterals", "top-down", "smooth p2", "smooth p3", "smooth p4", "smooth p5"]),
    ("mobilenetv2-fpn", {"extra": "maxpool", "levels": "p5-p6"}, ["laterals", "smooth p5", "extra p6"]),
    (
        "mobilenetv2-dynamic-fpn",
        {},
        ["laterals", "top-down", *(f"smooth {at}" for at in ("p2", "p3", "p4", "p5", "top"))],
    ),
    (
        "mobilenetv2-fpn",
        {"smooth": "separable", "smooth_shared": True, "levels": "p4-p5"},
        ["laterals", "top-down", "smooth p4", "smooth p5"],
    ),
    ("retina-fpn", {"levels": "p4-p6"}, ["laterals", "top-down", "smooth p4", "extra p6"]),
    ("mobilenetv2-classifier", None, ["head"]),
]


@pytest.mark.parametrize(("preset", "pyramid", "parts"), PARTS)
def test_each_layer_belongs_to_a_part(preset: str, pyramid: dict[str, Any] | None, parts: list[str]) -> None:
    """A shared smoothing is listed once for each level, as it runs once for each."""
    works = work_of(preset, **(pyramid or {}))
    assert parts_of(works) == parts
    assert [work.part for work in works[:2]] == ["stem", "stem" if preset.startswith("re") else "stages.0"]


def test_the_operation_of_a_layer_follows_from_its_kernel_and_groups() -> None:
    """Layers of one operation are comparable."""
    operations = {work.path: work.operation for work in work_of("mobilenetv2-fpn")}
    kinds = {"stem": "conv", "stages.0.0.depthwise": "depthwise", "stages.0.0.project": "pointwise", "pyramid": "move"}
    assert kinds.items() <= operations.items()


def test_a_conv_norm_act_is_one_layer() -> None:
    """Its map is written once, not three times."""
    plan = plan_network(NetworkSettings())
    network = build_meta(plan)
    assert isinstance(network.get_submodule(work_of("mobilenetv2-fpn")[0].path), ConvNormAct)
