"""A model of ONNX in other dtypes: int8 by ONNX Runtime's static quantiser, and float16 by its converter."""

import io
import logging
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mnfpn_cli.export.formats import import_onnxruntime
from mnfpn_cli.export.onnx_layers import MULTIPLYING, input_channels, origins
from mnfpn_cli.quantization.quantization import Passes, Quantization

if TYPE_CHECKING:
    from onnx import ModelProto

Calibration = Literal["minmax", "entropy", "percentile"]
"""How the range of an activation follows from its values in the calibration passes: all of them; the range whose 8 bits
have nearest to their distribution; or all but 1 of 100,000.

On a trained classifier (MobileNetV2, 19 breeds of dogs, 8 photographs to calibrate on, 20 to judge by) these gave 19.7,
12.9 and 19.7 dB. Entropy looks at distributions, not at the outputs, and clips.
"""

QUANTIZED_BY_SESSIONS = ("Conv", "ConvTranspose", "Gemm")

CLIPPING = ("Clip", "Relu")

METHODS: dict[Calibration, str] = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}

METHOD_OPTIONS: dict[Calibration, dict[str, Any]] = {
    "minmax": {},
    "entropy": {"num_bins": 512},  # of its usual 128, to be merged into 128, the whole range is the only choice
    "percentile": {"symmetric": False},  # as activations are quantised
}

QUANTIZED = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul"),
    *("Add", "Concat", "Clip", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Pad"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split"),
)
"""The operators whose inputs and outputs are quantised: layers, and what ONNX Runtime runs on integers between them.

It has no kernels on integers for norms, softmax and products of maps on the CPU: each would be put between conversions,
and lose accuracy for nothing. Clip and Relu vanish into the range of the convolution before them. To leave out Resize
changes nothing, for it runs in float32 anyway; to leave out Add costs three conversions and no decibel is gained.
"""

BASIC_OPTIMIZERS_OFF = ["ConstantSharing"]
"""It renames constants; the quantiser's own preparation turns it off."""


def to_int8(
    model: "ModelProto", paths: Mapping[str, str], quantization: Quantization, calibration: Calibration = "minmax"
) -> "ModelProto":
    """Return a model in int8, with a pair of QuantizeLinear and DequantizeLinear at each tensor that is quantised.

    Inputs, outputs, and the names of the nodes of layers stay as they are. Activations are unsigned and weights signed,
    per output channel (U8S8). With signed activations (S8S8) ONNX Runtime 1.31 left 25 of the 59 convolutions of the
    default network in float32, and took twice as long.

    Args:
        model: in float32, its layers named by `name_layers`; it may have open axes, as long as the passes fit.
        paths: the paths of its layers, by name of the node.
        quantization: the passes to calibrate on, and the paths of the layers that stay in float32.
        calibration: how ranges follow from the passes.

    Raises:
        Exception: any error of ONNX Runtime, where it cannot run or quantise the model.
    """
    tools = import_tools("onnxruntime.quantization")
    folded = _folded(model, paths)
    unsigned, signed = tools.QuantType.QUInt8, tools.QuantType.QInt8
    with _silent():
        ranges = _ranges(folded, quantization.passes, calibration, tools)
        floating = {node for node, path in paths.items() if path in quantization.keep_float}
        # It gives the range of an activation to the tensor before it, and would clip an output (1.31).
        outputs = {one.name for one in folded.graph.output}
        clipping = [one.name for one in folded.graph.node if one.op_type in CLIPPING and one.input[0] in outputs]
        excluded = [*floating, *clipping]
        quantizer = tools.QDQQuantizer(
            folded, True, False, signed, unsigned, ranges, [], excluded, list(QUANTIZED), {}
        )  # per channel; all 8 bits of a weight: with 7, a trained classifier lost 10 dB
        quantizer.quantize_model()
        _keep_floating(quantizer.model.model, floating)
        quantizer.model.topological_sort()
    made: ModelProto = quantizer.model.model
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    return made


