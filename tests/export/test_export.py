"""Each format is written and checked; the files are also read without mnfpn."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mnfpn_cli import __version__
from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.documents.export import ExportedFile
from mnfpn_cli.errors import CheckError, MnfpnError, UsageError
from mnfpn_cli.export import onnx as as_onnx
from mnfpn_cli.export.export import write_network
from mnfpn_cli.export.formats import ExportRequest, Format
from mnfpn_cli.external.origin import FromSettings, Workload, input_record
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.quantization import QuantizationCase
from tests.export.networks import EACH_FORMAT, FLAT, SMALL, export_network, shortened
from tests.needs import needs_onnx
from tests.tiers import slow_but

SIZE = Size(32, 48)
INPUT = network_input(SMALL, SIZE, batch=2)

WITH_FREE_SIDES = ("fpnssd", "mobilenetv2-classifier", "mobilenetv2-dynamic-fpn", "mobilenetv2-fpnlite")
"""Between them both backbones and paddings, every way to upsample, a pooled top, all kinds of levels, and heads."""


def exported(format: Format, path: Path, dynamic: bool = False, settings: NetworkSettings = SMALL) -> ExportedFile:
    """Export a network whose weights come from seed 7."""
    input = network_input(settings, settings.made_for or SIZE, batch=2)
    return export_network(build_network(settings, 7), settings, input, format, path, dynamic)


def images_at(size: Size, batch: int = 2) -> torch.Tensor:
    """Images that no check of ours uses."""
    return torch.rand(network_input(SMALL, size, batch).shape, generator=torch.Generator().manual_seed(99))


@torch.no_grad()
def maps_of(settings: NetworkSettings, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What the network with the weights of seed 7 makes of images."""
    maps: tuple[torch.Tensor, ...] = build_network(settings, 7)(images)
    return maps


@pytest.mark.parametrize("format", EACH_FORMAT)
def test_what_is_written_was_compared_with_the_network(tmp_path: Path, format: Format) -> None:
    """One table of differences; each output by its name, with the shape that the plan gives."""
    path = tmp_path / "out"
    result = exported(format, path)
    assert (result.format, result.file, result.bytes) == (format, str(path), path.stat().st_size)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    (comparison,) = result.checks
    assert comparison.input == input_record(INPUT)
    assert [(one.name, one.shape) for one in comparison.outputs] == [("p2", (2, 8, 8, 12)), ("p3", (2, 8, 4, 6))]
    assert all(one.relative <= (1e-4 if format == "onnx" else 0.0) for one in comparison.outputs)


