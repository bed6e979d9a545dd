"""Write and read ONNX: one file with the graph and its weights, batch norms folded into convolutions."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.export.axes import AXES, DynamicAxis
from mnfpn_cli.export.formats import import_onnxruntime
from mnfpn_cli.export.job import FileJob, ReadFile
from mnfpn_cli.export.onnx_dtypes import to_float16, to_int8
from mnfpn_cli.export.onnx_layers import name_layers, onnx_modules
from mnfpn_cli.export.program import open_axes, trace, trace_pass
from mnfpn_cli.measure.layer_times import LayerCall
from mnfpn_cli.measure.libraries import failure_in_words
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line

if TYPE_CHECKING:
    from onnx import ModelProto

SUFFIXES = (".onnx",)
EXACT = False
DTYPES: tuple[DType, ...] = ("float32", "float16", "int8")
DYNAMIC: frozenset[DynamicAxis] = frozenset(AXES)

OPSET = 18
"""The opset that torch's exporter writes without conversion. It has all that is needed here: Resize by areas."""

LAST_OPSET = 23
"""The last opset that torch's exporter is made for. To those before 18 it converts only some networks."""

MAX_BYTES = 2**31 - 2**24
"""The most bytes of weights: a protobuf message has at most 2 GiB, with some left for the graph."""

ERRORS_ONLY = 3
"""The log severity at which ONNX Runtime writes errors only."""


def write(job: FileJob, path: Path) -> None:
    """Write a file whose model takes inputs and returns outputs by name.

    Raises:
        UsageError: where there is no such opset.
        MnfpnError: where the weights are too large for the format, or the graph cannot be converted.
    """
    opset = _checked_opset(job.opset)
    _check_weights(job.network)
    model = _converted(
        trace(job),
        opset,
        input_names=list(job.input_names),
        output_names=list(job.output_names),
        dynamic_shapes=[open_axes(tensor, job.dynamic) for tensor in job.inputs] if job.dynamic else None,
    ).model_proto
    converted = _in_dtype(model, job)
    _describe(converted, job.metadata)
    path.write_bytes(converted.SerializeToString())


def _checked_opset(opset: int | None) -> int:
    if opset is not None and not OPSET <= opset <= LAST_OPSET:
        raise UsageError(Problem("`opset`", f"must be {OPSET} to {LAST_OPSET}, which torch can write", str(opset)))
    return opset or OPSET


def _in_dtype(model: "ModelProto", job: FileJob) -> "ModelProto":
    """Return a model in the dtype of a job, its layers named by their paths."""
    paths = name_layers(model, job.network)
    with failure_in_words(f"ONNX Runtime cannot convert this network to {job.dtype}"):
        if job.quantization:
            return to_int8(model, paths, job.quantization)
        return to_float16(model) if job.dtype == "float16" else model


def _describe(model: "ModelProto", metadata: Mapping[str, str]) -> None:
    """Add metadata to a model; a text replaces that of the same name."""
    import onnx

    before = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(model, before | dict(metadata))


def write_pass(network: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """Return the content of the file of a model as `pass_model` makes it.

    Raises:
        MnfpnError: as `pass_model`.
        Exception: any error of torch, where it cannot trace the network.
    """
    model, _ = pass_model(network, inputs)
    content: bytes = model.SerializeToString()
    return content


def pass_model(network: nn.Module, inputs: tuple[Tensor, ...]) -> "tuple[ModelProto, dict[str, str]]":
    """Return a model of one pass of any network in eval mode, and the paths of its layers by name of their nodes.

    Inputs and outputs are in order, not by name.

    Raises:
        MnfpnError: where the weights are too large for a model, or torch cannot convert the graph.
        Exception: any error of torch, where it cannot trace the network.
    """
    model, paths, _ = sourced_pass_model(network, inputs)
    return model, paths


def sourced_pass_model(
    network: nn.Module, inputs: tuple[Tensor, ...]
) -> "tuple[ModelProto, dict[str, str], dict[str, LayerCall]]":
    """Return what `pass_model` returns, and the modules that all nodes come from by the names of the nodes.

    Raises:
        MnfpnError: as `pass_model`.
        Exception: any error of torch, where it cannot trace the network.
    """
    _check_weights(network)
    converted = _converted(trace_pass(network, inputs))
    model = converted.model_proto
    paths = name_layers(model, network)
    sources = {name: LayerCall(path) for name, path in paths.items()}
    if converted.exported_program is not None:
        sources |= onnx_modules(model, converted.exported_program)
    return model, paths, sources


def _check_weights(network: nn.Module) -> None:
    weights = sum(one.nbytes for one in network.state_dict().values() if isinstance(one, Tensor))
    if weights > MAX_BYTES:
        raise MnfpnError(
            f"must hold less than 2 GiB of weights, got {weights / 2**30:.1f} GiB; the other formats can hold them"
        )


def _converted(program: ExportedProgram, opset: int = OPSET, **names: Any) -> torch.onnx.ONNXProgram:
    with warnings.catch_warnings():
        # torch itself copies an object of a class that it has deprecated.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        # Inputs that share an open axis share its name.
        warnings.filterwarnings("ignore", "# The axis name: .* will not be used, since it shares", UserWarning)
        try:
            exported = torch.onnx.export(
                program,
                (),
                opset_version=opset,
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
    """Add metadata to a file that was written."""
    import onnx

    model = onnx.load(path)
    _describe(model, metadata)
    path.write_bytes(model.SerializeToString())
