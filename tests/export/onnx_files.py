"""What these tests write as ONNX: small networks, whose passes have random values, the same every time."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mnfpn_cli.export import onnx as as_onnx
from mnfpn_cli.export.job import DynamicAxis, FileJob, ReadFile
from mnfpn_cli.export.program import NamedOutputs
from mnfpn_cli.network.network import build_network
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.settings.input import DType
from tests.export.networks import SMALL

SHAPE = (2, 3, 32, 48)


def images(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    """Images of values from 0 to 1."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def quantization(*keep_float: str, shape: tuple[int, ...] = SHAPE) -> Quantization:
    """Calibration on two passes, of which the first has the images of these tests."""
    return Quantization([(images(shape),), (images(shape, 1),)], frozenset(keep_float))


def file_job(network: nn.Module | None = None, dtype: DType = "float32", *dynamic: DynamicAxis) -> FileJob:
    """A file of a network whose passes return dictionaries, a small one from settings by default."""
    network = network or NamedOutputs(build_network(SMALL, 7))
    with torch.inference_mode():
        names = tuple(network.eval()(images()))
    made = FileJob(network, (images(),), ("images",), names, dtype, dynamic=frozenset(dynamic), least=8)
    return replace(made, quantization=quantization()) if dtype == "int8" else made


def written(job: FileJob, path: Path) -> ReadFile:
    """Write a file, and read it back."""
    as_onnx.write(job, path)
    return as_onnx.read(path, job)


@torch.inference_mode()
def decibels(job: FileJob, file: ReadFile, given: Tensor | None = None) -> Mapping[str, float]:
    """The signal to noise of each output of a file, in dB, beside the network in float32."""
    given = images() if given is None else given
    expected = job.network(given)
    assert file.run is not None
    found = file.run(given)
    assert {name: (one.shape, one.dtype) for name, one in found.items()} == {
        name: (one.shape, one.dtype) for name, one in expected.items()
    }
    return {name: snr_db(one, found[name]) for name, one in expected.items()}


def snr_db(expected: Tensor, found: Tensor) -> float:
    """The power of an output over that of the difference, in dB."""
    return float(10 * torch.log10(expected.square().sum() / (expected - found).square().sum()))
