"""Write and read a program of `torch.export`: a .pt2 file that torch runs without the code of the network."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from mnfpn_cli.export.axes import AXES, DynamicAxis
from mnfpn_cli.export.job import FileJob, ReadFile
from mnfpn_cli.export.program import VERSION_KEY, trace
from mnfpn_cli.external.copies import copy_network
from mnfpn_cli.external.move import move_network
from mnfpn_cli.measure.libraries import loggers_silenced, warnings_silenced
from mnfpn_cli.settings.input import DType
from mnfpn_cli.weights.header import SETTINGS_KEY

SUFFIXES = (".pt2",)
EXACT = False
DTYPES: tuple[DType, ...] = ("float32", "bfloat16", "float16")
"""Not int8: such a program has operators of torchao, without which nobody can load it."""
DYNAMIC: frozenset[DynamicAxis] = frozenset(AXES)

FILES = {SETTINGS_KEY: "mnfpn_settings.json", VERSION_KEY: "mnfpn_version.txt"}
"""Files of the archive with metadata; `torch.export.load` returns them as ``extra_files``."""


def write(job: FileJob, path: Path) -> None:
    """Write a program that takes the inputs by position, and returns a dictionary of outputs by name."""
    computing = job if job.dtype == "float32" else replace(job, network=_in_dtype(job.network, _torch_dtype(job)))
    buffer = BytesIO()
    torch.export.save(trace(computing), buffer, extra_files={_file(key): text for key, text in job.metadata.items()})
    path.write_bytes(buffer.getbuffer())


def read(path: Path, job: FileJob) -> ReadFile:
    """Load the program of a file."""
    extra_files = dict.fromkeys(map(_file, job.metadata), "")
    # torch logs a traceback before it raises; torch 2.12 warns of read-only buffers.
    unwritable = ("The given buffer is not writable", UserWarning)
    with loggers_silenced(["torch.export"]), warnings_silenced(unwritable):
        program = torch.export.load(path, extra_files=extra_files)
    return ReadFile({key: extra_files[_file(key)] for key in job.metadata}, program.module())


def annotate(path: Path, metadata: Mapping[str, str]) -> None:
    """Add files with metadata to the archive, which is a zip file, beside those that are there."""
    with ZipFile(path, "a") as archive:
        known = f"extra/{FILES[VERSION_KEY]}"
        folder = next(name.removesuffix(known) for name in archive.namelist() if name.endswith(known))
        for key, text in metadata.items():
            archive.writestr(f"{folder}extra/{_file(key)}", text)


def _file(key: str) -> str:
    return FILES.get(key, f"{key}.txt")


def _torch_dtype(job: FileJob) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, job.dtype)
    return dtype


def _in_dtype(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy that computes in a dtype; what it takes and returns stays in float32."""
    copied = copy_network(network)
    move_network(copied, torch.device("cpu"), dtype)
    copied.register_forward_pre_hook(partial(_convert_inputs, dtype))
    copied.register_forward_hook(_convert_outputs)
    return copied


def _convert_inputs(dtype: torch.dtype, _network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in inputs)


def _convert_outputs(_network: nn.Module, _inputs: object, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in outputs.items()}
