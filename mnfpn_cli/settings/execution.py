"""The names of runtimes and devices, and the checks of those that a user gives."""

import re
from collections.abc import Sequence
from pathlib import Path

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

DEFAULT_RUNTIME = "eager"
DEVICES = ("auto", "cpu", "cuda", "mps")
LAYERED = ("eager", "channels-last")
"""The runtimes that run layer by layer, so that each layer can be timed; the others fuse layers."""


def runtime_names() -> tuple[str, ...]:
    """Return the names of all runtimes, ``eager`` first: of files and folders in `mnfpn_cli.runtimes`, not imported."""
    folder = Path(__file__).parent.parent / "runtimes"
    stems = {path.stem for path in folder.glob("[a-z]*") if path.suffix == ".py" or (path / "__init__.py").is_file()}
    names = sorted(name.replace("_", "-") for name in stems - {"runtime"})  # the interface that they share
    return (DEFAULT_RUNTIME, *(name for name in names if name != DEFAULT_RUNTIME))


def choose_runtimes(options: Sequence[str]) -> tuple[str, ...]:
    """Return the runtimes that options name, each once, in order; ``all`` stands for every runtime.

    Args:
        options: names, or several names separated by commas.

    Raises:
        UsageError: where no runtime has that name.
    """
    known = runtime_names()
    chosen = [name for text in options for name in text.split(",")]
    for name in chosen:
        if name not in (*known, "all"):
            near = did_you_mean(name, (*known, "all"))
            raise UsageError(Problem("`runtime`", f"must be one of {', '.join(known)} or all", f"'{name}'", near))
    return tuple(dict.fromkeys(runtime for name in chosen for runtime in (known if name == "all" else (name,))))


def check_device_name(name: str) -> str:
    """Return the name of a device, if it is well formed. Whether this machine has the device is checked on use.

    Raises:
        UsageError: where the name is not well formed.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        near = did_you_mean(name, (*DEVICES, "gpu"), {"gpu": "cuda"})
        raise UsageError(Problem("`device`", "must be auto, cpu, cuda, cuda:N or mps", f"'{name}'", near))
    return name
