"""A checkpoint's pyramid goes onto the levels that it was made for, or nowhere.

Layouts that count levels from the finest, or call the coarsest lateral what others call the pooled top, fit other
pyramids by their shapes alone. Each of these would have loaded without a word.
"""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from torch import Tensor

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.network.network import Network, build_meta, build_network
from mnfpn_cli.plan.heads import LevelClassifiersPlan
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.weights.checkpoint import Checkpoint
from mnfpn_cli.weights.layouts import LAYOUTS, OURS, Layout
from mnfpn_cli.weights.load import load_weights
from mnfpn_cli.weights.match import weighted_layers
from tests.strategies import settings_and_size

EQUAL_TAPS = ("stages=[[1,16,1,1],[2,32,1,2],[2,32,1,2],[2,32,1,2]]", "pyramid.channels=8")
RESNET = ("backbone.kind=resnet", "stem_channels=8", "backbone.blocks=[1,1,1,1]", "pyramid.channels=8")
NARROW = ("stages=[[2,16,1,2],[2,24,1,2],[2,32,1,2]]", "pyramid.channels=8")
LITE = ("pyramid.smooth=separable", "pyramid.norm=batch", "head.kind=ssdlite", "head.classes=3")
HEAD = ("head.kind=retinanet", "head.depth=2", "head.classes=3")


def settings_of(words: Sequence[str]) -> NetworkSettings:
    """Settings from overrides."""
    return resolve([parse_override(word) for word in words])


