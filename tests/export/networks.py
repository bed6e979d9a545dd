"""The networks that these tests export: small, for what takes a while is a graph of many layers."""

from collections.abc import Collection
from pathlib import Path

import pytest

from mnfpn_cli.documents.export import ExportedFile
from mnfpn_cli.export.axes import SIDES, DynamicAxis
from mnfpn_cli.export.export import export_file, file_case
from mnfpn_cli.export.formats import PACKAGES, ExportRequest, Format
from mnfpn_cli.export.job import FileJob
from mnfpn_cli.export.networks import named_network
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import DType, NetworkInput
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.quantization import QuantizationCase
from tests.needs import needs

SMALL = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2), (2, 16, 2, 2)], "pyramid": {"channels": 8}})
FLAT = NetworkSettings.model_validate(
    {
        "stages": [(2, 8, 1, 2), (2, 16, 1, 2)],
        "pyramid": {"channels": 8},
        "head": {"kind": "level_classifiers", "classes": 3, "size": "32x48"},
    }
)

QUICK: tuple[Format, ...] = ("onnx", "torch-export", "safetensors")
EACH_FORMAT = [pytest.param(one, marks=needs(*PACKAGES.get(one, ()))) for one in QUICK]
"""As a parameter, those that take seconds: skipped where packages are not installed."""


def export_network(
    network: Network,
    settings: NetworkSettings,
    input: NetworkInput,
    format: Format,
    path: Path,
    dynamic: bool | Collection[DynamicAxis] = False,
    dtype: DType = "float32",
    case: QuantizationCase = QuantizationCase(),  # noqa: B008 - frozen
) -> ExportedFile:
    """Export a network that was built already."""
    axes = SIDES if dynamic is True else frozenset(dynamic or ())
    request = ExportRequest(format, path, dtype, axes)
    named = named_network(network, FromSettings(settings), input)
    return export_file(file_case(named, request, case, lambda *_: None), lambda *_: None)


def float32_job(network: Network, settings: NetworkSettings, input: NetworkInput, dynamic: bool = False) -> FileJob:
    """What a format writes of a network in float32."""
    request = ExportRequest("safetensors", Path("unwritten"), "float32", SIDES if dynamic else frozenset())
    return file_case(
        named_network(network, FromSettings(settings), input), request, QuantizationCase(), lambda *_: None
    ).job


SHORT_STAGES = [(1, 8, 1, 1), (2, 8, 1, 2), (2, 16, 1, 2), (2, 16, 1, 2), (2, 24, 1, 2)]


def shortened(preset: str) -> NetworkSettings:
    """A preset with all that is its own, but few layers: as many levels, and a block a stage."""
    values = resolve([read_preset(preset)]).model_dump(mode="json")
    if values["backbone"]["kind"] == "resnet":
        values["backbone"]["blocks"] = [1, 1, 1, 1]
    else:
        values["stages"] = SHORT_STAGES
    return NetworkSettings.model_validate(values | {"width_mult": 0.25})