@needs_onnx
def test_onnx_has_names_metadata_and_nothing_of_this_machine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Read by onnx, run by ONNX Runtime; and not a word of torch's on either stream.

    What it computes is the network's but for rounding, in which kernels differ by processor: by the export's own bound.
    """
    path = tmp_path / "out.onnx"
    exported("onnx", path)
    assert capfd.readouterr() == ("", "")
    model = pytest.importorskip("onnx").load(str(path))
    sides = [[one.dim_value for one in value.type.tensor_type.shape.dim] for value in model.graph.output]
    assert [value.name for value in model.graph.output] == ["p2", "p3"]
    assert sides == [[2, 8, 8, 12], [2, 8, 4, 6]]
    carried = {entry.key: entry.value for entry in model.metadata_props}
    assert NetworkSettings.model_validate_json(carried["mnfpn_settings"]) == SMALL
    assert carried["mnfpn_version"] == __version__
    assert "stages.1.0.expand.conv.weight" in {tensor.name for tensor in model.graph.initializer}
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
    outputs = session.run(["p2", "p3"], {"images": images_at(SIZE).numpy()})
    for output, expected in zip(outputs, maps_of(SMALL, images_at(SIZE)), strict=True):
        assert np.allclose(output, expected.numpy(), rtol=0, atol=1e-4 * expected.abs().max().item())


@pytest.mark.slow
def test_torch_export_is_loaded_in_another_process(tmp_path: Path) -> None:
    """Which has never heard of mnfpn: a dictionary of outputs, at a size that nothing was tried with."""
    path, images = tmp_path / "out.pt2", images_at(Size(9, 95))
    exported("torch-export", path, dynamic=True)
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
    torch.save({"images": images, "maps": maps_of(SMALL, images)}, tmp_path / "expected")
    program = (
        "import sys, torch\n"
        "torch.set_num_threads(1)\n"  # as here: to the last bit, the same kernels on the same parts of a map
        "extra = {'mnfpn_settings.json': '', 'mnfpn_version.txt': ''}\n"
        "program = torch.export.load('out.pt2', extra_files=extra)\n"
        "expected = torch.load('expected')\n"
        "outputs = program.module()(expected['images'])\n"
        "assert not any(name.startswith('mnfpn') for name in sys.modules)\n"
        "assert list(outputs) == ['p2', 'p3']\n"
        "assert all(torch.equal(*pair) for pair in zip(outputs.values(), expected['maps'], strict=True))\n"
        "assert 'stages.1.0.expand.conv.weight' in program.state_dict\n"
        "print(extra['mnfpn_settings.json'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert NetworkSettings.model_validate_json(done.stdout) == SMALL


def test_safetensors_hold_the_state_dict(tmp_path: Path) -> None:
    """To the last bit, under the network's own names; and ``format``, for libraries that ask for it."""
    path = tmp_path / "out.safetensors"
    exported("safetensors", path)
    with safe_open(path, framework="pt") as file:
        carried = file.metadata()
    assert carried["format"] == "pt"
    assert json.loads(carried["mnfpn_settings"]) == SMALL.model_dump(mode="json")
    ours, theirs = build_network(SMALL, 7).state_dict(), load_file(path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@needs_onnx
@pytest.mark.parametrize("preset", slow_but("mobilenetv2-fpnlite", preset_names()))
def test_every_preset_is_exported_to_onnx(tmp_path: Path, preset: str) -> None:
    """With free sides where that brings anything new: then down to the least size, where maps have one cell."""
    settings = shortened(preset).at(Size(64, 96))
    input, path = network_input(settings, Size(64, 96)), tmp_path / "out.onnx"
    dynamic = preset in WITH_FREE_SIDES
    result = export_network(build_network(settings), settings, input, "onnx", path, dynamic)
    sizes = [f"{one.input.height}x{one.input.width}" for one in result.checks]
    assert sizes == (["64x96", "33x49", "32x32"] if dynamic else ["64x96"])
    (images,) = pytest.importorskip("onnx").load(path).graph.input
    sides = [one.dim_param or one.dim_value for one in images.type.tensor_type.shape.dim]
    assert sides == [1, 3, *(("height", "width") if dynamic else (64, 96))]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["fpnssd", "mobilenetv2-dynamic-fpn"])
def test_maps_of_one_cell_are_exported_to_torch_export_with_dynamic_sides(tmp_path: Path, preset: str) -> None:
    """Levels of one cell, and a top that is pooled to one: sizes at which torch would like to broadcast."""
    settings = shortened(preset)
    input = network_input(settings, Size(32, 512))
    result = export_network(build_network(settings), settings, input, "torch-export", tmp_path / "out.pt2", True)
    assert [f"{one.input.height}x{one.input.width}" for one in result.checks] == ["32x512", "33x257", "32x32"]
    assert {one.relative for comparison in result.checks for one in comparison.outputs} == {0.0}


@pytest.mark.parametrize("format", EACH_FORMAT)
def test_a_head_on_flattened_maps_is_exported(tmp_path: Path, format: Format) -> None:
    """Its one output is called logits."""
    (comparison,) = exported(format, tmp_path / "out", settings=FLAT).checks
    assert [(one.name, one.shape) for one in comparison.outputs] == [("logits", (2, 3))]


