"""The name of a checkpoint, and what of it is loaded. No torch."""

from dataclasses import dataclass
from pathlib import Path

from mnfpn_cli.errors import Problem, UsageError


@dataclass(frozen=True)
class WeightsFile:
    """A checkpoint to load.

    Attributes:
        path: of the file.
        key: the dotted key under which the file has the state dict; None for where training scripts put it.
        partial: the part of the network whose layers keep their initial values where the file has them in other shapes,
            as ``head``; None where every layer of the file must fit.
    """

    path: Path
    key: str | None = None
    partial: str | None = None


def weights_file(path: Path | None, key: str | None, partial: str | None) -> WeightsFile | None:
    """Return the checkpoint to load; None without a path.

    Raises:
        UsageError: where there is a key or a part without a path.
    """
    if path is not None:
        return WeightsFile(path, key, partial)
    given = [name for name, value in (("`weights_key`", key), ("`weights_partial`", partial)) if value is not None]
    if given:
        raise UsageError(Problem(", ".join(given), "requires `weights`"))
    return None
