"""Write and read OpenVINO's format: an .xml file with the graph, and a .bin file with the weights beside it."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import torch
from torch import Tensor

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export.axes import AXES, DynamicAxis
from mnfpn_cli.export.job import FileJob, ReadFile
from mnfpn_cli.export.openvino_model import (
    convert_program,
    import_openvino,
    openvino_core,
    openvino_reason,
    quantize_model,
)
from mnfpn_cli.export.program import open_axes, trace
from mnfpn_cli.measure.libraries import failure_in_words
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line

if TYPE_CHECKING:
    from openvino import CompiledModel, Model

SUFFIXES = (".xml", ".bin")
EXACT = False
DTYPES: tuple[DType, ...] = ("float32", "float16", "int8")
DYNAMIC: frozenset[DynamicAxis] = frozenset(AXES)

SECTION = "mnfpn"
"""The section of a model's runtime information that has our metadata."""


def write(job: FileJob, path: Path) -> None:
    """Write the graph to ``path``, and the weights beside it; in float16 weights alone are of that dtype.

    Raises:
        MnfpnError: where OpenVINO cannot convert, quantise or write the network.
    """
    program = trace(job)
    with failure_in_words("OpenVINO cannot convert this network", openvino_reason):
        model = convert_program(program, [_open_shape(tensor, job) for tensor in job.inputs])
        if job.quantization:
            model = quantize_model(model, job.quantization)
        _name(model, job)
    try:
        import_openvino().save_model(model, path, compress_to_fp16=job.dtype == "float16")
    except RuntimeError as error:  # whatever the reason is; it does not say
        raise MnfpnError(f"OpenVINO cannot write its files, as where a disk is full: {first_line(error)}") from error
    annotate(path, job.metadata)


def _open_shape(tensor: Tensor, job: FileJob) -> tuple[int, ...]:
    open = open_axes(tensor, job.dynamic)
    return tuple(-1 if axis in open else side for axis, side in enumerate(tensor.shape))


def _name(model: "Model", job: FileJob) -> None:
    """Name inputs and outputs; number what has no other name by its place, not by how many this process has made."""
    for index, node in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Z]\w*_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")
    model.set_friendly_name(SECTION)
    for parameter, name in zip(model.get_parameters(), job.input_names, strict=True):
        parameter.set_friendly_name(name)
        parameter.output(0).get_tensor().set_names({name})
    for output, name in zip(model.outputs, job.output_names, strict=True):
        output.get_tensor().set_names({name})


def read(path: Path, job: FileJob) -> ReadFile:
    """Load a file on the CPU; what it computes in floating point is computed in float32.

    It is compiled anew for each size: on a processor with AMX, OpenVINO 2026.4 computes int8 wrongly at a size that
    follows a larger one.
    """
    model = openvino_core().read_model(path)

    @cache
    def compiled(*_shapes: torch.Size) -> "CompiledModel":
        return openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(*inputs: Tensor) -> dict[str, Tensor]:
        results = compiled(*(tensor.shape for tensor in inputs))([tensor.contiguous().numpy() for tensor in inputs])
        return {name: torch.from_numpy(results[name]) for name in job.output_names}

    metadata = model.get_rt_info(SECTION).value if model.has_rt_info(SECTION) else {}
    return ReadFile(metadata, run)


def annotate(path: Path, metadata: Mapping[str, str]) -> None:
    """Add metadata to the runtime information of the graph; the file of the weights stays as it is."""
    tree = ElementTree.parse(path)
    information = _child(tree.getroot(), "rt_info")
    section = _child(information, SECTION)
    for key, text in metadata.items():
        _child(section, key).set("value", text)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _child(parent: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = parent.find(tag)
    return ElementTree.SubElement(parent, tag) if found is None else found
