"""Write a network to a file, read the file back, check it, and put it in its place."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mnfpn_cli.documents.export import ExportDocument, ExportedFile, FileCheck
from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.errors import CheckError, MnfpnError, Problem
from mnfpn_cli.export.axes import SIDES, in_order
from mnfpn_cli.export.check import compare_outputs, copies, inputs_of, inputs_to_check
from mnfpn_cli.export.formats import (
    ExportRequest,
    check_quantization,
    check_request,
    files_of,
    import_packages,
    load_format,
)
from mnfpn_cli.export.job import FileFormat, FileJob, ReadFile
from mnfpn_cli.export.networks import NamedNetwork, build_to_export, guarded
from mnfpn_cli.export.program import settings_metadata, version_metadata
from mnfpn_cli.external.guard import own_traceback
from mnfpn_cli.external.origin import FromSettings, Origin, Workload
from mnfpn_cli.files import FileMove, move_together, staging_folder, writing
from mnfpn_cli.measure.memory import out_of_memory_explained, ran_out_of_memory
from mnfpn_cli.quantization.calibration import MOST_CALIBRATING, CalibrationInputs, calibration_inputs
from mnfpn_cli.quantization.calibration_files import as_images, check_calibration
from mnfpn_cli.quantization.layers import expand_keep_float
from mnfpn_cli.quantization.quality import quality_meter
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.settings.detection import PreprocessSettings
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.quantization import QuantizationCase, image_scaling
from mnfpn_cli.text import ReportProgress, first_line
from mnfpn_cli.trace.inputs import input_tensors
from mnfpn_cli.weights.header import SETTINGS_KEY

QUALITY_KEY, PREPROCESS_KEY = "mnfpn_quality", "mnfpn_preprocess"
"""Keys of the metadata: the figures of quality, and how an image becomes an input where the settings do not say it."""


@dataclass(frozen=True)
class FileCase:
    """A network to write, the file that is asked for, and the inputs that it is made and judged with.

    Attributes:
        named: the network.
        request: the file.
        job: what the format writes.
        judge: the inputs that calibrate and judge; None in float32.
    """

    named: NamedNetwork
    request: ExportRequest
    job: FileJob
    judge: CalibrationInputs | None


def check_export(workload: Workload, request: ExportRequest, case: QuantizationCase, where: str = "`output`") -> None:
    """Check, before a network is built, what can be checked without.

    Args:
        workload: the network, and the inputs of a pass.
        request: the file.
        case: what to calibrate with.
        where: the parameter that named the file.

    Raises:
        UsageError: where a value does not fit the format, the dtype or the network, or a file must not be replaced.
        MnfpnError: where the calibration cannot be read.
    """
    settings = workload.origin.settings
    weights = workload.origin.weights if isinstance(workload.origin, FromSettings) else None
    made_for = None if settings is None else settings.made_for
    check_request(request, made_for, (weights.path if weights else None, case.calibration), where)
    check_quantization(request.dtype, case)
    check_calibration(case, workload.origin.preprocess, workload.inputs)


def write_network(
    workload: Workload, seed: int, request: ExportRequest, case: QuantizationCase, progress: ReportProgress
) -> ExportDocument:
    """Build a network, write it to a file, check the file, and put it in its place: whole and right, or not at all.

    Args:
        workload: the network, and the inputs of a pass.
        seed: of random weights.
        request: the file.
        case: what int8 is calibrated with, and the figures of quality are made with.
        progress: is called with what is being done and the share of it that is done.

    Raises:
        CheckError: where the file fails its check.
        UsageError: where the input cannot fit the free memory, the checkpoint is of another network, or the
            calibration does not fit.
        MnfpnError: where a package is missing, memory runs out, the network cannot be written in this format, or a
            file cannot be read or written.
    """
    import_packages(request.format, request.dtype)
    origin = workload.origin
    named = build_to_export(origin, workload.inputs, seed)
    made = file_case(named, request, case, progress)
    with guarded(origin, f"exporting {origin.name} to {request.format}"):
        exported = export_file(made, progress)
    return ExportDocument(settings=origin.settings, model=origin.model, weights=named.weights, **dict(exported))


def file_case(
    named: NamedNetwork, request: ExportRequest, case: QuantizationCase, progress: ReportProgress
) -> FileCase:
    """Return what a file is made of: with inputs to judge by where it is not in float32.

    Raises:
        UsageError: where the calibration does not fit the network, or a layer to keep is none of it.
        MnfpnError: where the calibration cannot be read.
    """
    quantized = request.dtype == "int8"
    judge, quantization, scaling = None, None, None
    if request.dtype != "float32":
        kept = expand_keep_float(named.network, case.keep_float)
        judge = calibration_inputs(
            case, named.origin.preprocess, named.inputs, progress, MOST_CALIBRATING if quantized else 0
        )
        quantization = Quantization(judge.calibrate, kept) if quantized else None
        scaling = judge.scaling
    elif case.mean is not None or case.std is not None:
        images = as_images(named.inputs)
        scaling = image_scaling(case, named.origin.preprocess, images.channels) if images else None
    job = FileJob(
        network=named.network,
        inputs=tuple(judge.judge[0]) if judge else input_tensors(named.inputs),
        input_names=named.input_names,
        output_names=named.output_names,
        dtype=request.dtype,
        quantization=quantization,
        dynamic=request.dynamic,
        least=named.least,
        opset=request.opset,
        plan=named.plan,
        lacking=named.lacking,
        metadata=_metadata(named.origin, scaling),
    )
    return FileCase(named, request, job, judge)


def _metadata(origin: Origin, scaling: PreprocessSettings | None) -> dict[str, str]:
    """Return the texts that go into the file: what whoever deploys it has to know."""
    texts = settings_metadata(origin.settings) if isinstance(origin, FromSettings) else version_metadata()
    if scaling is not None and origin.preprocess is None:
        texts |= {PREPROCESS_KEY: json.dumps(scaling.model_dump(mode="json"), separators=(",", ":"))}
    return texts


def export_file(made: FileCase, progress: ReportProgress) -> ExportedFile:
    """Write the file of a case, and those beside it, to a folder beside it; check them, and move them to their place.

    Raises:
        CheckError: where the file fails its check.
        MnfpnError: where memory runs out, or the file cannot be written.
    """
    request, form = made.request, load_format(made.request.format)
    with staging_folder(request.path) as folder:
        target = request.path.resolve()
        name = target.name if target.suffix.lower() == form.SUFFIXES[0] else f"{target.name}{form.SUFFIXES[0]}"
        staged = folder / name
        _write(made, form, staged, progress)
        try:
            checked = _checked(made, form, staged, progress)
            if checked.quality is not None:
                _annotate(made, form, staged, {QUALITY_KEY: checked.quality.model_dump_json()})
        except CheckError as error:
            error.within("the file failed its check, and was discarded").within(f"`format` {request.format}")
            raise
        pairs = zip(files_of(staged, form), files_of(target, form), files_of(request.path, form), strict=True)
        written = [(source, place, name) for source, place, name in pairs if source.exists()]
        exported = _exported(made, [str(name) for *_, name in written], [source for source, *_ in written], checked)
        with writing(request.path):
            # The file that is named comes last: who sees a new one sees all of them.
            move_together([FileMove(source, place) for source, place, _ in reversed(written)])
    return exported


def _exported(made: FileCase, names: list[str], files: list[Path], checked: "CheckedFile") -> ExportedFile:
    request = made.request
    quantization = made.job.quantization
    return ExportedFile(
        format=request.format,
        file=str(request.path),
        files=tuple(names),
        bytes=sum(map(_bytes, files)),
        dtype=request.dtype,
        dynamic=request.dynamic >= SIDES,
        dynamic_axes=in_order(request.dynamic),
        opset=request.opset,
        keep_float=tuple(sorted(quantization.keep_float)) if quantization else (),
        checks=checked.checks,
        unchecked=checked.unchecked,
        quality=checked.quality,
    )


def _bytes(path: Path) -> int:
    """Return the size of a file, or of the files in a folder."""
    return sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())


def _write(made: FileCase, form: FileFormat, staged: Path, progress: ReportProgress) -> None:
    """Let the format write the file.

    Raises:
        MnfpnError: where it cannot, or the disk is full.
    """
    request, inputs = made.request, made.named.inputs
    progress(f"exporting to {request.format}", 0.0)
    what = f"{inputs.batch} × {inputs.size}" if isinstance(inputs, NetworkInput) else inputs.size
    with out_of_memory_explained(f"exporting {what} to {request.format}"), writing(request.path), torch.no_grad():
        try:
            form.write(made.job, staged)
        except OSError:
            raise
        except MnfpnError as error:
            error.problems = tuple(
                problem if problem.where else problem.within(f"`format` {request.format}") for problem in error.problems
            )
            raise
        except Exception as error:
            if ran_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {first_line(error)}"
            failure = MnfpnError(Problem(f"`format` {request.format}", f"this network cannot be written: {reason}"))
            if made.named.plan is None:
                failure.details = own_traceback(error, reason)
            raise failure from error


@dataclass(frozen=True)
class CheckedFile:
    """What the check of a file found: the comparisons, why it was not run, and what its dtype costs."""

    checks: tuple[FileCheck, ...]
    unchecked: str | None
    quality: QualityRecord | None


def _checked(made: FileCase, form: FileFormat, file: Path, progress: ReportProgress) -> CheckedFile:
    """Read a file back, and compare it with the network that was written.

    Raises:
        CheckError: where it cannot be read or run, or differs.
        MnfpnError: where memory runs out, or the network itself does not take inputs that the file should.
    """
    job, checks, step = made.job, list[FileCheck](), ["read"]
    with _failing_check(step), out_of_memory_explained("checking the file"), torch.no_grad():
        progress("checking", 0.0)
        read = form.read(file, job)
        _check_metadata(read, job.metadata)
        if read.run is None:
            return CheckedFile((), read.unchecked, None)
        tried = inputs_to_check(job, job.inputs)
        for inputs in tried:
            step[0] = f"run at {inputs_of(inputs).size}"
            checks.append(compare_outputs(job, inputs, read.run, form.EXACT))
            progress("checking", len(checks) / len(tried))
        return CheckedFile(tuple(checks), None, _quality(made, made.judge, read, progress) if made.judge else None)


@contextmanager
def _failing_check(step: list[str]) -> Iterator[None]:
    """Turn any error of a reader on the file just written into a failed check; ``step`` says what failed."""
    try:
        yield
    except MnfpnError:
        raise
    except Exception as error:
        raise CheckError(f"it cannot be {step[0]}: {first_line(error)}") from error


def _quality(made: FileCase, judge: CalibrationInputs, read: ReadFile, progress: ReportProgress) -> QualityRecord:
    """Return what the dtype costs, over all inputs that judge.

    Raises:
        CheckError: where outputs are not finite.
    """
    named, run = made.named, read.run
    assert run is not None  # else there is nothing to judge
    meter = quality_meter(named.origin, named.inputs)
    for index, (inputs, images) in enumerate(judge.judged()):
        expected = named.network(*copies(inputs))
        meter.add(list(expected.items()), list(run(*copies(inputs)).values()), images)
        progress("judging", (index + 1) / len(judge.judge))
    calibrated = judge.calibrated_on if made.job.quantization else None
    record = meter.record(judge.source, judge.real, named.origin.trained, calibrated)
    if record is None:
        raise CheckError(f"its outputs are not finite, or have other shapes, on {judge.source}")
    return record


def _annotate(made: FileCase, form: FileFormat, staged: Path, metadata: Mapping[str, str]) -> None:
    """Add metadata to a file, and read it back.

    Raises:
        CheckError: where it then cannot be read, or lacks metadata.
        MnfpnError: where the disk is full.
    """
    whole = {**made.job.metadata, **metadata}
    with writing(made.request.path):
        form.annotate(staged, metadata)
    with _failing_check(["read"]):
        _check_metadata(form.read(staged, replace(made.job, metadata=whole)), whole)


def _check_metadata(read: ReadFile, metadata: Mapping[str, str]) -> None:
    lacking = [key for key, text in metadata.items() if read.metadata.get(key) != text]
    if SETTINGS_KEY in lacking:
        raise CheckError("its settings differ from the network's")
    if lacking:
        raise CheckError(f"its metadata lack {', '.join(lacking)}")
