"""LiteRT: files that were made elsewhere, with their own order of axes and their own whole numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.runtimes import litert
from mnfpn_cli.runtimes.runtime import Job, Operator
from tests.needs import needs
from tests.runtimes.jobs import CPU

needs_litert = needs("ai_edge_litert", "flatbuffers")

SCALE, ZERO = 1 / 255, -128
"""Of images in int8, which have values from 0 to 1."""
WEIGHT_SCALE, OUTPUT_SCALE = 1 / 127, 1 / 16


def pointwise() -> nn.Conv2d:
    """A convolution from three channels to two, the same every time."""
    layer = nn.Conv2d(3, 2, 1, bias=False)
    nn.init.uniform_(layer.weight, -1, 1, generator=torch.Generator().manual_seed(0))
    return layer.requires_grad_(False)


def images(height: int = 4) -> Tensor:
    """Images, the same every time."""
    return torch.rand(2, 3, height, 6, generator=torch.Generator().manual_seed(1))


def job(*inputs: Tensor) -> Job:
    """A job on inputs; its network is not read."""
    return Job(nn.Identity(), False, inputs or (images(),), CPU, "float32")


def write_file(path: Path, int8: bool = False) -> Path:
    """Write a file with the convolution: NHWC, as converters make them."""
    import ai_edge_litert.schema_py_generated as schema
    import flatbuffers

    weight = pointwise().weight.permute(0, 2, 3, 1).numpy()
    bias = np.zeros(2, np.int32 if int8 else np.float32)
    if int8:
        weight = np.round(weight / WEIGHT_SCALE).astype(np.int8)

    def tensor(name: str, shape: tuple[int, ...], buffer: int, scale: float, zero: int = 0, whole: str = "INT8") -> Any:
        quantised = schema.QuantizationParametersT(scale=[scale], zeroPoint=[zero]) if int8 else None
        kind = getattr(schema.TensorType, whole if int8 else "FLOAT32")
        return schema.TensorT(shape=list(shape), type=kind, buffer=buffer, name=name, quantization=quantised)

    options = schema.Conv2DOptionsT(strideW=1, strideH=1)
    code = schema.BuiltinOperator.CONV_2D
    operator = schema.OperatorT(
        inputs=[0, 1, 2], outputs=[3], builtinOptionsType=schema.BuiltinOptions.Conv2DOptions, builtinOptions=options
    )
    tensors = [
        tensor("images", (2, 4, 6, 3), 0, SCALE, ZERO),
        tensor("weight", (2, 1, 1, 3), 1, WEIGHT_SCALE),
        tensor("bias", (2,), 2, SCALE * WEIGHT_SCALE, whole="INT32"),
        tensor("scores", (2, 4, 6, 2), 0, OUTPUT_SCALE),
    ]
    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=3 if int8 else 1)],
        subgraphs=[schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[3], operators=[operator])],
        buffers=[schema.BufferT()] + [schema.BufferT(data=list(one.tobytes())) for one in (weight, bias)],
    )
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_it_runs_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the network: nothing here makes such a file of it."""
    monkeypatch.setattr(litert, "find_spec", lambda _name: "found")
    assert litert.unavailable_reason(CPU, "float32", True) == "inference only"
    assert litert.unavailable_reason(CPU, "int8", False) is None
    assert litert.unavailable_reason(CPU, "bfloat16", False) == "float32 and int8 only"
    assert litert.unavailable_reason(torch.device("cuda"), "float32", False) == "runs on the CPU alone"
    with pytest.raises(MnfpnError, match=r"^LiteRT runs \.tflite files alone, which are made elsewhere$"):
        litert.prepare(job())
    monkeypatch.setattr(litert, "find_spec", lambda _name: None)
    assert litert.unavailable_reason(CPU, "float32", False) == "not installed: pip install 'mnfpn[litert]'"
    with pytest.raises(MnfpnError, match=r"^x\.tflite: LiteRT is not installed: pip install 'mnfpn\[litert\]'$"):
        litert.prepare(replace(job(), file=Path("x.tflite")))


@needs_litert
@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_images_and_maps_have_the_order_of_torch(int8: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Channels first, and in float32, though the file has them last; other values take effect; nothing is written."""
    path = write_file(tmp_path / "made.tflite", int8)
    prepared = litert.prepare(replace(job(), file=path))
    allowed = OUTPUT_SCALE / 2 + 0.02 if int8 else 1e-6  # half a step of the output, and the rounded weights
    for factor in (1.0, 0.5):
        prepared.inputs[0].copy_(images() * factor)
        (found,) = prepared.outputs(prepared.run())
        wanted = pointwise()(images() * factor)
        assert (found.shape, found.dtype) == (wanted.shape, torch.float32)
        assert (found - wanted).abs().max() <= allowed
    assert prepared.inputs[0].shape == images().shape
    assert prepared.file_bytes == path.stat().st_size
    assert prepared.graph
    assert prepared.graph().operators == (Operator("scores", "int8" if int8 else "float32", 2 * 4 * 6 * 2 * 3),)
    assert litert.dtype_of(path) == ("int8" if int8 else "float32")
    assert capfd.readouterr() == ("", "")


@needs_litert
def test_a_file_that_does_not_fit_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of another size, with another number of inputs, no such file, or none at all."""
    path = write_file(tmp_path / "made.tflite")
    with pytest.raises(MnfpnError, match=r"must take inputs of 2×3×8×6, or the same as NHWC, got 2×4×6×3$"):
        litert.prepare(replace(job(images(8)), file=path))
    with pytest.raises(MnfpnError, match=r"must take as many inputs as the network, 2, got 1$"):
        litert.prepare(replace(job(images(), images()), file=path))
    (tmp_path / "text.tflite").write_text("no such file, but long enough for a header")
    with pytest.raises(MnfpnError, match=r"text\.tflite: LiteRT cannot run this file: "):
        litert.dtype_of(tmp_path / "text.tflite")
    with pytest.raises(MnfpnError, match=r"none\.tflite: cannot be read: No such file or directory$"):
        litert.prepare(replace(job(), file=tmp_path / "none.tflite"))
    assert capfd.readouterr() == ("", "")
