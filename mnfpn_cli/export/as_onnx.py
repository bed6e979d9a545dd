"""ONNX: the graph with its weights, batch norms folded into the convolutions before them, in one file."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export.metadata import metadata
from mnfpn_cli.export.opened import Opened
from mnfpn_cli.export.trace import INPUT, trace
from mnfpn_cli.measure.devices import first_line
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.models import NetworkSettings

OPSET = 18
"""What torch's exporter is written for; others it converts to. It has all that is needed here: Resize by areas."""

MAX_BYTES = 2**31 - 2**24
"""A protobuf message has at most 2 GiB; a little is left for the graph."""

ERRORS_ONLY = 3
"""The severity from which on ONNX Runtime writes to standard error."""


def write(network: Network, settings: NetworkSettings, input: NetworkInput, dynamic: bool) -> bytes:
    """The model, which takes ``images`` and returns outputs by name.

    Raises:
        MnfpnError: where the weights are more than a file of this format holds, or torch cannot write the graph in it.
    """
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    if weights > MAX_BYTES:
        raise MnfpnError(
            f"--format onnx: holds less than 2 GiB in a file, and the weights are {weights / 2**30:.1f} GiB; "
            f"the other formats hold them"
        )
    program = trace(network, settings, input, dynamic)
    sides = {INPUT: {2: "height", 3: "width"}} if dynamic else None
    with warnings.catch_warnings():
        # torch copies its own description of a dictionary, whose class warns of being used.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        try:
            made = torch.onnx.export(
                program,
                (),
                input_names=[INPUT],
                output_names=list(network.outputs),
                dynamic_shapes=sides,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,  # else its progress is on standard output
            )
        except torch.onnx.OnnxExporterError as error:
            raise MnfpnError(f"--format onnx: torch could not write this network: {first_line(error)}") from error
    assert made is not None  # it is where no file is asked for
    made.model.metadata_props.update(metadata(settings))
    content: bytes = made.model_proto.SerializeToString()
    return content


def read(path: Path, _settings: NetworkSettings) -> Opened:
    """The model of the file, checked by onnx, in ONNX Runtime on the CPU."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, Tensor]:
        arrays = session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}

    return Opened(session.get_modelmeta().custom_metadata_map, run)
