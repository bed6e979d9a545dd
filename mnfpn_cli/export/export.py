"""Write a network to a file, read the file back, and check it."""

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
from mnfpn_cli.export.check import compare_outputs, inputs_to_check
from mnfpn_cli.export.formats import Format
from mnfpn_cli.export.program import LoadedFile, settings_metadata
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.files import write_whole
from mnfpn_cli.measure.memory import check_fits, out_of_memory_explained
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import ReportProgress, first_line


@dataclass(frozen=True)
class FileFormat:
    """The functions that write and read a format.

    Attributes:
        suffix: the suffix of its files, by which readers recognise them.
        exact: whether a network that is read back has outputs equal to the last bit.
        write: returns the content of a file.
        read: loads a file.
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
    """Return the network to write, initialised from a seed, then from its checkpoint if it has one.

    Raises:
        UsageError: where network and input cannot fit the free memory, or the checkpoint is of another network.
        MnfpnError: where memory runs out nevertheless, or the checkpoint cannot be read.
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
    progress: ReportProgress = lambda _doing, _share: None,
) -> ExportedFile:
    """Write a network on the CPU, in float32 and eval mode, to a temporary file; check it, and move it to its path.

    Args:
        network: the network with its weights.
        settings: the settings that it was built from.
        input: the input that the file is made for.
        format: the format of the file.
        path: the path of the file; an existing file is replaced only after the check.
        dynamic: whether the file accepts images of any height and width.
        progress: is called with what is being done.

    Raises:
        CheckError: where the file fails its check.
        UsageError: where the input cannot fit the free memory.
        MnfpnError: where memory runs out, or the file cannot be written.
    """
    plan = network.plan
    check_fits(plan, input, "float32", torch.device("cpu"))
    file_format = FILE_FORMATS[format]
    progress(f"exporting to {format}", 0.0)
    with out_of_memory_explained(f"exporting {input.batch} × {input.size} to {format}"):
        content = file_format.write(network, settings, input, dynamic)

    def check(file: Path) -> tuple[FileCheck, ...]:
        inputs = inputs_to_check(input, plan.backbone.stride, dynamic)
        try:
            return check_written(file_format, file, network, settings, inputs, progress)
        except CheckError as error:
            error.within("the file failed its check, and was discarded").within(f"`format` {format}")
            raise

    checks = write_whole(path, content, check, file_format.suffix)
    return ExportedFile(format=format, file=str(path), bytes=len(content), dynamic=dynamic, checks=checks)


def write_network(
    origin: FromSettings,
    input: NetworkInput,
    seed: int,
    format: Format,
    path: Path,
    dynamic: bool,
    progress: ReportProgress,
) -> ExportDocument:
    """Build a network, with weights from a seed and then from its checkpoint, and write it as `export_network` does.

    Raises:
        CheckError: where the file fails its check.
        UsageError: where the input cannot fit the free memory, or the checkpoint is of another network.
        MnfpnError: where memory runs out, or a file cannot be read or written.
    """
    network, loaded = build_for_export(origin, input, seed)
    exported = export_network(network, origin.settings, input, format, path, dynamic, progress)
    return export_document(origin.settings, exported, loaded)


def export_document(settings: NetworkSettings, exported: ExportedFile, weights: WeightsRecord | None) -> ExportDocument:
    """Make the document of `mnfpn export`; ``weights`` is the checkpoint that was loaded."""
    return ExportDocument(settings=settings, model=None, weights=weights, **dict(exported))


def check_written(
    file_format: FileFormat,
    file: Path,
    network: Network,
    settings: NetworkSettings,
    inputs: tuple[NetworkInput, ...],
    progress: ReportProgress,
) -> tuple[FileCheck, ...]:
    """Read a file back, and compare it with the network that was written.

    Raises:
        CheckError: where it cannot be read or run, or differs.
        MnfpnError: where memory runs out.
    """
    checks, step = list[FileCheck](), "read"
    try:
        with out_of_memory_explained("checking the file"), torch.no_grad():
            progress("checking", 0.0)
            loaded = file_format.read(file, network.plan)
            if not settings_metadata(settings).items() <= dict(loaded.metadata).items():
                raise CheckError("its settings differ from the network's")
            for input in inputs:
                step = f"run at {input.size}"
                checks.append(compare_outputs(network, input, loaded.run, file_format.exact))
                progress("checking", len(checks) / len(inputs))
    except MnfpnError:
        raise
    except Exception as error:  # any error of a reader on the file just written is a failed check
        raise CheckError(f"it cannot be {step}: {first_line(error)}") from error
    return tuple(checks)