def checkpoint(words: Sequence[str], layout_name: str) -> tuple[Checkpoint, Network]:
    """A network of random weights, and its state dict under a layout's names."""
    settings = settings_of(words)
    network = build_network(settings, seed=3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    layout = next(layout for layout in (OURS, *LAYOUTS) if layout.name == layout_name)
    return Checkpoint("a.pth", renamed(network.state_dict(), settings, layout)), network


def renamed(state: dict[str, Tensor], settings: NetworkSettings, layout: Layout) -> dict[str, Tensor]:
    """A state dict as the layout has it."""
    names = {
        place.path: layout.name_of(place.role, place.path, place.variables)
        for place in weighted_layers(plan_network(settings))
    }
    return {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": tensor for key, tensor in state.items()}


def load(words: Sequence[str], given: Checkpoint) -> tuple[Network, WeightsRecord]:
    """Load a checkpoint into a network of other settings."""
    settings = settings_of(words)
    network = build_network(settings)
    return network, load_weights(network, settings, given)


REFUSED = [
    ("torchvision", EQUAL_TAPS, ("pyramid.levels=p3-p4",), r"no place for fpn\.inner_blocks\.2"),
    ("torchvision", EQUAL_TAPS, ("pyramid.levels=p2,p4",), r"no place for fpn\.inner_blocks\.2"),
    ("torchvision", EQUAL_TAPS, ("pyramid.levels=p2",), r"no place for fpn\.inner_blocks\.1"),
    ("torchvision", NARROW, ("pyramid.top=pool",), r"lacks pyramid\.lateral\.top\.conv\.weight"),
    ("torchvision", NARROW, ("pyramid.smooth_shared=true",), r"lacks pyramid\.smooth\.shared\.weight"),
    ("mnfpn", NARROW, ("pyramid.smooth_shared=true",), r"lacks pyramid\.smooth\.shared\.weight"),
    ("mnfpn", NARROW, ("pyramid.smooth=separable",), r"lacks pyramid\.smooth\.p2\.depthwise\.weight"),
    ("pytorch-fpn", RESNET, ("pyramid.top=pool",), r"lacks pyramid\.lateral\.top\.conv\.weight"),
    ("torchvision ResNet", RESNET, ("pyramid.levels=p3-p5",), r"no place for fpn\.inner_blocks\.3"),
    (
        "MobileNetV2 dynamic FPN",
        (*EQUAL_TAPS, "pyramid.taps=first", "pyramid.top=pool"),
        ("pyramid.top=lateral", "pyramid.levels=p4"),
        r"no place for lateral_layers\.1\.weight.*top_layer",
    ),
    ("mnfpn", (*NARROW, *HEAD), ("head.depth=1",), r"no place for head\.cls\.shared\.tower\.1\.conv\.weight"),
    ("mnfpn", (*NARROW, *HEAD), ("head.depth=3",), r"lacks head\.cls\.shared\.tower\.2\.conv\.weight"),
    ("pytorch-fpn", (*RESNET, *HEAD), ("head.depth=1",), r"no place for loc_head\.4\.weight|cls_head\.4\.weight"),
    ("pytorch-fpn", (*RESNET, *HEAD), ("head.depth=3",), r"lacks cls_head\.6\.weight, cls_head\.6\.bias"),
    ("pytorch-fpn", (*RESNET, *HEAD), ("head.kind=fcos", "head.norm=none"), r"lacks head\.cls\.shared\.tower\.0\.conv"),
]


@pytest.mark.parametrize(("layout", "made", "changed", "message"), REFUSED)
def test_what_is_for_other_levels_is_refused(
    layout: str, made: tuple[str, ...], changed: tuple[str, ...], message: str
) -> None:
    """Whether or not the shapes agree."""
    given, _ = checkpoint(made, layout)
    with pytest.raises(UsageError, match=message):
        load((*made, *changed), given)


@pytest.mark.parametrize(
    ("layout", "made"),
    [
        ("mnfpn", NARROW),
        ("torchvision", NARROW),
        ("pytorch-fpn", RESNET),
        ("mnfpn", (*NARROW, *HEAD)),
        ("mnfpn", (*NARROW, *LITE)),
        ("torchvision", (*NARROW, *HEAD)),
        ("pytorch-fpn", (*RESNET, *HEAD)),
    ],
)
def test_the_same_pyramid_loads(layout: str, made: tuple[str, ...]) -> None:
    """Every tensor at its place."""
    given, source = checkpoint(made, layout)
    network, loaded = load(made, given)
    assert (loaded.layout, loaded.ignored, loaded.missing) == (layout, (), ())
    assert all(torch.equal(tensor, source.state_dict()[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("layout", "made", "changed"),
    [
        ("mnfpn", NARROW, "pyramid.levels=p3-p4"),
        ("mnfpn", NARROW, "pyramid.levels=p2-p3"),
        ("pytorch-fpn", RESNET, "pyramid.levels=p4-p5"),
        ("pytorch-fpn", RESNET, "pyramid.levels=p3-p5"),
    ],
)
def test_names_that_say_the_level_load_into_fewer_levels(layout: str, made: tuple[str, ...], changed: str) -> None:
    """By their own names, or counted from the same coarsest level."""
    given, source = checkpoint(made, layout)
    network, loaded = load((*made, changed), given)
    assert loaded.ignored
    assert loaded.missing == ()
    assert all(torch.equal(tensor, source.state_dict()[key]) for key, tensor in network.state_dict().items())


@given(settings_and_size())
def test_layouts_can_name_every_module_that_holds_weights(drawn: tuple[NetworkSettings, Size]) -> None:
    """By its path in the network; classifiers on levels, which no layout has, aside."""
    plan = plan_network(drawn[0])
    named = {place.path for place in weighted_layers(plan)}
    held = {key.rpartition(".")[0] for key in build_meta(plan).state_dict()}
    if isinstance(plan.head, LevelClassifiersPlan):
        held = {path for path in held if not path.startswith("head.")}
    assert named == held


@pytest.mark.parametrize("fewer", [(), ("pyramid.levels=p2-p5",)])
def test_torchvisions_extra_levels_are_p6_and_p7_whatever_they_are_called_here(fewer: tuple[str, ...]) -> None:
    """Behind three levels they are p5 and p6; a later one may be left out."""
    extra = (*NARROW, "pyramid.extra=conv")
    given, source = checkpoint(extra, "torchvision")
    assert {"fpn.extra_blocks.p6.weight", "fpn.extra_blocks.p7.weight"} < given.tensors.keys()
    network, _ = load((*extra, *fewer), given)
    assert network.outputs == ("p2", "p3", "p4", "p5", *(() if fewer else ("p6",)))
    assert all(torch.equal(tensor, source.state_dict()[key]) for key, tensor in network.state_dict().items())


def test_a_detectors_heads_are_ignored() -> None:
    """A checkpoint of torchvision's RetinaNet or Faster R-CNN is a backbone's first of all."""
    given, _ = checkpoint(RESNET, "torchvision ResNet")
    prefixes = {key: "backbone." if key.startswith("fpn.") else "backbone.body." for key in given.tensors}
    body = {f"{prefixes[key]}{key}": tensor for key, tensor in given.tensors.items()}
    heads = {"head.classification_head.conv.0.0.weight": torch.zeros(1), "rpn.head.conv.0.0.bias": torch.zeros(1)}
    _, loaded = load(RESNET, Checkpoint("a.pth", body | heads))
    assert set(loaded.ignored) == set(heads)
    assert loaded.missing == ()
