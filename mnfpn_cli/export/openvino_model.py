"""Convert a network to a model of OpenVINO, with layers named by their paths, and quantise it to int8 by nncf."""

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partialmethod
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.fx import Node as TracedNode

from mnfpn_cli.measure.layer_times import LayerCall
from mnfpn_cli.measure.libraries import CUDA_TOOLKIT, loggers_silenced
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.text import first_line, strip_colours

if TYPE_CHECKING:
    from openvino import Model, Node
    from torch.export import ExportedProgram  # takes two seconds to import

PATH = "mnfpn_path"
"""The key of a layer's path in the runtime information of a node that has MACs."""

MODULE, CALL = "mnfpn_module", "mnfpn_call"
"""The keys, in that of any node, of the path of its module, and of which call of the module it is.

Where OpenVINO folds a batch norm into a layer, these are those of the norm: of a layer, `PATH` stays.
"""


@contextmanager
def _telemetry_blocked() -> Iterator[None]:
    """Hide openvino_telemetry, which reports imports and conversions to Google Analytics, from imports here."""
    imported = "openvino_telemetry" in sys.modules
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's way to say: not installed
    try:
        yield
    finally:
        if not imported:
            sys.modules.pop("openvino_telemetry", None)


def import_openvino() -> Any:
    """Import openvino without its telemetry."""
    with _telemetry_blocked():
        import openvino
    return openvino


@cache
def openvino_core() -> Any:
    """Return the only core of this process.

    Each core installs an alternate signal stack, and restores the previous one when it is destroyed. Two cores that are
    destroyed in the order of creation leave a stack in freed memory, and the next Ctrl-C is a segmentation fault.
    """
    return import_openvino().Core()


def convert_program(program: "ExportedProgram", shapes: Sequence[tuple[int, ...]]) -> "Model":
    """Return the model of a program, in which each layer has the path of its module as its name.

    Args:
        program: the graph of a network, as `torch.export` traces it.
        shapes: the shape of each input; -1 is an axis that stays open.

    Raises:
        Exception: any error of OpenVINO; they have no common class.
    """
    openvino = import_openvino()
    with _silent_conversion():
        from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

        decoder = TorchFXPythonDecoder.from_exported_program(program)
        decoder.mark_node_callback = _mark_path
        model: Model = openvino.convert_model(decoder, input=[openvino.PartialShape(list(shape)) for shape in shapes])
    calls = Counter[str]()
    for node in mac_nodes(model):
        if path := node_path(node):
            calls[path] += 1
            # A layer that runs twice has two nodes, and their names must differ.
            node.set_friendly_name(path if calls[path] == 1 else f"{path}/{calls[path]}")
    return model


@contextmanager
def _silent_conversion() -> Iterator[None]:
    """Silence what the conversion warns of, whatever the network; its errors are raised."""
    root, handler = logging.getLogger(), logging.NullHandler()
    before, root.disabled = (
        root.disabled,
        True,
    )  # it logs each operation that torch has not decomposed, with a traceback
    root.addHandler(handler)  # without any, `logging.warning` adds one that stays
    try:
        with warnings.catch_warnings(), _telemetry_blocked():
            # torch itself copies an object of a class that it has deprecated.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        root.removeHandler(handler)
        root.disabled = before


def _mark_path(decoder: Any, node: "Node") -> None:
    """Note the module that a node is made for: of all that it is given, only this survives folding."""
    from mnfpn_cli.export.program import source_of  # takes two seconds to import

    origin = getattr(decoder, "pt_module", None)
    if isinstance(origin, TracedNode) and (source := source_of(origin)):
        information = node.get_rt_info()
        information[MODULE], information[CALL] = source.path, str(source.call)
        if node.get_type_name() in MACS:
            information[PATH] = source.path


def node_path(node: "Node") -> str:
    """Return the path of the module that a node is made for; an empty text where it is unknown."""
    information = node.get_rt_info()
    return str(information[PATH].value) if PATH in information else ""


def openvino_modules(model: "Model") -> dict[str, LayerCall]:
    """Return the modules that the nodes of a model are made for, by the names of the nodes."""
    sources = dict[str, LayerCall]()
    for node in model.get_ordered_ops():
        information = node.get_rt_info()
        if MODULE in information:
            path, call = node_path(node) or str(information[MODULE].value), str(information[CALL].value)
            sources[node.get_friendly_name()] = LayerCall(path, int(call))
    return sources


