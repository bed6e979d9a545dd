"""Writing a network to a file, and checking the file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mnfpn_cli.documents.export import ExportDocument, ExportedFile, FileCheck
from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import CheckError, MnfpnError
from mnfpn_cli.export import onnx as as_onnx
from mnfpn_cli.export import program as as_program
from mnfpn_cli.export import safetensors as as_safetensors
from mnfpn_cli.export.check import compare, inputs_to_check
from mnfpn_cli.export.formats import Format
from mnfpn_cli.export.program import LoadedFile, metadata
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.files import write_whole
from mnfpn_cli.measure.memory import check_fits, out_of_memory_explained
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import first_line

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of it is."""


@dataclass(frozen=True)
class FileFormat:
    """How a format is written and read back.

    Attributes:
        suffix: of its files, which readers go by.
        exact: whether what is read back computes exactly the same.
        write: makes the content of a file.
        read: opens a file.
    """

    suffix: str
    exact: bool
    write: Callable[[Network, NetworkSettings, NetworkInput, bool], bytes]
    read: Callable[[Path, NetworkPlan], LoadedFile]


FILE_FORMATS: dict[Format, FileFormat] = {
    "onnx": FileFormat(".onnx", exact=False, write=as_onnx.write, read=as_onnx.read),
    "torch-export": FileFormat(".pt2", exact=False, write=as_program.write, read=as_program.read),
    "safetensors": FileFormat(".safetensors", exact=True, write=as_safetensors.write, read=as_safetensors.read),
}


def build_for_export(origin: FromSettings, input: NetworkInput, seed: int) -> tuple[Network, WeightsRecord | None]:
    """The network that is to be written, initialised from a seed and then from its checkpoint if it has one.

    Raises:
        UsageError: where network and input cannot fit the memory that is free, or the checkpoint is another network's.
        MnfpnError: where memory runs out all the same, or the checkpoint cannot be read.
    """
    check_fits(origin.plan, input, "float32", torch.device("cpu"))
    with out_of_memory_explained("building the network"):
        return origin.build(seed)


def export_network(
    network: Network,
    settings: NetworkSettings,
    input: NetworkInput,
    format: Format,
    path: Path,
    dynamic: bool = False,
    progress: Progress = lambda _doing, _share: None,
) -> ExportedFile:
    """Write a network, on the CPU, in float32 and eval mode, and check the file before it takes its name.

    Args:
        network: with the weights that are to be written.
        settings: that it was built from.
        input: that the file is made for.
        format: of the file.
        path: of the file; one that is there is replaced when all is well, and else left as it is.
        dynamic: whether the file is to take images of any height and width.
        progress: is told what is being done.

    Raises:
        CheckError: where the file does not hold what it should.
        UsageError: where the input cannot fit the memory that is free.
        MnfpnError: where memory runs out, or the file cannot be written.
    """
    plan = network.plan
    check_fits(plan, input, "float32", torch.device("cpu"))
    form = FILE_FORMATS[format]
    progress(f"exporting to {format}", 0.0)
    with out_of_memory_explained(f"exporting {input.batch} × {input.size} to {format}"):
        content = form.write(network, settings, input, dynamic)

    def check(file: Path) -> tuple[FileCheck, ...]:
        inputs = inputs_to_check(input, plan.backbone.stride, dynamic)
        try:
            return check_file(form, file, network, settings, inputs, progress)
        except CheckError as error:
            error.within("the file failed its check, and is not kept").within(f"`format` {format}")
            raise

    checks = write_whole(path, content, check, form.suffix)
    return ExportedFile(format=format, file=str(path), bytes=len(content), dynamic=dynamic, checks=checks)


def export_document(settings: NetworkSettings, exported: ExportedFile, weights: WeightsRecord | None) -> ExportDocument:
    """Make the document of `mnfpn export`; ``weights`` is the checkpoint that was loaded."""
    return ExportDocument(settings=settings, model=None, weights=weights, **dict(exported))


def check_file(
    form: FileFormat,
    file: Path,
    network: Network,
    settings: NetworkSettings,
    inputs: tuple[NetworkInput, ...],
    progress: Progress,
) -> tuple[FileCheck, ...]:
    """Read a file back, and compare it with the network that it was made of.

    Raises:
        CheckError: where it cannot be read or run, or differs.
        MnfpnError: where memory runs out.
    """
    checks, doing = list[FileCheck](), "read"
    try:
        with out_of_memory_explained("checking the file"), torch.no_grad():
            progress("checking", 0.0)
            opened = form.read(file, network.plan)
            if not metadata(settings).items() <= dict(opened.metadata).items():
                raise CheckError("the settings in it are not the network's")
            for input in inputs:
                doing = f"run at {input.size}"
                checks.append(compare(network, input, opened.run, form.exact))
                progress("checking", len(checks) / len(inputs))
    except MnfpnError:
        raise
    except Exception as error:  # whatever a reader raises on the file just written is a failed check
        raise CheckError(f"it cannot be {doing}: {first_line(error)}") from error
    return tuple(checks)
