"""Planned costs against known ones: those of the default network, and Google's table of MobileNetV2."""

import pytest

from mnfpn_cli.bench.workload import count_with_fvcore
from mnfpn_cli.network.network import build_meta, build_network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.layers import ConvPlan
from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.plan.steps import AddStep, ConvStep, walk
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source

SIZE = Size(600, 900)


def test_the_cost_of_the_default_network_is_known() -> None:
    """Width 1.0, 256 channels, four levels, 600×900: every count that is on record."""
    cost = network_cost(plan_network(NetworkSettings()), SIZE)
    total = cost.total
    assert total.parameters == 4_293_888
    assert total.macs == 29_949_721_552
    assert total.flops == 59_899_443_104
    assert total.norm_elements == 71_788_144
    assert total.resized_elements == 11_364_096
    assert total.macs + 2 * total.norm_elements + 4 * total.resized_elements == 30_138_754_224
    assert cost.backbone.added_elements == 2_360_464
    assert cost.pyramid.added_elements == total.resized_elements


def test_the_other_elementwise_counts_follow_from_the_plan() -> None:
    """Bias adds and ReLU6 elements, as counted on the real network."""
    convs = [step for step in walk(plan_network(NetworkSettings()), SIZE).steps if isinstance(step, ConvStep)]
    assert sum(step.conv.elements(step.output) for step in convs if step.conv.bias) == 23_010_304
    assert sum(step.conv.elements(step.output) for step in convs if step.conv.activation) == 65_575_440


def test_most_macs_are_in_the_pyramid() -> None:
    """At width 0.25, nine tenths of the MACs of the default network are left."""
    narrow = network_cost(plan_network(NetworkSettings(width_mult=0.25)), SIZE)
    assert narrow.total.macs == 26_955_701_872


PUBLISHED = [
    (1.4, 224, 582),
    (1.0, 224, 300),
    (1.0, 192, 221),
    (1.0, 160, 154),
    (1.0, 128, 99),
    (1.0, 96, 56),
    (0.75, 224, 209),
    (0.75, 192, 153),
    (0.75, 160, 107),
    (0.75, 128, 69),
]


def classifier(width: float) -> NetworkSettings:
    """MobileNetV2 with its head of 1000 classes, as Google published it."""
    return resolve([read_preset("mobilenetv2-classifier"), Source("width", width, ("width_mult",))])


@pytest.mark.parametrize(("width", "side", "millions"), PUBLISHED)
def test_macs_are_those_that_google_published(width: float, side: int, millions: int) -> None:
    """Google's checkpoints: MACs in millions, rounded down, by the plan and by fvcore."""
    settings, size = classifier(width), Size(side, side)
    macs = network_cost(plan_network(settings), size).total.macs
    assert macs // 1_000_000 == millions
    counted = count_with_fvcore(build_network(settings), network_input(settings, size)).by_operator
    assert counted["conv"] + counted["linear"] == macs


@pytest.mark.parametrize(
    ("width", "published", "with_norm"),
    [(1.4, "6.06", 6_108_776), (1.0, "3.47", 3_504_872), (0.75, "2.61", 2_636_424)],
)
def test_parameters_are_those_that_google_published(width: float, published: str, with_norm: int) -> None:
    """Google counts no batch norm; torchvision's `mobilenet_v2` and the real network have all."""
    settings = classifier(width)
    plan = plan_network(settings)
    norms = sum(
        2 * step.conv.out_channels
        for step in walk(plan, Size(224, 224)).steps
        if isinstance(step, ConvStep) and step.conv.norm
    )
    parameters = network_cost(plan, Size(224, 224)).total.parameters
    assert parameters == with_norm == sum(p.numel() for p in build_meta(plan).parameters())
    assert f"{(parameters - norms) / 1e6:.2f}" == published


def test_stages_that_no_level_needs_are_not_planned() -> None:
    """With p2 to p4, no level needs the stages after the tap of p4."""
    settings = NetworkSettings.model_validate({"pyramid": {"levels": "p2-p4"}})
    assert len(plan_network(settings).backbone.stages) == plan_levels(settings).taps["p4"] + 1


def test_a_residual_needs_stride_1_and_equal_channels() -> None:
    """In the first block of a stage as in the others."""
    settings = NetworkSettings.model_validate({"stem_channels": 16, "stages": [(1, 16, 2, 1), (1, 16, 2, 2)]})
    blocks = [[block.residual for block in stage.blocks] for stage in plan_network(settings).backbone.stages]
    assert blocks == [[True, True], [False, True]]


def test_the_expansion_convolution_is_left_out_at_expansion_1() -> None:
    """As in the paper's first stage."""
    first, second = plan_network(NetworkSettings()).backbone.stages[:2]
    assert first.blocks[0].layers[0][0] == "depthwise"
    assert second.blocks[0].layers[0] == ("expand", ConvPlan(16, 96, kernel=1, norm="batch", activation="relu6"))


def test_separable_smoothing_has_one_bias_for_the_pair() -> None:
    """The depthwise 3×3 has none, the 1×1 has one."""
    settings = NetworkSettings.model_validate({"pyramid": {"smooth": "separable", "channels": 8, "levels": "p5"}})
    plan = plan_network(settings)
    smooth = [step.conv for step in walk(plan, SIZE).steps if isinstance(step, ConvStep) and "smooth" in step.path]
    assert [(conv.groups, conv.bias, conv.parameters) for conv in smooth] == [(8, False, 72), (1, True, 72)]
    assert not any(isinstance(step, AddStep) and step.path == "pyramid" for step in walk(plan, SIZE).steps)
