"""OpenVINO's files: named inputs and outputs, open axes, smaller weights, metadata, and what cannot be written."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export import openvino as as_openvino
from mnfpn_cli.export.axes import DynamicAxis
from mnfpn_cli.export.job import FileJob
from mnfpn_cli.export.openvino_model import convert_program, openvino_reason, quantize_model
from mnfpn_cli.export.program import NamedOutputs, trace_pass
from mnfpn_cli.network.network import build_network
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import SMALL, shortened
from tests.needs import needs

needs_openvino = needs("openvino")
needs_nncf = needs("openvino", "nncf")
SHAPE = (1, 3, 32, 48)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def images(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    """The same images every time."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def file_job(
    settings: NetworkSettings = SMALL, dtype: DType = "float32", dynamic: frozenset[DynamicAxis] = frozenset()
) -> FileJob:
    """A job on the same network every time, calibrated on three images."""
    network = build_network(settings).eval()
    passes = [(images(seed=seed),) for seed in range(3)]
    return FileJob(
        NamedOutputs(network),
        (images(),),
        ("images",),
        tuple(map(str, network.outputs)),
        dtype,
        Quantization(passes) if dtype == "int8" else None,
        dynamic,
        network.plan.backbone.stride,
        metadata={"mnfpn_settings": '{"a": "<é> & \\" \\n"}\n', "mnfpn_version": "1"},
    )


def decibels(expected: Tensor, actual: Tensor) -> float:
    """The power of an output over that of its difference from another."""
    return float(10 * (expected.square().sum() / (actual - expected).square().sum()).log10())


def least_decibels(job: FileJob, file: Path, given: Tensor) -> float:
    """The worst output of a file on images; its outputs have the names and the shapes of the network's."""
    run = as_openvino.read(file, job).run
    assert run is not None
    expected, found = job.network(given), run(given)
    assert list(found) == list(expected) == list(job.output_names)
    assert [one.shape for one in found.values()] == [one.shape for one in expected.values()]
    return min(decibels(one, found[name]) for name, one in expected.items())


def sizes(file: Path) -> list[int]:
    """The bytes of a model's two files."""
    return [file.with_suffix(suffix).stat().st_size for suffix in as_openvino.SUFFIXES]


