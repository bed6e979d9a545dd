"""The networks that these tests export: small, for what takes a while is a graph of many layers."""

import pytest

from mnfpn_cli.export.formats import FORMATS
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.network import NetworkSettings
from tests.needs import needs_onnx

SMALL = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2), (2, 16, 2, 2)], "pyramid": {"channels": 8}})
FLAT = NetworkSettings.model_validate(
    {
        "stages": [(2, 8, 1, 2), (2, 16, 1, 2)],
        "pyramid": {"channels": 8},
        "head": {"kind": "level_classifiers", "classes": 3, "size": "32x48"},
    }
)
EACH_FORMAT = [pytest.param(one, marks=needs_onnx if one == "onnx" else ()) for one in FORMATS]
"""As a parameter: skipped where its packages are not installed."""

SHORT_STAGES = [(1, 8, 1, 1), (2, 8, 1, 2), (2, 16, 1, 2), (2, 16, 1, 2), (2, 24, 1, 2)]


def shortened(preset: str) -> NetworkSettings:
    """A preset with all that is its own, but few layers: as many levels, and a block a stage."""
    values = resolve([read_preset(preset)]).model_dump(mode="json")
    if values["backbone"]["kind"] == "resnet":
        values["backbone"]["blocks"] = [1, 1, 1, 1]
    else:
        values["stages"] = SHORT_STAGES
    return NetworkSettings.model_validate(values | {"width_mult": 0.25})
