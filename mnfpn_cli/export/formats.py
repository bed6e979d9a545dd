"""The export formats, what is asked of a file, and what each format takes. Imports no torch, for a fast help."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.export.axes import SIDES, DynamicAxis, in_order
from mnfpn_cli.files import FORMS, is_device
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DType, Size
from mnfpn_cli.text import either

if TYPE_CHECKING:
    from mnfpn_cli.export.job import FileFormat
    from mnfpn_cli.settings.quantization import QuantizationCase

Format = Literal["onnx", "torch-export", "safetensors", "openvino", "executorch", "coreml"]
FORMATS: tuple[Format, ...] = get_args(Format)

MAX_OPSET = 100
"""More than any version of ONNX's operators."""

PACKAGES: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "executorch": ("executorch", "torchao"),
    "coreml": ("coremltools",),
}
"""The packages besides torch that write and check a format; the extra that brings them has its name."""

TO_QUANTIZE: dict[Format, tuple[str, ...]] = {"openvino": ("nncf",)}
"""The packages that write a format in int8 besides; the extra that brings them ends in ``-int8``."""

IMPORTED = PACKAGES["onnx"]
"""Packages that are imported to see whether they work. Others print on import, or take seconds."""

NAMED_BY_SUFFIX: frozenset[Format] = frozenset({"openvino", "coreml"})
"""The formats whose readers go by the suffix of a file."""

MANIFEST = "Manifest.json"
"""The file by which a folder is known to be a package of Core ML."""


@dataclass(frozen=True)
class ExportRequest:
    """The file that is asked for.

    Attributes:
        format: of the file.
        path: of the file; of several, that which is named.
        dtype: the element type that the file computes in.
        dynamic: the axes of the images that the file leaves open.
        opset: the version of ONNX's operators; None for the usual one.
    """

    format: Format
    path: Path
    dtype: DType = DEFAULT_DTYPE
    dynamic: frozenset[DynamicAxis] = frozenset()
    opset: int | None = None


def load_format(name: Format) -> "FileFormat":
    """Return the module of a format. This imports torch."""
    return cast("FileFormat", import_module(f"mnfpn_cli.export.{name.replace('-', '_')}"))


def import_packages(format: Format, dtype: DType = DEFAULT_DTYPE) -> None:
    """Check that the packages of a format are there, before the work begins.

    Raises:
        MnfpnError: where a package is not installed, or cannot be imported.
    """
    needed: dict[str, tuple[str, ...]] = {format: PACKAGES.get(format, ())}
    if dtype == "int8":
        needed |= {f"{format}-int8": TO_QUANTIZE.get(format, ())}
    for extra, packages in reversed(needed.items()):
        missing = [f"{name} ({reason})" for name in packages if (reason := _import_failure(name))]
        if missing:
            raise MnfpnError(Problem(f"`format` {format}", f"needs {', '.join(missing)}: pip install 'mnfpn[{extra}]'"))


def _import_failure(name: str) -> str:
    """Return why a package cannot be imported; an empty string where it can."""
    try:
        if name not in IMPORTED:
            return "" if find_spec(name) else "not installed"
        import_onnxruntime() if name == "onnxruntime" else import_module(name)
    except ModuleNotFoundError as error:
        return "not installed" if error.name == name else f"which needs {error.name}"
    except ImportError as error:
        return str(error)
    except ValueError:  # from find_spec, where a test or a program has taken the package away
        return "not installed"
    return ""