@needs_openvino
@pytest.mark.parametrize(
    ("dtype", "least"),
    [("float32", 100.0), ("float16", 50.0), pytest.param("int8", 15.0, marks=needs_nncf)],
)
def test_a_file_computes_what_the_network_does(
    dtype: DType, least: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As near as the dtype allows, by names, with nothing written to the terminal."""
    job, file = file_job(dtype=dtype), tmp_path / "model.xml"
    as_openvino.write(job, file)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "model.bin", file]
    assert least_decibels(job, file, images(seed=7)) > least
    assert capfd.readouterr() == ("", "")


PRESETS = ("mobilenetv2-classifier", "mobilenetv2-fpnlite", "mobilenetv2-dynamic-fpn")


@needs_nncf
@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_weights_in_smaller_dtypes_make_smaller_files(preset: str, tmp_path: Path) -> None:
    """Half as large in float16, and about a quarter in int8: biases stay in float32."""
    large = dict[DType, int]()
    for dtype in as_openvino.DTYPES:
        as_openvino.write(file_job(shortened(preset), dtype), tmp_path / f"{dtype}.xml")
        large[dtype] = sizes(tmp_path / f"{dtype}.xml")[1]
    assert 0.49 < large["float16"] / large["float32"] < 0.52
    assert 0.25 < large["int8"] / large["float32"] < 0.36


OPEN: list[frozenset[DynamicAxis]] = [frozenset({"batch"}), frozenset({"height", "width"}), as_openvino.DYNAMIC]


@needs_openvino
@pytest.mark.parametrize(
    "axes",
    [pytest.param(axes, marks=[pytest.mark.slow] * (len(axes) < 3)) for axes in OPEN],
    ids=lambda axes: "-".join(sorted(axes)),
)
def test_axes_that_are_open_take_other_sizes(axes: frozenset[DynamicAxis], tmp_path: Path) -> None:
    """Odd ones, and the least; others are refused."""
    job, file = file_job(dynamic=axes), tmp_path / "model.xml"
    as_openvino.write(job, file)
    for batch, height, width in ((3, 33, 47), (2, job.least, job.least)):
        shape = (batch if "batch" in axes else 1, 3, *((height, width) if "height" in axes else SHAPE[2:]))
        assert least_decibels(job, file, images(shape)) > 100
    run = as_openvino.read(file, job).run
    assert run is not None
    if len(axes) < 3:
        with pytest.raises(RuntimeError):
            run(images((2, 3, 33, 47)))


@needs_nncf
@pytest.mark.slow
def test_int8_has_open_axes_too(tmp_path: Path) -> None:
    """Calibrated at one size, it runs at others."""
    job, file = file_job(dtype="int8", dynamic=as_openvino.DYNAMIC), tmp_path / "model.xml"
    as_openvino.write(job, file)
    assert least_decibels(job, file, images((3, 3, 33, 47))) > 15


@needs_openvino
def test_metadata_is_read_back_whatever_it_is(tmp_path: Path) -> None:
    """What is added later as well, and what is replaced; the weights stay where they are."""
    job, file = file_job(), tmp_path / "model.xml"
    as_openvino.write(job, file)
    assert as_openvino.read(file, job).metadata == job.metadata
    weights = file.with_suffix(".bin").read_bytes()
    as_openvino.annotate(file, {"mnfpn_version": "2", "quality": "<31> 'dB'\t\n", "empty": ""})
    added = {**job.metadata, "mnfpn_version": "2", "quality": "<31> 'dB'\t\n", "empty": ""}
    assert as_openvino.read(file, job).metadata == added
    assert file.with_suffix(".bin").read_bytes() == weights
    assert least_decibels(job, file, images()) > 100


@needs_openvino
def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    """As one that another program wrote."""
    job, file = replace(file_job(), metadata={}), tmp_path / "model.xml"
    as_openvino.write(job, file)
    assert as_openvino.read(file, job).metadata == {}


@needs_nncf
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "int8"])
def test_the_same_network_makes_the_same_files(dtype: DType, tmp_path: Path) -> None:
    """To the last byte, in a process that has made other models before; no path of this machine is in them."""
    first, second = tmp_path / "first.xml", tmp_path / "second.xml"
    as_openvino.write(file_job(dtype=dtype), first)
    as_openvino.write(file_job(dtype=dtype), second)
    for suffix in as_openvino.SUFFIXES:
        content = first.with_suffix(suffix).read_bytes()
        assert content == second.with_suffix(suffix).read_bytes()
        assert str(Path(__file__).parent).encode() not in content
        assert str(tmp_path).encode() not in content


class Several(nn.Module):
    """Takes images and whole numbers, and returns tensors of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.places = nn.Conv2d(3, 4, 1), nn.Embedding(5, 4)

    def forward(self, x: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Turn images (n, 3, h, w) and indices (n, k) into maps, and sums with the embeddings."""
        y = self.conv(x)
        return {"maps": y, "sums": y.mean((2, 3)) + self.places(index).sum(1), "next": index + 1}


@needs_openvino
def test_each_input_has_its_name_and_its_type(tmp_path: Path) -> None:
    """A network of others has several."""
    inputs = (images(), torch.tensor([[1, 4]]))
    job = FileJob(Several().eval(), inputs, ("x", "index"), ("maps", "sums", "next"))
    as_openvino.write(job, tmp_path / "model.xml")
    run = as_openvino.read(tmp_path / "model.xml", job).run
    assert run is not None
    for name, expected in job.network(*inputs).items():
        torch.testing.assert_close(run(*inputs)[name], expected)


class Twice(nn.Module):
    """Returns a tensor under two names, which OpenVINO's converter cannot."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return images (n, channels, h, w) twice."""
        y = x + 1
        return {"one": y, "two": y}


@needs_openvino
def test_what_cannot_be_converted_is_an_error_in_words(tmp_path: Path) -> None:
    """And no file is left."""
    job = FileJob(Twice(), (images(),), ("x",), ("one", "two"))
    with pytest.raises(MnfpnError, match=r"^OpenVINO cannot convert this network: Tensor name is not a number"):
        as_openvino.write(job, tmp_path / "model.xml")
    assert not list(tmp_path.iterdir())


@needs_openvino
def test_a_file_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    """As where a folder has its name; OpenVINO gives no reason."""
    (tmp_path / "model.bin").mkdir()
    with pytest.raises(MnfpnError, match=r"^OpenVINO cannot write its files, as where a disk is full: "):
        as_openvino.write(file_job(), tmp_path / "model.xml")


@needs_nncf
def test_calibration_leaves_logging_as_it_was() -> None:
    """Nncf makes all later loggers of its own class, and the conversion changes the root logger."""
    network = build_network(SMALL).eval()
    root, loggers = logging.getLogger(), logging.getLoggerClass()
    before = (root.level, root.handlers.copy(), root.filters.copy(), root.disabled)
    model = convert_program(trace_pass(network, (images(),)), [SHAPE])
    quantize_model(model, Quantization([(images(),)]))
    assert (root.level, root.handlers, root.filters, root.disabled) == before
    assert logging.getLoggerClass() is loggers
    assert not logging.getLogger("nncf").disabled


def test_the_reason_of_a_failure_is_the_line_with_the_cause() -> None:
    """Not a position in OpenVINO's source."""
    error = RuntimeError("Exception from src/core.cpp:7:\nCheck 'a' failed at src/b.cpp:8:\nno such kernel\nmore\n")
    assert openvino_reason(error) == "no such kernel"
    assert openvino_reason(RuntimeError("plain")) == "plain"
    assert openvino_reason(RuntimeError("Exception from src/core.cpp:7:")) == "Exception from src/core.cpp:7:"
