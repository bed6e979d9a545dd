"""ONNX: the graph with its weights, batch norms folded into the convolutions before them, in one file."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mnfpn_cli.errors import MnfpnError, within
from mnfpn_cli.export.formats import import_onnxruntime
from mnfpn_cli.export.program import INPUT, LoadedFile, metadata, trace, trace_pass
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import first_line

OPSET = 18
"""What torch's exporter is written for; others it converts to. It has all that is needed here: Resize by areas."""

MAX_BYTES = 2**31 - 2**24
"""A protobuf message has at most 2 GiB; a little is left for the graph."""

WHERE = "`format` onnx"
"""What asks for a file; a runtime that writes a pass is asked for in another way."""

ERRORS_ONLY = 3
"""The severity from which on ONNX Runtime writes to standard error."""


def write(network: Network, settings: NetworkSettings, input: NetworkInput, dynamic: bool) -> bytes:
    """The model, which takes ``images`` and returns outputs by name.

    Raises:
        MnfpnError: where the weights are more than a file of this format holds, or torch cannot write the graph in it.
    """
    with within(WHERE):
        _check_weights(network)
    program = trace(network, input, dynamic)
    with within(WHERE):
        made = _converted(
            program,
            input_names=[INPUT],
            output_names=list(network.outputs),
            dynamic_shapes={INPUT: {2: "height", 3: "width"}} if dynamic else None,
        )
    made.model.metadata_props.update(metadata(settings))
    content: bytes = made.model_proto.SerializeToString()
    return content


def write_pass(network: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """The model of one pass of any network in eval mode, which takes and returns tensors in order, without names.

    Raises:
        MnfpnError: as `write`.
        Exception: whatever torch has to say of a network that it cannot trace.
    """
    _check_weights(network)
    content: bytes = _converted(trace_pass(network, inputs)).model_proto.SerializeToString()
    return content


def _check_weights(network: nn.Module) -> None:
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    if weights > MAX_BYTES:
        raise MnfpnError(
            f"holds less than 2 GiB in a file, and the weights are {weights / 2**30:.1f} GiB; "
            f"the other formats hold them"
        )


def _converted(program: ExportedProgram, **names: Any) -> torch.onnx.ONNXProgram:
    with warnings.catch_warnings():
        # torch copies its own description of a dictionary, whose class warns of being used.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        try:
            made = torch.onnx.export(
                program,
                (),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,  # else its progress is on standard output
                **names,
            )
        except torch.onnx.OnnxExporterError as error:
            raise MnfpnError(f"torch could not write this network: {_reason(error)}") from error
    assert made is not None  # it is where no file is asked for
    return made


def _reason(error: BaseException) -> str:
    """What made torch's exporter fail: it raises a cause wrapped in errors that say where it was, and give advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    kind = "" if isinstance(error, torch.onnx.OnnxExporterError) else type(error).__name__
    return ": ".join(filter(None, (kind, first_line(error))))


def read(path: Path, _plan: NetworkPlan) -> LoadedFile:
    """The model of the file, checked by onnx, in ONNX Runtime on the CPU."""
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
