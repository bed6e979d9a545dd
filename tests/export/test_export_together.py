"""A format of several files, or of a folder: all of them are in place, or none."""

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from mnfpn_cli.errors import CheckError, MnfpnError, UsageError
from mnfpn_cli.export import export as exporting
from mnfpn_cli.export import formats
from mnfpn_cli.export.formats import ExportRequest, check_request
from mnfpn_cli.export.job import FileJob, ReadFile
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from tests.export.networks import SMALL, export_network

INPUT = network_input(SMALL, Size(32, 48))


class TwoFiles:
    """A format with the metadata in one file, and the weights in one beside it."""

    SUFFIXES = (".xml", ".bin")
    EXACT = True
    DTYPES = ("float32", "float16")
    DYNAMIC = frozenset({"batch"})

    def write(self, job: FileJob, path: Path) -> None:
        """Write both."""
        save_file(job.network.state_dict(), path.with_suffix(".bin"))
        path.write_text(json.dumps(dict(job.metadata)))

    def read(self, path: Path, job: FileJob) -> ReadFile:
        """Read both."""
        assert load_file(path.with_suffix(".bin")).keys() == job.network.state_dict().keys()
        return ReadFile(json.loads(path.read_text()), job.network)

    def annotate(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the first anew."""
        path.write_text(json.dumps(json.loads(path.read_text()) | metadata))


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch) -> TwoFiles:
    """The format, in the place of OpenVINO's."""
    form = TwoFiles()
    for module in (exporting, formats):
        monkeypatch.setattr(module, "load_format", lambda _: form)
    return form


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The first of two files that are there already."""
    (tmp_path / "net.bin").write_text("older weights")
    path = tmp_path / "net.xml"
    path.write_text("older")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, hidden files too."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


OLDER = {"net.xml": b"older", "net.bin": b"older weights"}


@pytest.mark.usefixtures("form")
def test_both_files_are_written_and_reported(older: Path) -> None:
    """In place of older ones; the size is that of both."""
    written = export_network(build_network(SMALL), SMALL, INPUT, "openvino", older)
    files = contents(older.parent)
    assert set(files) == {"net.xml", "net.bin"}
    assert json.loads(files["net.xml"])["mnfpn_settings"]
    assert written.files == (str(older), str(older.with_suffix(".bin")))
    assert written.bytes == sum(map(len, files.values()))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_an_error_between_the_moves_leaves_both_as_they_were(
    older: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The weights are moved first."""
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.suffix == ".xml":
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises((MnfpnError, KeyboardInterrupt)) as caught:
        export_network(build_network(SMALL), SMALL, INPUT, "openvino", older)
    if isinstance(error, OSError):
        assert str(caught.value) == f"output: '{older}' could not be written: No space left on device"
    assert contents(older.parent) == OLDER


@pytest.mark.parametrize("step", ["write", "annotate"])
def test_a_full_disk_is_a_message_and_leaves_what_was_there(
    form: TwoFiles, older: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Exit code 1; at whichever step."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(form, step, full)
    with pytest.raises(MnfpnError, match=r"could not be written: No space left on device$") as caught:
        export_network(build_network(SMALL), SMALL, INPUT, "openvino", older, dtype="float16")
    assert caught.value.exit_code == 1
    assert contents(older.parent) == OLDER


def test_a_library_that_cannot_write_a_network_is_named_with_its_reason(
    form: TwoFiles, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line; errors of ours stay as they are, with the format in front."""
    for raised, message in (
        (
            RuntimeError("no such operator\nand advice"),
            "this network cannot be written: RuntimeError: no such operator",
        ),
        (MnfpnError("must be smaller"), "must be smaller"),
    ):

        def fail(*_: object, error: Exception = raised) -> None:
            raise error

        monkeypatch.setattr(form, "write", fail)
        with pytest.raises(MnfpnError) as caught:
            export_network(build_network(SMALL), SMALL, INPUT, "openvino", older)
        assert str(caught.value) == f"format openvino: {message}"
    assert contents(older.parent) == OLDER


def test_a_file_that_loses_its_metadata_is_refused(
    form: TwoFiles, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of quality are read back too."""
    monkeypatch.setattr(form, "annotate", lambda *_: None)
    with pytest.raises(CheckError, match=r"was discarded: its metadata lack mnfpn_quality$"):
        export_network(build_network(SMALL), SMALL, INPUT, "openvino", older, dtype="float16")
    assert contents(older.parent) == OLDER


def test_a_file_that_cannot_be_run_here_is_said_to_be_unchecked(
    form: TwoFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read back, and its metadata are compared."""
    real = form.read

    def read(path: Path, job: FileJob) -> ReadFile:
        return ReadFile(real(path, job).metadata, None, "runs on macOS alone")

    monkeypatch.setattr(form, "read", read)
    written = export_network(build_network(SMALL), SMALL, INPUT, "openvino", tmp_path / "net.xml", dtype="float16")
    assert (written.checks, written.unchecked, written.quality) == ((), "runs on macOS alone", None)


def asked(path: Path, reads: tuple[Path, ...] = (), format: formats.Format = "openvino") -> str:
    """The message that refuses a file; an empty text where it is fine."""
    try:
        check_request(ExportRequest(format, path), None, reads)
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("form")
def test_files_beside_the_one_that_is_named_are_not_replaced_by_mistake(older: Path) -> None:
    """Those of a model that is there are; others are not, nor what is read."""
    weights = older.with_suffix(".bin")
    assert asked(older) == ""
    assert asked(older, (weights,)) == f"output: would replace '{weights}', which the command reads"
    older.unlink()
    assert asked(older) == f"output: would replace '{weights}', which belongs to no 'net.xml'"
    weights.unlink()
    assert asked(older) == ""
    assert asked(older.with_name("net")) == f"output: must end in .xml with format openvino, got '{older.parent}/net'"


def test_only_a_package_of_core_ml_is_a_folder_that_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other may hold anything."""
    monkeypatch.setattr(
        formats, "load_format", lambda _: SimpleNamespace(SUFFIXES=(".mlpackage",), DTYPES=("float32",))
    )
    folder = tmp_path / "net.mlpackage"
    folder.mkdir()
    assert asked(folder, format="coreml") == f"output: must be a file, but '{folder}' is a folder"
    (folder / "Manifest.json").touch()
    assert asked(folder, format="coreml") == ""
