"""Write and read ONNX: one file with the graph and its weights, batch norms folded into convolutions."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mnfpn_cli.errors import MnfpnError, within
from mnfpn_cli.export.formats import import_onnxruntime
from mnfpn_cli.export.program import INPUT, LoadedFile, settings_metadata, trace, trace_pass
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import first_line

OPSET = 18
"""The opset that torch's exporter writes without conversion. It has all that is needed here: Resize by areas."""

MAX_BYTES = 2**31 - 2**24
"""The most bytes of weights: a protobuf message has at most 2 GiB, with some left for the graph."""

WHERE = "`format` onnx"
"""Where errors of `write` belong; `write_pass` is called by a runtime, which has no format."""

ERRORS_ONLY = 3
"""The log severity at which ONNX Runtime writes errors only."""


def write(network: Network, settings: NetworkSettings, input: NetworkInput, dynamic: bool) -> bytes:
    """Return the content of a file whose model takes ``images`` and returns outputs by name.

    Raises:
        MnfpnError: where the weights are too large for the format, or torch cannot convert the graph.
    """
    with within(WHERE):
        _check_weights(network)
    program = trace(network, input, dynamic)
    with within(WHERE):
        model = _converted(
            program,
            input_names=[INPUT],
            output_names=list(network.outputs),
            dynamic_shapes={INPUT: {2: "height", 3: "width"}} if dynamic else None,
        )
    model.model.metadata_props.update(settings_metadata(settings))
    content: bytes = model.model_proto.SerializeToString()
    return content


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


def read(path: Path, _plan: NetworkPlan) -> LoadedFile:
    """Check a file by onnx, and load it in ONNX Runtime on the CPU."""
    import onnx

    onnxruntime = import_onnxruntime()
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, Tensor]:
        arrays = session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}

    return LoadedFile(session.get_modelmeta().custom_metadata_map, run)
