"""A check that fails leaves no new file, and an older file unchanged: in each way to fail."""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from mnfpn_cli.errors import CheckError, MnfpnError
from mnfpn_cli.export import export as exporting
from mnfpn_cli.export.formats import Format, load_format
from mnfpn_cli.export.job import FileFormat, FileJob, ReadFile
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import EACH_FORMAT, SMALL, export_network

INPUT = network_input(SMALL, Size(32, 48))
Outputs = dict[str, Tensor]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A file that is there already."""
    path = tmp_path / "out"
    path.write_text("older")
    return path


def refused(older: Path, format: Format = "safetensors", dynamic: bool = False) -> str:
    """Fail to export, and return the message: the older file is unchanged, and there is no other file."""
    with pytest.raises(CheckError) as caught:
        export_network(build_network(SMALL), SMALL, INPUT, format, older, dynamic)
    assert older.read_text() == "older"
    assert [entry.name for entry in older.parent.iterdir()] == ["out"]
    return str(caught.value)


class Changed:
    """A format whose files are written or read in another way."""

    def __init__(self, form: FileFormat, **changes: object):
        self.__dict__ = {name: getattr(form, name) for name in ATTRIBUTES} | changes


ATTRIBUTES = ("SUFFIXES", "EXACT", "DTYPES", "DYNAMIC", "write", "read", "annotate")


def change_format(monkeypatch: pytest.MonkeyPatch, format: Format, **changes: object) -> None:
    """Have a format written or read in another way."""
    changed = Changed(load_format(format), **changes)
    monkeypatch.setattr(exporting, "load_format", lambda _: changed)


def with_outputs(monkeypatch: pytest.MonkeyPatch, change: Callable[[Outputs], Outputs], exact: bool = False) -> None:
    """Have files of safetensors, when they are run, return something else."""
    form = load_format("safetensors")

    def read(path: Path, job: FileJob) -> ReadFile:
        opened = form.read(path, job)
        assert opened.run
        run = opened.run
        return replace(opened, run=lambda images: change(dict(run(images))))

    change_format(monkeypatch, "safetensors", read=read, EXACT=exact)


def off(outputs: Outputs) -> Outputs:
    """One element of one output is off by a thousandth of the largest."""
    changed = outputs["p3"].clone()
    changed[0, 1, 2, 3] += 1e-3 * changed.abs().max()
    return outputs | {"p3": changed}


CHANGES: list[tuple[str, Callable[[Outputs], Outputs], str]] = [
    ("off", off, "at 32x48 p3 differs by 1.0e-03 of its largest value, 1.0e-04 is allowed"),
    ("not finite", lambda outputs: outputs | {"p2": outputs["p2"] / 0}, "at 32x48 p2 is not finite"),
    ("transposed", lambda outputs: outputs | {"p2": outputs["p2"].mT}, "at 32x48 p2 has the shape (1, 8, 12, 8), not"),
    ("missing", lambda outputs: {"p2": outputs["p2"]}, "its outputs must be p2, p3, got p2"),
    ("in another order", lambda outputs: dict(reversed(outputs.items())), "its outputs must be p2, p3, got p3, p2"),
    ("none", lambda _: {}, "its outputs must be p2, p3, got none"),
    ("raising", lambda outputs: {"p2": outputs["p9"]}, "it cannot be run at 32x48: 'p9'"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_other_outputs_are_refused(
    monkeypatch: pytest.MonkeyPatch, older: Path, change: Callable[[Outputs], Outputs], message: str
) -> None:
    """With what is wrong, and at which size."""
    with_outputs(monkeypatch, change)
    assert refused(older).startswith(f"format safetensors: the file failed its check, and was discarded: {message}")


def test_the_last_bit_counts_where_nothing_is_computed_anew(monkeypatch: pytest.MonkeyPatch, older: Path) -> None:
    """What is read back from safetensors are the same numbers."""

    def change(outputs: Outputs) -> Outputs:
        return {name: output * (1 + 1.2e-7) for name, output in outputs.items()}

    with_outputs(monkeypatch, change, exact=True)
    assert re.search(r"p2 differs by \d\.\de-08 of its largest value, 0\.0e\+00 is allowed", refused(older))


def test_every_size_is_checked(monkeypatch: pytest.MonkeyPatch, older: Path) -> None:
    """A file that is right at the size it was made for, and wrong at another one."""

    def change(outputs: Outputs) -> Outputs:
        return outputs if outputs["p3"].shape[-1] == 6 else off(outputs)

    with_outputs(monkeypatch, change)
    assert "was discarded: at 17x25 p3 differs by" in refused(older, dynamic=True)


@pytest.mark.parametrize("content", [b"", b"half", b"other"], ids=["empty", "half", "something else"])
@pytest.mark.parametrize("format", EACH_FORMAT)
def test_a_file_that_cannot_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, older: Path, capfd: pytest.CaptureFixture[str], format: Format, content: bytes
) -> None:
    """By the readers themselves, which keep quiet otherwise."""
    form = load_format(format)

    def write(job: FileJob, path: Path) -> None:
        form.write(job, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)

    change_format(monkeypatch, format, write=write)
    assert ": the file failed its check, and was discarded: it cannot be read: " in refused(older, format)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format", EACH_FORMAT)
def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, older: Path, format: Format) -> None:
    """One bias of one layer off by a hundredth, in the file itself."""
    form = load_format(format)

    def write(job: FileJob, path: Path) -> None:
        other = deepcopy(job.network)
        other.state_dict()["stages.1.0.depthwise.norm.bias"][0] += 0.01
        form.write(replace(job, network=other), path)

    change_format(monkeypatch, format, write=write)
    assert "was discarded: at 32x48 p2 differs by " in refused(older, format)


@pytest.mark.parametrize("format", EACH_FORMAT)
def test_other_settings_are_refused(monkeypatch: pytest.MonkeyPatch, older: Path, format: Format) -> None:
    """Whoever builds the network from the file would get another one."""
    form = load_format(format)

    def write(job: FileJob, path: Path) -> None:
        form.write(replace(job, metadata={**job.metadata, "mnfpn_settings": "{}"}), path)

    change_format(monkeypatch, format, write=write)
    assert refused(older, format).endswith("was discarded: its settings differ from the network's")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MnfpnError),
        (RuntimeError("DefaultCPUAllocator: not enough"), MnfpnError),
    ],
    ids=["Ctrl-C", "MemoryError", "torch out of memory"],
)
def test_errors_that_are_not_the_files_are_raised_unchanged(
    monkeypatch: pytest.MonkeyPatch, older: Path, raised: BaseException, expected: type[BaseException]
) -> None:
    """And leaves as little behind."""

    def read(*_: object) -> ReadFile:
        raise raised

    change_format(monkeypatch, "safetensors", read=read)
    with pytest.raises(expected) as caught:
        export_network(build_network(SMALL), SMALL, INPUT, "safetensors", older)
    assert not isinstance(caught.value, CheckError)
    assert older.read_text() == "older"
    assert [entry.name for entry in older.parent.iterdir()] == ["out"]


@pytest.mark.slow
def test_maps_of_one_element_cannot_have_dynamic_sides(older: Path) -> None:
    """Torch must fix their memory format; the export fails, rather than the program that loads the file."""
    thin = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2), (2, 16, 1, 2)], "pyramid": {"channels": 1}})
    for size, error, message in (
        (Size(8, 8), MnfpnError, "^dynamic: torch cannot leave height and width open at 8x8: try a larger size$"),
        (Size(32, 48), CheckError, "was discarded: it cannot be run at 8x8: Guard failed: "),
    ):
        with pytest.raises(error, match=message):
            export_network(build_network(thin), thin, network_input(thin, size), "torch-export", older, True)
    assert older.read_text() == "older"
