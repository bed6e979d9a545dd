"""The parts: bounds, sizes, the graph, the packages, and the writing of files."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from math import log10
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.documents.export import FileCheck
from mnfpn_cli.errors import CheckError, MnfpnError, UsageError
from mnfpn_cli.export import program as tracing
from mnfpn_cli.export.axes import DynamicAxis
from mnfpn_cli.export.check import compare_outputs, inputs_to_check
from mnfpn_cli.export.formats import ExportRequest, Format, check_request, import_packages
from mnfpn_cli.export.job import FileJob
from mnfpn_cli.export.program import trace
from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import FLAT, SMALL, float32_job
from tests.needs import needs_onnx

DEEP = NetworkSettings.model_validate({"stages": [(6, 16, 30, 2), (6, 24, 30, 2)], "pyramid": {"channels": 8}})


@torch.no_grad()
def compared(network: Network, settings: NetworkSettings, factor: float) -> FileCheck:
    """Compare a network with one whose outputs are larger by a factor."""
    job = float32_job(network, settings, network_input(settings, Size(32, 48)))

    def run(images: Tensor) -> Mapping[str, Tensor]:
        return {name: output * factor for name, output in job.network(images).items()}

    return compare_outputs(job, job.inputs, run)


def test_a_deep_network_may_differ_by_what_rounding_makes_of_it() -> None:
    """Sixty blocks lose three digits more than the presets do, in any program; a wrong file is still refused."""
    network = build_network(DEEP)
    with pytest.raises(CheckError, match=r"p2 differs by 2\.0e-03 .*, 1\.0e-04 is allowed"):
        compared(build_network(SMALL), SMALL, 1.002)
    allowed = [one.allowed for one in compared(network, DEEP, 1.0005).outputs]
    assert all(bound is not None and 5e-4 < bound <= 1e-2 for bound in allowed)
    with pytest.raises(CheckError, match=r"p2 differs by 2\.0e-02 "):
        compared(network, DEEP, 1.02)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_the_usual_bound_is_allowed_where_it_suffices() -> None:
    """Rounding raises it only where a difference exceeds it."""
    assert {one.allowed for one in compared(build_network(SMALL), SMALL, 1.00001).outputs} == {1e-4}


def test_outputs_of_zeros_must_be_equal() -> None:
    """There is nothing that a difference could be relative to."""
    network = build_network(SMALL)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    assert {one.relative for one in compared(network, SMALL, 1.0).outputs} == {0.0}
    job = float32_job(network, SMALL, network_input(SMALL, Size(32, 48)))

    def run(images: Tensor) -> Mapping[str, Tensor]:
        return {name: output + 1 for name, output in job.network(images).items()}

    with torch.no_grad():
        with pytest.raises(CheckError, match="p2 differs by inf of its largest value"):
            compare_outputs(job, job.inputs, run)
        with pytest.raises(CheckError, match="p2 is not all zero, as it is in the network"):
            compare_outputs(replace(job, dtype="int8"), job.inputs, run)


SIZES = [
    ((64, 96), ["64x96", "33x49", "32x32"]),
    ((600, 900), ["600x900", "301x451", "32x32"]),
    ((32, 32), ["32x32", "33x33"]),
    ((33, 65), ["33x65", "35x33", "32x32"]),
    ((33, 33), ["33x33", "35x35", "32x32"]),
]


def tried(inputs: Tensor, *axes: DynamicAxis) -> list[tuple[int, ...]]:
    """The shapes that a file is checked at which leaves axes open, of a network of stride 32."""
    job = FileJob(nn.Identity(), (inputs,), ("images",), ("0",), dynamic=frozenset(axes), least=32)
    return [tuple(images.shape) for (images,) in inputs_to_check(job, (inputs,))]


@pytest.mark.parametrize(("size", "expected"), SIZES, ids=[expected[0] for _, expected in SIZES])
def test_dynamic_sides_are_checked_at_other_sizes(size: tuple[int, int], expected: list[str]) -> None:
    """The one that was asked for, an odd one, and the least; each once."""
    images = torch.rand(2, 3, *size)
    shapes = tried(images, "height", "width")
    assert [f"{height}x{width}" for _, _, height, width in shapes] == expected
    assert {shape[:2] for shape in shapes} == {(2, 3)}
    assert tried(images) == [(2, 3, *size)]


def test_an_open_batch_is_checked_with_another() -> None:
    """One image, where the file was made with several; else two. A closed side stays as it is."""
    assert tried(torch.rand(1, 3, 64, 96), "batch") == [(1, 3, 64, 96), (2, 3, 64, 96)]
    assert tried(torch.rand(4, 3, 64, 96), "batch") == [(4, 3, 64, 96), (1, 3, 64, 96)]
    assert tried(torch.rand(1, 3, 64, 96), "batch", "width") == [(1, 3, 64, 96), (2, 3, 64, 49), (2, 3, 64, 32)]
    assert tried(torch.rand(2, 7), "batch", "height") == [(2, 7), (1, 7)]


def test_noise_as_strong_as_the_signal_is_refused() -> None:
    """In another dtype than float32: zeros would be as good. Less noise is for the user to judge."""
    job = float32_job(build_network(SMALL), SMALL, network_input(SMALL, Size(32, 48)))

    def checked(dtype: DType, factor: float) -> FileCheck:
        def run(images: Tensor) -> Mapping[str, Tensor]:
            return {name: output * factor for name, output in job.network(images).items()}

        with torch.no_grad():
            return compare_outputs(replace(job, dtype=dtype), job.inputs, run)

    (first, _) = checked("int8", 0.5).outputs
    assert (first.allowed, first.least_snr_db) == (None, 0.0)
    assert first.snr_db == pytest.approx(20 * log10(2), abs=1e-3)
    assert [one.snr_db for one in checked("bfloat16", 1.0).outputs] == [None, None]
    for factor in (0.0, 2.0, -1.0):
        with pytest.raises(
            CheckError, match=r"^at 32x48 p2 has -?\d\.\d dB of signal to noise, more than 0 dB are needed"
        ):
            checked("int8", factor)
    with pytest.raises(CheckError, match=r"p2 has 6\.0 dB of signal to noise, more than 20 dB are needed"):
        checked("float16", 0.5)


def test_tracing_leaves_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations work in place again, also where torch fails; the graph's do not."""
    network = build_network(SMALL)
    before = {name: module.inplace for name, module in network.named_modules() if isinstance(module, nn.ReLU6)}
    assert set(before.values()) == {True}
    job = float32_job(network, SMALL, network_input(SMALL, Size(32, 48)), dynamic=True)
    program = trace(job)
    assert not [node for node in program.graph.nodes if str(node.target).endswith("_.default")]

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(RuntimeError):
        trace(job)
    assert before == {name: module.inplace for name, module in network.named_modules() if isinstance(module, nn.ReLU6)}


