"""A detector is written like any network: its outputs by torchvision's names, compared one by one."""

from pathlib import Path

import pytest

from mnfpn_cli.export.formats import Format
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.layers import same_padding
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import EACH_FORMAT, SMALL, export_network

SIZE = Size(32, 48)
PLACES = 8 * 12 + 4 * 6
OUTPUTS = {
    "fcos": [("cls_logits", (2, PLACES, 3)), ("bbox_regression", (2, PLACES, 4)), ("bbox_ctrness", (2, PLACES, 1))],
    "rpn": [("objectness", (2, 3 * PLACES, 1)), ("bbox_regression", (2, 3 * PLACES, 4))],
}


def detector(kind: str) -> NetworkSettings:
    """A detector of two levels."""
    own = {"classes": 3, "norm_groups": 4} if kind == "fcos" else {}
    head = {"kind": kind, "depth": 1, **own}
    return NetworkSettings.model_validate(SMALL.model_dump(mode="json") | {"head": head})


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("format", EACH_FORMAT)
def test_the_outputs_of_a_detector_are_named_and_compared(tmp_path: Path, format: Format, kind: str) -> None:
    """In the order in which the network returns them."""
    settings = detector(kind)
    written = export_network(
        build_network(settings, 7), settings, network_input(settings, SIZE, 2), format, tmp_path / "out"
    )
    (check,) = written.checks
    assert [(one.name, one.shape) for one in check.outputs] == OUTPUTS[kind]


def test_a_padded_network_takes_any_size(tmp_path: Path) -> None:
    """Padding as TensorFlow's depends on whether a side is odd, which torch has to keep in the graph."""
    settings = SMALL.model_copy(update={"padding": "same"})
    input = network_input(settings, SIZE, 2)
    written = export_network(
        build_network(settings, 7), settings, input, "torch-export", tmp_path / "out", dynamic=True
    )
    assert len(written.checks) == 3


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_padding_is_what_tensorflow_defines(kernel: int) -> None:
    """As much as the last of ceil(side / 2) windows at stride 2 needs; the odd pixel comes last."""
    for side in range(1, 40):
        added = max((-(-side // 2) - 1) * 2 + kernel - side, 0)
        assert same_padding(kernel, side) == (added // 2, added - added // 2)
