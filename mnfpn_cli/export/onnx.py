"""Write and read ONNX: one file with the graph and its weights, batch norms folded into convolutions."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export.formats import AXES, DynamicAxis, import_onnxruntime
from mnfpn_cli.export.job import FileJob, ReadFile
from mnfpn_cli.export.program import open_axes, trace, trace_pass
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line

OPSET = 18
"""The opset that torch's exporter writes without conversion. It has all that is needed here: Resize by areas."""

MAX_BYTES = 2**31 - 2**24
"""The most bytes of weights: a protobuf message has at most 2 GiB, with some left for the graph."""

ERRORS_ONLY = 3
"""The log severity at which ONNX Runtime writes errors only."""


SUFFIXES = (".onnx",)
EXACT = False
DTYPES: tuple[DType, ...] = ("float32",)
DYNAMIC: frozenset[DynamicAxis] = frozenset(AXES)


def write(job: FileJob, path: Path) -> None:
    """Write a file whose model takes inputs and returns outputs by name.

    Raises:
        MnfpnError: where the weights are too large for the format, or torch cannot convert the graph.
    """
    _check_weights(job.network)
    program = trace(job)
    model = _converted(
        program,
        input_names=list(job.input_names),
        output_names=list(job.output_names),
        dynamic_shapes=[open_axes(tensor, job.dynamic) for tensor in job.inputs] if job.dynamic else None,
    )
    model.model.metadata_props.update(job.metadata)
    path.write_bytes(model.model_proto.SerializeToString())


def write_pass(network: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """Return a model of one pass of any network in eval mode, with inputs and outputs in order, not by name.

    Raises:
        MnfpnError: as `write`.
        Exception: any error of torch, where it cannot trace the network.
    """
    _check_weights(network)
    content: bytes = _converted(trace_pass(network, inputs)).model_proto.SerializeToString()
    return content


def _check_weights(network: nn.Module) -> None:
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    if weights > MAX_BYTES:
        raise MnfpnError(
            f"must hold less than 2 GiB of weights, got {weights / 2**30:.1f} GiB; the other formats can hold them"
        )


def _converted(program: ExportedProgram, **names: Any) -> torch.onnx.ONNXProgram:
    with warnings.catch_warnings():
        # torch itself copies an object of a class that it has deprecated.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        # Inputs that share an open axis share its name.
        warnings.filterwarnings("ignore", "# The axis name: .* will not be used, since it shares", UserWarning)
        try:
            exported = torch.onnx.export(
                program,
                (),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,  # otherwise it prints progress to standard output
                **names,
            )
        except torch.onnx.OnnxExporterError as error:
            raise MnfpnError(f"torch could not write this network: {_reason(error)}") from error
    assert exported is not None  # without a file argument
    return exported


def _reason(error: BaseException) -> str:
    """Return the innermost cause: torch's exporter wraps it in errors with positions and advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    kind = "" if isinstance(error, torch.onnx.OnnxExporterError) else type(error).__name__
    return ": ".join(filter(None, (kind, first_line(error))))


def read(path: Path, job: FileJob) -> ReadFile:
    """Check a file by onnx, and load it in ONNX Runtime on the CPU."""
    import onnx

    onnxruntime = import_onnxruntime()
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(*tensors: Tensor) -> dict[str, Tensor]:
        arrays = session.run(names, {name: one.numpy() for name, one in zip(job.input_names, tensors, strict=True)})
        return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}

    return ReadFile(session.get_modelmeta().custom_metadata_map, run)


def annotate(path: Path, metadata: Mapping[str, str]) -> None:
    """Add metadata to a file."""
    import onnx

    model = onnx.load(str(path))
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    onnx.save(model, str(path))
