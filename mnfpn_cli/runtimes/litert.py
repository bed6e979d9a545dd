"""LiteRT, on a .tflite file that was made elsewhere: its converter's packages do not fit ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.measure.libraries import native_stderr_silenced
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Operator, Prepared, ReportShare
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operators with MACs: their second input is the weight, with the output channels first, but in a depthwise one."""

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
INTEGERS = (np.int8, np.uint8)


ANY_NETWORK = True


def unavailable_reason(device: torch.device, dtype: DType, train: bool) -> str | None:
    """Return why it cannot run here: it runs files in float32 and int8, on the CPU."""
    if train:
        return "inference only"
    if find_spec("ai_edge_litert") is None:
        return "not installed: pip install 'mnfpn[litert]'"
    if device.type != "cpu":
        return "runs on the CPU alone"
    return None if dtype in ("float32", "int8") else "float32 and int8 only"


def dtype_of(path: Path) -> DType:
    """Return what the convolutions and dense layers of a file compute in: int8 where most of their MACs read int8.

    Raises:
        MnfpnError: where it is no .tflite file.
    """
    return "int8" if (graph_of_file(path).share_in("int8") or 0) > 0.5 else "float32"


def time_layers(_job: Job, _works: Sequence[LayerWork], _passes: int, _progress: ReportShare) -> LayerTimes:
    """Refuse.

    Raises:
        UnavailableError: always.
    """
    raise UnavailableError("the operators of a file do not name the layers that they were made of")


def prepare(job: Job) -> Prepared:
    """Load the job's file, to run on as many threads as torch, by XNNPACK.

    The tensors that a pass reads have the order of the job's inputs, (n, channels, h, w), whatever order the file has:
    where it is NHWC, their memory is, so nothing is transposed in a pass. Where the file reads whole numbers, a pass
    turns these tensors into them by the scale of the file. Outputs are in float32, maps as (n, channels, h, w).

    Raises:
        MnfpnError: where it is no .tflite file, takes other inputs, or cannot run.
    """
    path = job.file
    if path is None:
        raise MnfpnError("LiteRT runs .tflite files alone, which are made elsewhere")
    with _explained(path):
        interpreter = _interpreter(path, delegates=True)
        ports = [Port.of(details) for details in interpreter.get_input_details()]
        if len(ports) != len(job.inputs):
            raise MnfpnError(f"{path}: must take as many inputs as the network, {len(job.inputs)}, got {len(ports)}")
        inputs = tuple(port.input_like(tensor, path) for port, tensor in zip(ports, job.inputs, strict=True))
        nhwc = any(not one.is_contiguous() for one in inputs)
        run = partial(_run, interpreter, ports, inputs)
        run()
        outputs = [Port.of(details) for details in interpreter.get_output_details()]
    return Prepared(
        run,
        inputs,
        outputs=lambda _: tuple(port.output(interpreter, nhwc) for port in outputs),
        graph=partial(graph_of_file, path),
        file_bytes=path.stat().st_size,
    )


@dataclass(frozen=True)
class Port:
    """An input or an output of a file: its place, shape, element type, and how whole numbers stand for others."""

    index: int
    shape: tuple[int, ...]
    dtype: Any
    scale: float
    zero: int

    @classmethod
    def of(cls, details: dict[str, Any]) -> "Port":
        """Return the port that LiteRT describes."""
        shape = tuple(int(side) for side in details["shape"])
        scale, zero = details["quantization"]
        return cls(int(details["index"]), shape, details["dtype"], float(scale), int(zero))

    def input_like(self, tensor: Tensor, path: Path) -> Tensor:
        """Return a copy of a tensor in the memory order of the file: NHWC, where its shape says so.

        Raises:
            MnfpnError: where the file takes another shape.
        """
        own = tuple(tensor.shape)
        if own == self.shape:
            return tensor.contiguous()
        if len(own) == 4 and (own[0], own[2], own[3], own[1]) == self.shape:
            return tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        wanted, found = ("×".join(map(str, shape)) for shape in (own, self.shape))
        raise MnfpnError(f"{path}: must take inputs of {wanted}, or the same as NHWC, got {found}")

    def value(self, tensor: Tensor) -> Any:
        """Return what the interpreter takes for a tensor, as an array in the order of the file."""
        ordered = tensor if tuple(tensor.shape) == self.shape else tensor.permute(0, 2, 3, 1)
        if self.dtype not in INTEGERS or not self.scale:
            return ordered.numpy().astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        return (ordered / self.scale).round_().add_(self.zero).clamp_(limits.min, limits.max).numpy().astype(self.dtype)

    def output(self, interpreter: Any, nhwc: bool) -> Tensor:
        """Return a copy of an output in float32; of maps, as (n, channels, h, w)."""
        tensor = torch.from_numpy(interpreter.get_tensor(self.index))
        if self.dtype in INTEGERS and self.scale:
            tensor = (tensor.float() - self.zero) * self.scale
        return tensor.permute(0, 3, 1, 2) if nhwc and tensor.dim() == 4 else tensor


def _run(interpreter: Any, ports: Sequence[Port], inputs: Sequence[Tensor]) -> None:
    for port, tensor in zip(ports, inputs, strict=True):
        interpreter.set_tensor(port.index, port.value(tensor))
    interpreter.invoke()


def graph_of_file(path: Path) -> ExecutedGraph:
    """Return the operators of a file that have MACs, by the names of their outputs; LiteRT runs them as they are.

    Raises:
        MnfpnError: where it is no .tflite file.
    """
    with _explained(path):
        interpreter = _interpreter(path, delegates=False)
        tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
        operations = interpreter._get_ops_details()
    operators = []
    for one in operations:
        if one["op_name"] in WEIGHTED:
            x, weight, y = (tensors[index] for index in (*one["inputs"][:2], one["outputs"][0]))
            window = weight["shape"][1:3] if one["op_name"] == "DEPTHWISE_CONV_2D" else weight["shape"][1:]
            macs = prod(int(side) for side in (*y["shape"], *window))
            operators.append(Operator(y["name"], "int8" if x["dtype"] in INTEGERS else "float32", macs))
    conversions = sum(one["op_name"] in CONVERSIONS for one in operations)
    return ExecutedGraph(tuple(operators), conversions)


def _interpreter(path: Path, delegates: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN if delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    content = path.read_bytes()
    interpreter = Interpreter(
        model_content=content, num_threads=torch.get_num_threads(), experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn LiteRT's exceptions into an `MnfpnError`, and silence what it logs to standard error."""
    if find_spec("ai_edge_litert") is None:
        raise MnfpnError(f"{path}: LiteRT is not installed: pip install 'mnfpn[litert]'")
    try:
        with native_stderr_silenced():
            yield
    except (ValueError, RuntimeError) as error:
        raise MnfpnError(f"{path}: LiteRT cannot run this file: {first_line(error)}") from error
    except OSError as error:
        raise MnfpnError(f"{path}: cannot be read: {error.strerror}") from error