def mac_nodes(model: "Model") -> "list[Node]":
    """Return the nodes of a model that have MACs, convolutions and matrix products, in the order of the graph."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() in MACS]


def node_macs(node: "Node") -> int | None:
    """Return the MACs of a convolution or a matrix product; None where its shapes depend on values."""
    shapes = [node.get_output_partial_shape(0), *(x.get_partial_shape() for x in node.inputs())]
    return MACS[node.get_type_name()](node) if all(shape.is_static for shape in shapes) else None


def _per_output(axes: int) -> "Callable[[Node], int]":
    """Count weights as often as an output channel has elements; the first axes of the weights are output channels."""
    return lambda node: prod(node.output(0).shape) * prod(list(node.input(1).get_shape())[axes:])


def _per_input(axis: int) -> "Callable[[Node], int]":
    """Count weights as often as an input channel has elements, as a transposed convolution uses them."""
    return lambda node: prod(node.input(0).get_shape()) * prod(list(node.input(1).get_shape())[axis:])


def _of_product(node: "Node") -> int:
    shape, elements = list(node.input(0).get_shape()), prod(node.output(0).shape)
    inner = shape[-2] if node.get_attributes()["transpose_a"] and len(shape) > 1 else shape[-1]
    return int(elements * inner)


MACS: "dict[str, Callable[[Node], int]]" = {
    "Convolution": _per_output(1),  # weights (out, in, h, w)
    "GroupConvolution": _per_output(2),  # weights (groups, out / groups, in / groups, h, w)
    "ConvolutionBackpropData": _per_input(1),  # weights (in, out, h, w)
    "GroupConvolutionBackpropData": _per_input(2),  # weights (groups, in / groups, out / groups, h, w)
    "MatMul": _of_product,
}
"""The types of nodes that have MACs, and how to count them."""


def quantize_model(model: "Model", quantization: Quantization) -> "Model":
    """Return a model in int8, its weights per output channel; the same passes give the same model.

    Where sums saturate in 16 bits, weights have 7 bits: on a CPU without VNNI that is 28 dB instead of 12 for a small
    network of inverted residuals, and on one with it 28 instead of 31.

    Raises:
        Exception: any error of nncf or of OpenVINO.
    """
    nncf = _import_nncf()
    kept = [node.get_friendly_name() for node in mac_nodes(model) if node_path(node) in quantization.keep_float]
    with _silent_nncf(), _telemetry_blocked():
        passes = nncf.Dataset(quantization.passes, lambda tensors: [one.contiguous().numpy() for one in tensors])
        ignored = nncf.IgnoredScope(names=kept)
        narrow = nncf.OverflowFix.ENABLE if sums_saturate() else nncf.OverflowFix.FIRST_LAYER  # the usual one
        quantised: Model = nncf.quantize(
            model,
            passes,
            subset_size=len(quantization.passes),
            ignored_scope=ignored,
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=narrow),
        )
    return quantised


@cache
def sums_saturate() -> bool:
    """Return whether OpenVINO adds products of int8 in 16 bits here, where sums saturate; a CPU with VNNI has 32.

    One convolution shows it, whatever the processor is called and whichever of its instructions are hidden.
    """
    openvino = import_openvino()
    ops, channels = openvino.opset13, 64
    x = ops.parameter([1, channels, 8, 8], np.float32)
    weights = ops.constant(np.full((channels, channels, 1, 1), 127, np.float32))
    values = ops.fake_quantize(x, *map(np.float32, (0, 255, 0, 255)), 256)
    weights = ops.fake_quantize(weights, *map(np.float32, (-127, 127, -127, 127)), 255)
    product = ops.convolution(values, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = openvino.Model([product], [x])
    compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (sums,) = compiled([np.full(x.shape, 255, np.float32)]).values()
    return bool(sums.min() < 0.9 * channels * 255 * 127)


def _import_nncf() -> Any:
    """Import nncf without telemetry, and leave the class of loggers as it was: nncf makes all later ones its own."""
    loggers = logging.getLoggerClass()
    try:
        with _telemetry_blocked():
            import nncf
    finally:
        logging.setLoggerClass(loggers)
    return nncf


@contextmanager
def _silent_nncf() -> Iterator[None]:
    """Let nncf write neither its log nor bars of progress, both of which go to standard output."""
    from nncf.common.logging.track_progress import track

    drawn = track.__init__
    track.__init__ = partialmethod(drawn, disable=True)
    try:
        with loggers_silenced(["nncf", CUDA_TOOLKIT]):
            yield
    finally:
        track.__init__ = drawn


POSITIONS = ("Exception from", "Check '", "FrontEnd API failed")
"""How the lines of OpenVINO's messages begin that have a position in its source, and not what is wrong."""


def openvino_reason(error: Exception) -> str:
    """Return the first line of OpenVINO's message that is no position in its source."""
    lines = [line.strip() for line in strip_colours(str(error)).replace("`", "'").splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(POSITIONS)), first_line(error))
