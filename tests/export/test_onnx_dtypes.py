"""int8 by ONNX Runtime's quantiser: what is folded, what is clipped, and which ranges it takes."""

import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.export import onnx as as_onnx
from mnfpn_cli.export.onnx_dtypes import METHODS, Calibration, import_tools, to_int8
from mnfpn_cli.network.network import build_network
from mnfpn_cli.quantization.quantization import Quantization
from tests.export.networks import SMALL
from tests.export.onnx_files import decibels, file_job, images, quantization, written
from tests.needs import needs_onnx

pytestmark = needs_onnx


class Shared(nn.Module):
    """A convolution that two maps go through, each with a norm of its own behind it, as in the heads of SSD."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            norm.running_mean.uniform_()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (n, 3, h, w) to two maps (n, 8, …)."""
        fine, coarse = (norm(self.conv(y)) for norm, y in zip(self.norms, (x, x[:, :, ::2, ::2]), strict=True))
        return {"fine": fine, "coarse": coarse}


class Tapped(nn.Module):
    """An output with an activation behind it, as the extra levels of RetinaNet have."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (n, 3, h, w) to two maps (n, 8, …)."""
        p6 = self.first(x - 0.5)
        return {"p6": p6, "p7": self.second(p6.relu())}


def scale_of_input(model: Any) -> float:
    """The step between two values of the input of a convolution."""
    import onnx

    (scale,) = (onnx.numpy_helper.to_array(one) for one in model.graph.initializer if one.name == "input_scale")
    return float(scale)


def test_norms_behind_a_shared_convolution_are_folded(tmp_path: Path) -> None:
    """Torch leaves them, and they would stand between conversions."""
    import onnx

    torch.manual_seed(0)
    job = file_job(Shared(), "int8")
    assert min(decibels(job, written(job, tmp_path / "out")).values()) > 25
    nodes = onnx.load(tmp_path / "out").graph.node
    assert Counter(node.op_type for node in nodes)["BatchNormalization"] == 0
    assert [node.name for node in nodes if node.op_type == "Conv"] == ["conv", "conv:2"]


def test_an_output_with_an_activation_behind_it_is_not_clipped(tmp_path: Path) -> None:
    """ONNX Runtime's quantiser would give it the range of the activation, without what is below zero."""
    torch.manual_seed(0)
    job = file_job(Tapped(), "int8")
    with torch.inference_mode():
        assert job.network(images())["p6"].min() < -0.3
    assert min(decibels(job, written(job, tmp_path / "out")).values()) > 25


@pytest.mark.parametrize("calibration", METHODS)
def test_each_calibration_has_ranges_of_its_own(calibration: Calibration, capfd: pytest.CaptureFixture[str]) -> None:
    """One value of 200,000 widens that of min-max alone. No progress is written, no logger keeps a handler."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, bias=False).eval()
    model, paths = as_onnx.pass_model(conv, (images((1, 3, 200, 200)),))
    passes = quantization(shape=(1, 3, 200, 200)).passes
    passes[0][0].view(-1)[7] = 100
    handlers = list(logging.getLogger().handlers)
    made = to_int8(model, paths, Quantization(passes), calibration)
    largest = 255 * scale_of_input(made)
    assert largest == pytest.approx(100, rel=1e-3) if calibration == "minmax" else largest < 99
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers


def test_calibration_sees_every_pass() -> None:
    """The range of the input is that of all of them."""
    conv = nn.Conv2d(3, 8, 3).eval()
    model, paths = as_onnx.pass_model(conv, (images(),))
    given = quantization()
    for index, (tensor,) in enumerate(given.passes):
        tensor.mul_(10 * (index + 1))
    assert 255 * scale_of_input(to_int8(model, paths, given)) == pytest.approx(20, rel=0.01)


def test_importing_the_quantiser_leaves_the_path_of_modules_as_it_was() -> None:
    """Its packages add their folders, whose files would hide those of others; the order of imports does not matter."""
    program = """
import sys
from mnfpn_cli.export.onnx_dtypes import import_tools
before = list(sys.path)
for name in ("quantization", "transformers.float16", "quantization.onnx_model", "quantization"):
    print(import_tools(f"onnxruntime.{name}").__name__, sys.path == before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        *("onnxruntime.quantization", "True", "onnxruntime.transformers.float16", "True"),
        *("onnxruntime.quantization.onnx_model", "True", "onnxruntime.quantization", "True"),
    ]
    import_tools("onnxruntime.quantization")


def test_weights_are_signed_bytes_per_channel_and_activations_unsigned() -> None:
    """As the processors' instructions multiply them."""
    import onnx

    model, paths = as_onnx.pass_model(build_network(SMALL, 7).eval(), (images(),))
    graph = to_int8(model, paths, quantization()).graph
    weights = {one.name: one for one in graph.initializer if one.name.endswith(".weight_quantized")}
    scales = {one.name: list(one.dims) for one in graph.initializer if one.name.endswith(".weight_scale")}
    assert len(weights) == len(paths)
    assert {one.data_type for one in weights.values()} == {onnx.TensorProto.INT8}
    for name, one in weights.items():
        assert scales[name.replace("_quantized", "_scale")] == [one.dims[0]]
    points = [one for one in graph.initializer if one.name.endswith("_zero_point") and "weight" not in one.name]
    assert {one.data_type for one in points} <= {onnx.TensorProto.UINT8, onnx.TensorProto.INT32}  # biases: int32
