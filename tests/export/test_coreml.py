"""Packages of Core ML: what they hold, and that nobody says they were run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mnfpn_cli.errors import CheckError, MnfpnError
from mnfpn_cli.export import coreml
from mnfpn_cli.export.job import FileJob
from mnfpn_cli.export.program import NamedOutputs, settings_metadata
from mnfpn_cli.network.network import build_network
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import SMALL, shortened
from tests.needs import needs
from tests.runtimes.jobs import job

pytestmark = needs("coremltools")

FLOAT32 = 65568
"""The element type of an array in a description."""


SIZE = Size(32, 48)


def file_job(settings: NetworkSettings = SMALL, size: Size = SIZE) -> FileJob:
    """A file of a network, with its settings."""
    network = NamedOutputs(build_network(settings))
    return FileJob(
        network, job(settings, (1, 3, *size)).inputs, ("images",), network.outputs, metadata=settings_metadata(settings)
    )


@torch.no_grad()
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_package_has_names_shapes_and_settings_and_is_not_run(
    dtype: DType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Inputs and outputs stay in float32; what is added later is there too; nothing is written to the terminal."""
    made, path = replace(file_job(), dtype=dtype), tmp_path / "network.mlpackage"
    coreml.write(made, path)
    read = coreml.read(path, made)
    assert made.metadata.items() <= dict(read.metadata).items()
    assert read.run is None
    assert read.unchecked == "Core ML runs on Apple's devices alone: shapes were checked, values were not"
    coreml.annotate(path, {"mnfpn_quality": "21 dB für p2"})
    assert {**made.metadata, "mnfpn_quality": "21 dB für p2"}.items() <= dict(coreml.read(path, made).metadata).items()
    assert capfd.readouterr() == ("", "")
    spec = description(path)
    assert [one.name for one in spec.output] == ["p2", "p3"]
    assert {one.type.multiArrayType.dataType for one in (*spec.input, *spec.output)} == {FLOAT32}


def description(path: Path) -> Any:
    """Return the description of a package."""
    with coreml.coreml_silenced():
        import coremltools

        return coremltools.utils.load_spec(str(path)).description


@torch.no_grad()
def test_a_package_of_another_network_fails_its_check(tmp_path: Path) -> None:
    """By the names or the shapes of what goes in and comes out."""
    made, path = file_job(), tmp_path / "network.mlpackage"
    coreml.write(made, path)
    with pytest.raises(CheckError, match=r"^its inputs must be \{'images': \(1, 3, 48, 32\)\}, got .*32, 48\)\}$"):
        coreml.read(path, file_job(size=Size(48, 32)))
    with pytest.raises(CheckError, match=r"^its inputs must be \{'photos': "):
        coreml.read(path, replace(made, input_names=("photos",)))


def test_a_network_that_cannot_be_converted_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written."""

    def fail(*_: object) -> None:
        raise KeyError("no such operator\nmore of it")

    monkeypatch.setattr(coreml, "trace_pass", fail)
    with pytest.raises(MnfpnError, match=r"^coremltools could not convert this network: 'no such operator"):
        coreml.write(file_job(), tmp_path / "network.mlpackage")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_converted(preset: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With its outputs by name and shape."""
    made, path = file_job(shortened(preset).at(Size(64, 96)), Size(64, 96)), tmp_path / "network.mlpackage"
    coreml.write(replace(made, dtype="float16"), path)
    assert coreml.read(path, made).run is None
    assert capfd.readouterr() == ("", "")
