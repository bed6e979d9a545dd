"""ONNX Runtime's own static quantiser, and its outputs: what the simulation is held against."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.export.onnx import write_pass
from mnfpn_cli.quantization.quantization import Passes


def quantised_outputs(
    network: nn.Module, calibration: Passes, judged: Passes, keep_float: frozenset[str], folder: Path
) -> list[list[Tensor]]:
    """The outputs of the judged passes in int8: QDQ, per channel, min-max; its graph runs as it is written."""
    import onnx
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._passes = iter([{name: inputs[0].numpy()} for inputs in calibration])

        def get_next(self) -> Any:
            return next(self._passes, None)

    written, quantised = folder / "float.onnx", folder / "int8.onnx"
    written.write_bytes(write_pass(network, judged[0]))
    graph = onnx.load(written).graph
    weights = {f"{path}.weight" for path in keep_float}
    quantize_static(
        written,
        quantised,
        Reader(graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[node.name for node in graph.node if weights & set(node.input)],
    )
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL  # kernels of int8 depend on the processor
    options.log_severity_level = 3
    session = InferenceSession(quantised, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [[torch.from_numpy(y) for y in session.run(None, {name: inputs[0].numpy()})] for inputs in judged]
