"""Recognise the format of a checkpoint by its first bytes, and read the settings in our own. No torch."""

import struct
from enum import Enum, auto
from pathlib import Path

from safetensors import SafetensorError, safe_open

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.settings.files import MAX_BYTES, parse_settings
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.text import first_line

SETTINGS_KEY = "mnfpn_settings"
"""The metadata key of our checkpoints for the settings of their network, as JSON."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class FileKind(Enum):
    """The formats of checkpoints."""

    SAFETENSORS = auto()
    ZIP = auto()
    LEGACY = auto()
    HDF5 = auto()


def kind_of_file(path: Path) -> FileKind:
    """Return the format of a file.

    Raises:
        UsageError: where there is none, or it is no checkpoint.
        MnfpnError: where it cannot be read.
    """
    try:
        if not path.exists():
            raise UsageError(Problem(str(path), "no such file"))
        if not path.is_file():
            raise UsageError(
                Problem(str(path), f"must be a file, but it is a {'folder' if path.is_dir() else 'device'}")
            )
        with path.open("rb") as file:
            head = file.read(64)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise MnfpnError(Problem(str(path), f"could not be read: {reason}")) from None
    if head.startswith(HDF5_SIGNATURE):
        return FileKind.HDF5
    if head[:4] == b"PK\x03\x04":
        return FileKind.ZIP
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < path.stat().st_size:
        return FileKind.SAFETENSORS
    if head[:1] == b"\x80":
        return FileKind.LEGACY
    what = "it is empty" if not head else "it is no file of torch, safetensors or Keras"
    if head.startswith(b"version https://git-lfs"):
        what = "it is a pointer of Git LFS: `git lfs pull` fetches the file"
    raise UsageError(Problem(str(path), f"must be a checkpoint, but {what}"))


def settings_in(path: Path) -> Source | None:
    """Return the settings in a checkpoint of ours; None where there are none.

    Raises:
        UsageError: where there is no such file, or it is no checkpoint.
        MnfpnError: where it cannot be read.
    """
    if kind_of_file(path) is not FileKind.SAFETENSORS:
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(SETTINGS_KEY)
    except SafetensorError as error:
        raise UsageError(
            Problem(str(path), f"must be a whole checkpoint, but it is damaged: {first_line(error)}")
        ) from None
    except (OSError, MemoryError) as error:  # it is mapped into memory, and may be larger than a process is allowed
        raise MnfpnError(Problem(str(path), f"could not be read: {error}")) from None
    if text is None:
        return None
    place = f"{path}: {SETTINGS_KEY}"
    if len(text) > MAX_BYTES:
        raise UsageError(Problem(place, f"must have at most {MAX_BYTES / 1e6:g} MB"))
    return Source(place, parse_settings(place, text.encode()))
