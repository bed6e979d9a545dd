"""Files of ExecuTorch: what they compute, what they say of themselves, and what is no such file."""

from pathlib import Path

import pytest
import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export import executorch
from mnfpn_cli.export.job import FileJob
from mnfpn_cli.export.program import NamedOutputs, settings_metadata
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import build_network
from tests.needs import needs
from tests.runtimes.jobs import TINY, expected, job

pytestmark = needs("executorch", "torchao")


def file_job() -> FileJob:
    """A file of the tiny network, with its settings."""
    metadata = settings_metadata(TINY)
    return FileJob(NamedOutputs(build_network(TINY)), job().inputs, ("images",), ("p2",), metadata=metadata)


def test_a_file_that_is_read_back_computes_the_same_and_has_its_settings(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the names of its outputs, and what is added later; no path of the machine that wrote it."""
    made, path = file_job(), tmp_path / "network.pte"
    executorch.write(made, path)
    read = executorch.read(path, made)
    assert read.metadata == {"mnfpn_outputs": "p2", **made.metadata}
    assert read.run
    assert largest_difference([read.run(*made.inputs)["p2"]], expected()) < 1e-4
    executorch.annotate(path, {"mnfpn_quality": "21 dB für p2", "mnfpn_outputs": "p2 "})
    annotated = executorch.read(path, made)
    assert annotated.metadata == {**made.metadata, "mnfpn_outputs": "p2 ", "mnfpn_quality": "21 dB für p2"}
    assert annotated.run
    assert torch.equal(annotated.run(*made.inputs)["p2"], read.run(*made.inputs)["p2"])
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"no program, but long enough for its header and some more of it"])
def test_a_file_that_is_no_program_is_an_error(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In words; ExecuTorch would log to standard error besides."""
    (tmp_path / "network.pte").write_bytes(content)
    with pytest.raises(MnfpnError, match=r"^ExecuTorch cannot load the program: "):
        executorch.read(tmp_path / "network.pte", file_job())
    assert capfd.readouterr() == ("", "")


def test_a_network_that_cannot_be_converted_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written."""

    def fail(*_: object) -> None:
        raise KeyError("no such operator\nmore of it")

    monkeypatch.setattr(executorch, "lower", fail)
    with pytest.raises(MnfpnError, match=r"^ExecuTorch could not convert this network: 'no such operator"):
        executorch.write(file_job(), tmp_path / "network.pte")
    assert not list(tmp_path.iterdir())
