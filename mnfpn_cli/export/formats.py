"""The formats that a network can be written in, and what they ask for. No torch, no pydantic: for the help."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

from mnfpn_cli.errors import MnfpnError, Problem, UsageError

if TYPE_CHECKING:
    from mnfpn_cli.settings.network import NetworkSettings

Format = Literal["onnx", "torch-export", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)

PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
"""What a format needs beside torch: to be written with, and to be checked with."""


def import_packages(format: Format) -> None:
    """Import what a format needs, so that nothing is missing, and nothing left to import, once the work has begun.

    Raises:
        MnfpnError: where a package is not installed, or does not work.
    """
    missing = [f"{name} ({reason})" for name in PACKAGES.get(format, ()) if (reason := _import_failure(name))]
    if missing:
        raise MnfpnError(Problem(f"`format` {format}", f"needs {', '.join(missing)}: pip install 'mnfpn[{format}]'"))


def _import_failure(name: str) -> str:
    """Why a package cannot be imported; nothing where it can."""
    try:
        import_onnxruntime() if name == "onnxruntime" else import_module(name)
    except ModuleNotFoundError as error:
        return "not installed" if error.name == name else f"which needs {error.name}"
    except ImportError as error:
        return str(error)
    return ""


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry, which begins with the import, unless the environment asks for it."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")


def check_dynamic(settings: "NetworkSettings", format: Format) -> None:
    """Make sure that a file can leave the size of images free: that its format has one, and the network takes several.

    Raises:
        UsageError: where it cannot.
    """
    if format == "safetensors":
        rule = "must not be given with `format` safetensors, which holds weights alone, no sizes"
        raise UsageError(Problem("`dynamic`", rule))
    if settings.made_for is not None:
        rule = (
            f"must not be given where the head's dense layers stand on flattened maps, one weight for each cell: "
            f"they fit {settings.made_for} alone (head.pool=average lifts that)"
        )
        raise UsageError(Problem("`dynamic`", rule))