def test_a_torch_that_keeps_maps_of_one_cell_apart_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where sides are to be free."""
    monkeypatch.setattr(tracing, "shape_config", SimpleNamespace())
    input = network_input(SMALL, Size(32, 48))
    trace(float32_job(build_network(SMALL), SMALL, input))
    with pytest.raises(MnfpnError, match=r"^dynamic: needs a newer torch than 2\."):
        trace(float32_job(build_network(SMALL), SMALL, input, dynamic=True))


@needs_onnx
@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With the command that installs it; no other format needs it."""
    for installed in ("onnx", "onnxscript", "onnxruntime"):  # one that is missing takes none that was imported along
        import_module(installed)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MnfpnError) as caught:
        import_packages("onnx")
    assert str(caught.value) == f"format onnx: needs {name} (not installed): pip install 'mnfpn[onnx]'"
    import_packages("torch-export")
    import_packages("safetensors")


@needs_onnx
def test_a_package_that_does_not_work_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed, but for another system; or without what it needs itself."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libc is too old')\n")
    (tmp_path / "onnxscript.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("onnxruntime", "onnxscript"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(
        MnfpnError, match=r"onnxscript \(which needs no_such_package\), onnxruntime \(libc is too old\)"
    ):
        import_packages("onnx")


@pytest.mark.slow
def test_no_format_is_loaded_before_it_is_asked_for() -> None:
    """Importing what exports imports neither onnx nor what runs it."""
    program = "import sys, mnfpn_cli.export.export; print({'onnx', 'onnxruntime', 'onnxscript'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def asked(format: Format, path: Path, made_for: Size | None = None, **more: Any) -> str:
    """The message that refuses a request; an empty text where it is fine."""
    try:
        check_request(ExportRequest(format, path, **more), made_for)
    except UsageError as error:
        return str(error)
    return ""


def test_dense_layers_on_flattened_maps_take_one_size(tmp_path: Path) -> None:
    """So their network cannot have free sides; its batch can be."""
    path, sides = tmp_path / "out", frozenset({"height", "width"})
    assert asked("onnx", path, dynamic=sides) == ""
    assert asked("onnx", path, FLAT.made_for, dynamic=frozenset({"batch"})) == ""
    message = asked("onnx", path, FLAT.made_for, dynamic=sides)
    assert message.startswith("dynamic: must not be given where ")
    assert ": they fit only 32x48" in message