@pytest.mark.parametrize("format", EACH_FORMAT)
def test_the_outputs_of_a_detector_have_their_names(tmp_path: Path, format: Format) -> None:
    """Those of torchvision, in its order; each was compared, at 9 anchors or 1 point a place of p2 and p3."""
    head = {"classes": 3, "depth": 1, "channels": 8}
    for kind, anchors, extra in (("retinanet", 9, ()), ("fcos", 1, (("bbox_ctrness", 1),))):
        norm = {"norm_groups": 4} if kind == "fcos" else {}
        detector = NetworkSettings.model_validate({**dict(SMALL), "head": {"kind": kind, **head, **norm}})
        (comparison,) = exported(format, tmp_path / "out", settings=detector).checks
        assert [(one.name, one.shape) for one in comparison.outputs] == [
            (name, (2, anchors * (8 * 12 + 4 * 6), values))
            for name, values in (("cls_logits", 3), ("bbox_regression", 4), *extra)
        ]


@needs_onnx
def test_onnx_files_of_detectors_take_any_size_and_name_their_outputs(tmp_path: Path) -> None:
    """The number of anchors follows the sides; also where each level has other anchors and convolutions."""
    head = {"kind": "ssdlite", "classes": 3, "anchors": {"ratios": [[2], [2, 3]]}}
    detector = NetworkSettings.model_validate({**dict(SMALL), "head": head})
    result = exported("onnx", tmp_path / "out.onnx", dynamic=True, settings=detector)
    assert len(result.checks) == 3
    graph = pytest.importorskip("onnx").load(tmp_path / "out.onnx").graph
    shapes = {value.name: [one.dim_value for one in value.type.tensor_type.shape.dim] for value in graph.output}
    assert {name: (batch, values) for name, (batch, _, values) in shapes.items()} == {
        "cls_logits": (2, 3),
        "bbox_regression": (2, 4),
    }


@needs_onnx
def test_onnx_refuses_more_weights_than_a_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any work."""
    monkeypatch.setattr(as_onnx, "MAX_BYTES", 10_000)
    with pytest.raises(MnfpnError, match=r"^format onnx: must hold less than 2 GiB of weights, got 0\.0"):
        exported("onnx", tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


@needs_onnx
@pytest.mark.parametrize(
    ("causes", "reason"),
    [
        ([], "Failed in step 3/3"),
        ([torch.onnx.OnnxExporterError("no such operator\nand more")], "no such operator"),
        ([torch.onnx.OnnxExporterError("at a node"), TypeError("no tensor")], "TypeError: no tensor"),
        ([AssertionError()], "AssertionError"),
    ],
)
def test_a_network_that_torch_cannot_convert_is_an_error(
    causes: list[Exception], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line: the innermost cause, where torch gives one, without its advice."""

    def fail(*_: object, **__: object) -> None:
        error: Exception = torch.onnx.OnnxExporterError("Failed in step 3/3\n- a page of advice")
        for outer, inner in pairwise([error, *causes]):
            outer.__cause__ = inner
        raise error

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(MnfpnError) as caught:
        exported("onnx", tmp_path / "out.onnx")
    assert str(caught.value) == f"format onnx: torch could not write this network: {reason}"


def test_what_cannot_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the plan's memory is more than the free memory."""
    monkeypatch.setattr(Cpu, "free_memory", lambda _: 2**10)
    request = ExportRequest("safetensors", tmp_path / "out")
    with pytest.raises(UsageError, match=r"^size, batch: must fit the memory that cpu has free"):
        write_network(Workload(FromSettings(SMALL), INPUT), 0, request, QuantizationCase(), lambda *_: None)


def test_weights_that_are_not_finite_are_not_exported(tmp_path: Path) -> None:
    """There is nothing to check them by."""
    network = build_network(SMALL)
    torch.nn.init.constant_(network.get_parameter("stem.conv.weight"), torch.nan)
    with pytest.raises(CheckError, match=r"at 32x48 p2 of the network itself is not finite; p3 of the network"):
        export_network(network, SMALL, INPUT, "safetensors", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
