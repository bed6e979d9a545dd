"""Files of ONNX: in each dtype, with open axes, of each opset, and with metadata."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.export import onnx as as_onnx
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.settings.input import DType
from tests.export.onnx_files import decibels, file_job, images, quantization, written
from tests.needs import needs_onnx
from tests.tiers import slow_but

pytestmark = needs_onnx

LEAST_DB: dict[DType, float] = {"float32": 100, "float16": 40, "int8": 20}
"""Signal to noise of the small network: what each dtype has, less a few decibels."""


@pytest.mark.parametrize("dtype", slow_but("int8", as_onnx.DTYPES))
def test_a_file_computes_in_its_dtype_between_inputs_and_outputs_in_float32(
    tmp_path: Path, dtype: DType, capfd: pytest.CaptureFixture[str]
) -> None:
    """As near to the network as the dtype allows, and with nothing written to the terminal by others."""
    job = replace(file_job(dtype=dtype), metadata={"settings": "{}"})
    path = tmp_path / "out"
    found = decibels(job, file := written(job, path))
    assert list(found) == ["p2", "p3"]
    assert LEAST_DB[dtype] < min(found.values()) < LEAST_DB[dtype] + 60
    assert dict(file.metadata) == {"settings": "{}"}
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", slow_but("int8", as_onnx.DTYPES))
def test_open_axes_take_any_batch_and_size(tmp_path: Path, dtype: DType) -> None:
    """Of one image and several, odd sides, and the least size, whatever the passes of the calibration were."""
    import onnx

    job = file_job(None, dtype, "batch", "height", "width")
    file = written(job, tmp_path / "out")
    for shape in ((2, 3, 32, 48), (1, 3, 8, 8), (3, 3, 33, 47)):
        # A calibration on 32×48 does not have the range of every other image.
        assert min(decibels(job, file, images(shape)).values()) > LEAST_DB[dtype] - 5
    (given,) = onnx.load(tmp_path / "out").graph.input
    assert [one.dim_param or one.dim_value for one in given.type.tensor_type.shape.dim] == [
        "batch",
        3,
        "height",
        "width",
    ]


@pytest.mark.slow
def test_one_axis_can_be_open_alone(tmp_path: Path) -> None:
    """The others are as large as the images of the job."""
    job = file_job(None, "float32", "batch")
    file = written(job, tmp_path / "out")
    assert min(decibels(job, file, images((5, 3, 32, 48))).values()) > LEAST_DB["float32"]
    assert file.run is not None
    with pytest.raises(Exception, match=r"(?s)INVALID_ARGUMENT.*images"):
        file.run(images((2, 3, 64, 48)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_file_has_the_opset_that_was_asked_for(tmp_path: Path, dtype: DType) -> None:
    """The last is as good as the usual one."""
    import onnx

    for opset in (None, as_onnx.LAST_OPSET):
        job = replace(file_job(dtype=dtype), opset=opset)
        assert min(decibels(job, written(job, tmp_path / "out")).values()) > LEAST_DB[dtype]
        imports = {one.domain: one.version for one in onnx.load(tmp_path / "out").opset_import}
        assert imports == {"": opset or as_onnx.OPSET}


@pytest.mark.parametrize("opset", [-1, 0, 17, 24])
def test_an_opset_that_torch_does_not_write_is_refused(tmp_path: Path, opset: int) -> None:
    """Before anything is traced; torch would write another, and say so in its log alone."""
    with pytest.raises(UsageError) as caught:
        as_onnx.write_file(replace(file_job(), opset=opset), tmp_path / "out")
    assert str(caught.value) == f"opset: must be 18 to 23, which torch can write, got {opset}"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_same_job_makes_the_same_file(tmp_path: Path) -> None:
    """To the byte, also in int8."""
    for name in "ab":
        as_onnx.write_file(file_job(dtype="int8"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_metadata_is_added_to_a_file_that_was_written(tmp_path: Path) -> None:
    """A text replaces that of its name; the network stays as it was."""
    job = replace(file_job(dtype="int8"), metadata={"settings": "{}", "quality": "?"})
    before = decibels(job, written(job, tmp_path / "out"))
    as_onnx.annotate(tmp_path / "out", {"quality": "24 dB", "images": "8"})
    file = as_onnx.read_file(tmp_path / "out", job)
    assert dict(file.metadata) == {"settings": "{}", "quality": "24 dB", "images": "8"}
    assert decibels(job, file) == before


def test_a_network_that_cannot_be_quantised_is_an_error_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ONNX Runtime raises; its first line is in it. Where memory runs out, that is the error."""
    job = replace(file_job(dtype="int8"), quantization=Quantization([(images((1, 1, 2, 2)),)]))
    with pytest.raises(MnfpnError, match=r"^ONNX Runtime cannot convert this network to int8: .*INVALID_ARGUMENT"):
        as_onnx.write_file(job, tmp_path / "out")

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(as_onnx, "to_int8", exhausted)
    with pytest.raises(MemoryError):
        as_onnx.write_file(file_job(dtype="int8"), tmp_path / "out")


class Several(nn.Module):
    """Images and numbers in; images of one input have other sides than those of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.embed = nn.Embedding(5, 4)

    def forward(self, first: Tensor, places: Tensor) -> dict[str, Tensor]:
        """Map (n, 3, h, w) and (n,) to (n, 4, h - 2, w - 2)."""
        return {"sum": self.conv(first) + self.embed(places)[:, :, None, None]}


@pytest.mark.parametrize("dtype", slow_but("int8", ["float32", "int8"]))
def test_a_network_of_others_has_its_own_inputs(tmp_path: Path, dtype: DType) -> None:
    """By name, several, and whole numbers as they are; the batch of all is open."""
    torch.manual_seed(0)
    given = (images(), torch.tensor([1, 3]))
    job = file_job(dtype=dtype)
    job = replace(
        job,
        network=Several().eval(),
        inputs=given,
        input_names=("pictures", "words"),
        output_names=("sum",),
        dynamic=frozenset({"batch"}),
        quantization=Quantization([given, (images(), torch.tensor([0, 4]))]) if job.quantization else None,
    )
    file = written(job, tmp_path / "out")
    assert file.run is not None
    other = (images((3, 3, 32, 48)), torch.tensor([0, 1, 4]))
    with torch.inference_mode():
        expected = job.network(*other)["sum"]
    torch.testing.assert_close(file.run(*other)["sum"], expected, rtol=0, atol=1e-5 if dtype == "float32" else 0.1)


def test_layers_are_named_in_the_file(tmp_path: Path) -> None:
    """By their paths: who opens the file finds the layer of the network."""
    import onnx

    job = replace(file_job(dtype="int8"), quantization=quantization("pyramid.lateral.p2"))
    as_onnx.write_file(job, tmp_path / "out")
    nodes = {node.name for node in onnx.load(tmp_path / "out").graph.node if node.op_type == "Conv"}
    assert nodes == {path for path, module in job.network.named_modules() if isinstance(module, nn.Conv2d)}
