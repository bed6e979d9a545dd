"""Networks of others are exported like ours: by the names of what they take and return, and with their code guarded."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import mnfpn_cli.api as mnfpn
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.export.formats import load_format
from tests.conftest import Mnfpn
from tests.needs import needs_onnx


class Net(nn.Module):
    """A network that returns a dictionary with a list, and prints."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.dense = nn.Linear(8, 5)

    def forward(self, photo: Tensor) -> dict[str, Tensor | list[Tensor]]:
        """Return two maps and logits."""
        print("a pass")  # noqa: T201 - as code of others does
        x = torch.relu(self.norm(self.conv(photo)))
        return {"maps": [x, x[:, :, ::2, ::2]], "logits": self.dense(x.mean((2, 3)))}


class Words(nn.Module):
    """A network of two inputs, of which one is of integers, and of two layers with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.dense = nn.Linear(4, 10)
        self.dense.weight = self.embedding.weight

    def forward(self, words: Tensor, scale: Tensor) -> Tensor:
        """Return scores of words (n, length, 10)."""
        scores: Tensor = self.dense(self.embedding(words)) * scale
        return scores


class Fixed(nn.Module):
    """A network that takes one size."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3 * 32 * 48, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.dense(x.flatten(1))
        return logits


class Choosing(nn.Module):
    """A network that no graph holds, as an ``if`` depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        """Return half or all of it."""
        return x if x.sum() > 3 else x / 2


NAMES = ["maps.0", "maps.1", "logits"]


@pytest.mark.parametrize(
    "format", ["safetensors", pytest.param("onnx", marks=[needs_onnx, pytest.mark.slow]), "torch-export"]
)
def test_outputs_have_the_names_of_keys_and_places(
    tmp_path: Path, format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the code prints goes to standard error; the module that was given stays as it was."""
    net = Net()
    document = mnfpn.export(net, tmp_path / "out", format, size="32x48")  # type: ignore[arg-type]
    (check,) = document.checks
    assert [one.name for one in check.outputs] == NAMES
    assert (check.input.channels, check.input.height, check.input.width) == (3, 32, 48)
    assert document.settings is None
    assert document.model is not None
    assert document.model.target.endswith(":Net")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "a pass" in captured.err
    assert net.training
    assert not net._forward_hooks


@needs_onnx
def test_inputs_have_the_names_of_the_forward(tmp_path: Path) -> None:
    """And tensors of other shapes and types are inputs too."""
    path = tmp_path / "words.onnx"
    document = mnfpn.export(Words(), path, "onnx", inputs="2x7:int64,2x7x1", dynamic="batch")
    first, second = document.checks
    assert [one.shape for one in first.input.shapes or ()] == [(2, 7), (2, 7, 1)]
    assert [one.dtype for one in first.input.shapes or ()] == ["int64", "float32"]
    assert [one.shape for one in second.outputs] == [(1, 7, 10)]
    graph = pytest.importorskip("onnx").load(path).graph
    assert [one.name for one in graph.input] == ["words", "scale"]
    assert [one.name for one in graph.output] == ["0"]


def test_weights_that_layers_share_are_written_for_each(tmp_path: Path) -> None:
    """There are no settings to build the network from: a library that reads them has its own code."""
    path = tmp_path / "words.safetensors"
    mnfpn.export(Words(), path, "safetensors", inputs=(torch.zeros(2, 7, dtype=torch.int64), torch.rand(2, 7, 1)))
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == {"embedding.weight", "dense.weight", "dense.bias"}
        assert set(file.metadata()) == {"format", "mnfpn_version"}


def test_how_an_image_becomes_an_input_travels_with_the_file(tmp_path: Path) -> None:
    """For a network whose settings do not say it: what was given, or what the figures of quality were made with."""

    def preprocess(**given: object) -> object:
        path = tmp_path / "net.safetensors"
        mnfpn.export(Net(), path, "safetensors", size="32x48", **given)  # type: ignore[arg-type]
        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata().get("mnfpn_preprocess", "null"))

    assert preprocess() is None
    assert preprocess(mean=0.5, std=[0.1, 0.2, 0.3]) == {"mean": [0.5], "std": [0.1, 0.2, 0.3]}
    assert preprocess(dtype="float16") == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_a_size_that_the_network_itself_does_not_take_is_an_error(tmp_path: Path) -> None:
    """Rather than a failed check of the file."""
    with pytest.raises(MnfpnError) as caught:
        mnfpn.export(Fixed(), tmp_path / "out.pt2", "torch-export", size="32x48", dynamic=True)
    assert str(caught.value).startswith(("dynamic: torch cannot leave", "dynamic: the network itself", "format torch-"))
    assert list(tmp_path.iterdir()) == []


def test_code_that_no_graph_holds_is_an_error_with_its_line(tmp_path: Path) -> None:
    """Its own, out of a traceback of hundreds."""
    with pytest.raises(MnfpnError, match=r"^format torch-export: this network cannot be written: \w+: ") as caught:
        mnfpn.export(Choosing(), tmp_path / "out.pt2", "torch-export", size="32x48")
    assert "x.sum() > 3" in caught.value.details
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    """One that returns no tensors, and one that takes another number of inputs."""

    class Silent(nn.Module):
        def forward(self, _x: Tensor) -> str:
            return "nothing"

    with pytest.raises(MnfpnError, match=r"^Silent must return tensors, got "):
        mnfpn.export(Silent(), tmp_path / "out", "safetensors", size=32)
    with pytest.raises(UsageError, match="forward of Net takes"):
        mnfpn.export(Net(), tmp_path / "out", "safetensors", inputs="1x3x32x32,1x4")


def test_a_target_is_exported_from_the_command_line(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """With the shape of its input, and in half of the bytes."""
    path = tmp_path / "net.safetensors"
    words = ["--format", "safetensors", "--output", str(path), "--dtype", "float16", "--input", "2x3x32x48"]
    done = mnfpn("export", "--model", f"{__name__}:Net", *words)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "File and network at 2×3×32×48"
    assert (
        lines[-1] == "Checked: read back and run, its outputs are finite, and nearer to the network's than zeros are."
    )
    assert "What float16 costs" in lines
    assert "Random images: the dB tell nothing about real ones (--calibration)." in lines
    assert load_format("safetensors").EXACT


GRIDS: dict[int, Tensor] = {}
"""A cache of grids."""


class Grids(nn.Module):
    """A network that keeps grids in a global dictionary."""

    def forward(self, x: Tensor) -> Tensor:
        """Add a grid to an image."""
        if x.shape[-1] not in GRIDS:
            GRIDS[x.shape[-1]] = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        return x + GRIDS[x.shape[-1]]


def test_a_network_that_keeps_tensors_elsewhere_is_exported(tmp_path: Path) -> None:
    """None that torch made while it followed the network is in the way of the check."""
    document = mnfpn.export(Grids(), tmp_path / "out", "torch-export", size="32x48")
    assert [one.shape for one in document.checks[0].outputs] == [(1, 3, 32, 48)]
