"""The export formats, the packages they need, and their limits. Imports neither torch nor pydantic, for a fast help."""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.files import form_of_file, is_device

if TYPE_CHECKING:
    from mnfpn_cli.settings.network import NetworkSettings

Format = Literal["onnx", "torch-export", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)

PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
"""The packages besides torch that write and check a format."""


def import_packages(format: Format) -> None:
    """Import the packages of a format before the work begins.

    Raises:
        MnfpnError: where a package is not installed, or cannot be imported.
    """
    missing = [f"{name} ({reason})" for name in PACKAGES.get(format, ()) if (reason := _import_failure(name))]
    if missing:
        raise MnfpnError(Problem(f"`format` {format}", f"needs {', '.join(missing)}: pip install 'mnfpn[{format}]'"))


def _import_failure(name: str) -> str:
    """Return why a package cannot be imported; an empty string where it can."""
    try:
        import_onnxruntime() if name == "onnxruntime" else import_module(name)
    except ModuleNotFoundError as error:
        return "not installed" if error.name == name else f"which needs {error.name}"
    except ImportError as error:
        return str(error)
    return ""


def import_onnxruntime() -> Any:
    """Import ONNX Runtime; its telemetry, which starts at import, is off unless the environment turns it on."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")


def check_replaceable(where: str, path: Path, format: Format) -> None:
    """Check that a file can be replaced whole, and that its suffix is of its form.

    Raises:
        UsageError: where not.
    """
    form_of_file(where, path, FORMATS, format)
    if is_device(path):
        raise UsageError(Problem(where, f"must be a file, which is replaced whole, but '{path}' is a device or a pipe"))


def check_dynamic(settings: "NetworkSettings", format: Format) -> None:
    """Check that a file can accept images of any size: the format has sizes, and the network takes several.

    Raises:
        UsageError: where it cannot.
    """
    if format == "safetensors":
        rule = "cannot be used with `format` safetensors, which holds only weights, no sizes"
        raise UsageError(Problem("`dynamic`", rule))
    if settings.made_for is not None:
        rule = (
            f"must not be given where the head's dense layers take flattened maps, with a weight for each cell: "
            f"they fit only {settings.made_for} (head.pool=average fits any size)"
        )
        raise UsageError(Problem("`dynamic`", rule))
