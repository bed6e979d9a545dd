"""What a network may be run by and on: the names of runtimes and devices."""

import re
from collections.abc import Sequence
from pathlib import Path

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

DEFAULT_RUNTIME = "eager"
DEVICES = ("auto", "cpu", "cuda", "mps")
LAYERED = ("eager", "channels-last")
"""The runtimes that run layer by layer, so that each layer can be timed; the others join them."""


def runtime_names() -> tuple[str, ...]:
    """Name the runtimes, ``eager`` first, by the files and folders of `mnfpn_cli.runtimes`: none is imported for it."""
    folder = Path(__file__).parent.parent / "runtimes"
    found = {path.stem for path in folder.glob("[a-z]*") if path.suffix == ".py" or (path / "__init__.py").is_file()}
    names = sorted(name.replace("_", "-") for name in found - {"runtime"})  # which is what all of them have in common
    return (DEFAULT_RUNTIME, *(name for name in names if name != DEFAULT_RUNTIME))


def choose_runtimes(named: Sequence[str]) -> tuple[str, ...]:
    """The runtimes that an option names, each once, in that order; ``all`` is all of them.

    Raises:
        UsageError: where no runtime has that name.
    """
    known = runtime_names()
    chosen = [name for text in named for name in text.split(",")]
    for name in chosen:
        if name not in (*known, "all"):
            near = did_you_mean(name, (*known, "all"))
            raise UsageError(Problem("`runtime`", f"must be one of {', '.join(known)} or all", f"'{name}'", near))
    return tuple(dict.fromkeys(one for name in chosen for one in (known if name == "all" else (name,))))


def check_device_name(name: str) -> str:
    """The name, if a device could have it; whether this machine has that device is seen when it is used.

    Raises:
        UsageError: where no device has such a name.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        near = did_you_mean(name, (*DEVICES, "gpu"), {"gpu": "cuda"})
        raise UsageError(Problem("`device`", "must be auto, cpu, cuda, cuda:N or mps", f"'{name}'", near))
    return name