def _folded(model: "ModelProto", paths: Mapping[str, str]) -> "ModelProto":
    """Return a model with all batch norms in its convolutions, and with the types of all its tensors.

    torch's exporter does not fold the norms behind a convolution that several maps go through.
    """
    import onnx

    onnxruntime = import_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "folded.onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=BASIC_OPTIMIZERS_OFF,
        )
        folded = onnx.shape_inference.infer_shapes(onnx.load(path))
    used = {node.domain for node in folded.graph.node}
    imports = [one for one in folded.opset_import if one.domain in used]  # it adds all domains that it knows
    del folded.opset_import[:]
    folded.opset_import.extend(imports)
    layers = [node for node in folded.graph.node if node.op_type in MULTIPLYING]
    for node, name in zip(layers, origins(layers, model, paths), strict=True):
        node.name = name or node.name
    return folded


def _keep_floating(model: "ModelProto", layers: Collection[str]) -> None:
    """Keep ONNX Runtime from quantising the layers that stay in float32, with a DequantizeLinear of their own.

    Where a layer in float32 is between a DequantizeLinear of one scale and a QuantizeLinear, a session quantises its
    weights after all, with one scale for all channels (1.31, its WeightBiasQuantization). So the input of such a layer
    has a scale for each channel, all the same.
    """
    import numpy
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {one.name: one for one in graph.initializer}
    producers = {made: node for node in graph.node for made in node.output}
    for layer in [node for node in graph.node if node.name in layers and node.op_type in QUANTIZED_BY_SESSIONS]:
        source = producers.get(layer.input[0])
        if source is not None and source.op_type == "DequantizeLinear" and layer.input[1] in constants:
            names = [f"{layer.name}_input_scales", f"{layer.name}_input_zero_points"]
            channels = input_channels(layer, constants[layer.input[1]].dims)
            for name, constant in zip(names, source.input[1:], strict=True):
                values = numpy.full(channels, numpy_helper.to_array(constants[constant]))
                graph.initializer.append(numpy_helper.from_array(values, name))
            made = f"{layer.name}_input"
            graph.node.append(helper.make_node("DequantizeLinear", [source.input[0], *names], [made], made, axis=1))
            layer.input[0] = made
    read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    unread = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.output[0] not in read]
    for node in unread:
        graph.node.remove(node)


def _ranges(model: "ModelProto", passes: Passes, calibration: Calibration, tools: Any) -> Any:
    """Return the range of each tensor by name, in ONNX Runtime's own type."""
    import onnx

    names = [one.name for one in model.graph.input]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "float.onnx")
        onnx.save(model, path)
        calibrator = tools.create_calibrator(
            path,
            list(QUANTIZED),
            str(Path(folder, "augmented.onnx")),
            getattr(tools.CalibrationMethod, METHODS[calibration]),
            extra_options=METHOD_OPTIONS[calibration],
        )
        for tensors in passes:  # one at a time: it holds the activations of all passes that it is given at once
            feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
            calibrator.collect_data(_Reader(feed))
        return calibrator.compute_data()


class _Reader:
    """One pass, as ONNX Runtime reads it."""

    def __init__(self, feed: dict[str, Any]):
        self.ahead = [feed]

    def get_next(self) -> dict[str, Any] | None:
        """Return the inputs of the next pass; None after the last."""
        return self.ahead.pop() if self.ahead else None


def to_float16(model: "ModelProto") -> "ModelProto":
    """Return a model that computes in float16 between inputs and outputs in float32; the given one is changed too."""
    converter = import_tools("onnxruntime.transformers.float16")
    converted = converter.convert_float_to_float16(model, keep_io_types=True)
    graph = import_tools("onnxruntime.quantization.onnx_model").ONNXModel(converted)
    graph.topological_sort()  # the converter puts the conversions of inputs last
    made: ModelProto = graph.model
    return made


def import_tools(name: str) -> Any:
    """Import a module of ONNX Runtime's that is written in Python.

    These look for each other in the path of all modules, to which their packages add their own folders. Where
    `quantization` comes first, a file of it hides another of the same name, and the import fails (1.31).
    """
    import_onnxruntime()
    before = list(sys.path)
    try:
        sys.path.insert(0, import_module("onnxruntime.transformers").__path__[0])
        return import_module(name)
    finally:
        sys.path[:] = before


@contextmanager
def _silent() -> Iterator[None]:
    """Let the quantiser neither print its progress, nor install a handler for the warnings that it logs as root."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.getLogger().removeHandler(handler)