def import_onnxruntime() -> Any:
    """Import ONNX Runtime; its telemetry, which starts at import, is off unless the environment turns it on."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")


def check_request(
    request: ExportRequest, made_for: Size | None, reads: Sequence[Path | None] = (), where: str = "`output`"
) -> None:
    """Check that a format can be what is asked for, and that its files can be replaced. This imports torch.

    Args:
        request: what is asked for.
        made_for: the one size that the network takes; None where it takes others.
        reads: the files that are read to write this one.
        where: the parameter that named the file.

    Raises:
        UsageError: where a value does not fit the format or the network, or a file must not be replaced.
    """
    format, form = request.format, load_format(request.format)
    _check_suffix(request, form, where)
    _check_replaceable(request, form, [one for one in reads if one], where)
    if request.dtype not in form.DTYPES:
        rule = f"must be {either(form.DTYPES)} with `format` {format}"
        raise UsageError(Problem("`dtype`", rule, request.dtype))
    if request.opset is not None and format != "onnx":
        rule = f"cannot be used with `format` {format}: only ONNX has versions of operators"
        raise UsageError(Problem("`opset`", rule))
    if request.dynamic:
        _check_dynamic(request, form, made_for)


def check_quantization(dtype: DType, case: "QuantizationCase") -> None:
    """Check that nothing is asked for that has no effect in a dtype.

    Raises:
        UsageError: where it has none.
    """
    if case.calibration is not None and dtype == "float32":
        raise UsageError(Problem("`calibration`", "cannot be used with `dtype` float32, which loses nothing"))
    if case.keep_float and dtype != "int8":
        raise UsageError(Problem("`keep_float`", f"requires `dtype` int8; {dtype} quantises nothing"))


def _check_dynamic(request: ExportRequest, form: "FileFormat", made_for: Size | None) -> None:
    if not form.DYNAMIC:
        reason = (
            "which holds only weights, no sizes" if request.format == "safetensors" else "whose files have one size"
        )
        raise UsageError(Problem("`dynamic`", f"cannot be used with `format` {request.format}, {reason}"))
    wrong = request.dynamic - form.DYNAMIC
    if wrong:
        rule = f"must be {either(in_order(form.DYNAMIC), 'and')} alone with `format` {request.format}"
        raise UsageError(Problem("`dynamic`", rule, ",".join(in_order(wrong))))
    if made_for is not None and request.dynamic & SIDES:
        rule = (
            f"must not be given where the head's dense layers take flattened maps, with a weight for each cell: "
            f"they fit only {made_for} (head.pool=average fits any size)"
        )
        raise UsageError(Problem("`dynamic`", rule))


def _check_suffix(request: ExportRequest, form: "FileFormat", where: str) -> None:
    """Check that the suffix is that of the format; most formats take one that belongs to no other, too."""
    suffix, own = request.path.suffix.lower(), form.SUFFIXES[0]
    if suffix == own:
        return
    if request.format in NAMED_BY_SUFFIX:
        raise UsageError(Problem(where, f"must end in {own} with `format` {request.format}", f"'{request.path}'"))
    if suffix in FORMS:
        rule = f"must not end in {request.path.suffix}, as {request.format} is written"
        raise UsageError(Problem(where, rule, f"'{request.path}'"))


def files_of(path: Path, form: "FileFormat") -> tuple[Path, ...]:
    """Return the files of a format: that which is named, and those beside it."""
    return (path, *(path.with_suffix(suffix) for suffix in form.SUFFIXES[1:]))


def _check_replaceable(request: ExportRequest, form: "FileFormat", reads: Sequence[Path], where: str) -> None:
    """Check that files can be replaced whole, and are not those of someone else."""
    path, *others = files_of(request.path, form)
    if is_device(path):
        raise UsageError(Problem(where, f"must be a file, which is replaced whole, but '{path}' is a device or a pipe"))
    if path.is_dir() and not (request.format == "coreml" and (path / MANIFEST).is_file()):
        raise UsageError(Problem(where, f"must be a file, but '{path}' is a folder"))
    for other in others:
        if other.exists() and not (path.exists() and other.is_file()):
            rule = f"would replace '{other}', which belongs to no '{path.name}'"
            raise UsageError(Problem(where, rule))
        if any(one.exists() and other.exists() and one.samefile(other) for one in reads):
            raise UsageError(Problem(where, f"would replace '{other}', which the command reads"))
