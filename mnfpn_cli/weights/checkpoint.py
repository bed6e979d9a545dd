"""Read a checkpoint's file. No code in it is ever run, and no tensor is read before it is needed."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.text import did_you_mean, few, first_line
from mnfpn_cli.weights.header import FileKind, kind_of_file, settings_in
from mnfpn_cli.weights.keras import is_keras_archive, read_keras

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model")
"""The keys under which training scripts put a state dict."""

PREFIXES = ("module.", "_orig_mod.", "model.", "network.")
"""The prefixes of keys by `nn.DataParallel`, `torch.compile`, training scripts and our `DetectorBackbone`."""

IN_DETECTOR = "backbone.network."
"""The prefix of the keys of backbone and pyramid, but not of the head, in a detector of torchvision on our network."""

MAX_NESTING = 4

MOST_KEYS = 12
"""The most keys of a file that a message lists."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file by their keys, mapped into memory where its format allows it.

    Attributes:
        name: of the file.
        tensors: by their keys.
        settings: that it carries, if any.
    """

    name: str
    tensors: Mapping[str, Tensor]
    settings: Source | None = None


def read_checkpoint(path: Path, key: str | None = None) -> Checkpoint:
    """Read a state dict of safetensors, torch or Keras, recognised by what is in the file.

    Args:
        path: of the file.
        key: the dotted key under which the file has the state dict; None for where training scripts put it.

    Raises:
        UsageError: where there is no such file, no such key, or no state dict of tensors alone.
        MnfpnError: where it cannot be read.
    """
    kind = kind_of_file(path)
    try:
        found = _load_file(path, kind)
    except (MnfpnError, KeyboardInterrupt):
        raise
    except (SafetensorError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            Problem(str(path), f"must be a whole checkpoint, but it is damaged: {_first_line(error)}")
        ) from None
    except pickle.UnpicklingError as error:
        raise UsageError(Problem(str(path), f"{_refusal(error)}")) from None
    except Exception as error:  # noqa: BLE001 - a damaged or hostile pickle can make torch raise anything at all
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # torch has no class of its own for it
            raise MnfpnError(Problem(str(path), "could not be read: out of memory")) from None
        if "TorchScript" in str(error):
            what = "it is a TorchScript program: save its state_dict()"
            raise UsageError(Problem(str(path), f"must be a state dict, but {what}")) from None
        why = "it holds arrays of NumPy" if _is_of_numpy(path) else f"torch cannot read it: {_first_line(error)}"
        raise UsageError(Problem(str(path), f"must be a checkpoint, but {why}")) from None
    settings = _carried(path) if kind is FileKind.SAFETENSORS else None
    tensors = _state_dict(path, found if key is None else value_under(path, found, key))
    return Checkpoint(str(path), _without_prefix(tensors), settings)


def _is_of_numpy(path: Path) -> bool:
    """Return whether a file is one of NumPy's archives."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


def _load_file(path: Path, kind: FileKind) -> Any:
    if kind is FileKind.SAFETENSORS:
        return load_file(path)
    if kind is FileKind.HDF5 or (kind is FileKind.ZIP and is_keras_archive(path)):
        return read_keras(path, kind is FileKind.ZIP)
    return load_pickled(path, kind)


def value_under(path: Path, found: Any, key: str) -> Any:
    """Return what a checkpoint has under a dotted key: a value, or all entries whose keys begin with it and a dot.

    Raises:
        UsageError: where it has nothing there; it lists the keys at the place where the search ended.
    """
    value, place, rest = found, "", key.split(".")
    while rest:
        here = list(value) if isinstance(value, Mapping) else []
        names = [".".join(rest[:count]) for count in range(len(rest), 0, -1)]
        name = next((name for name in names if name in here), None)
        if name is None:
            begins = f"{'.'.join(rest)}."
            flat = {one.removeprefix(begins): value[one] for one in here if str(one).startswith(begins)}
            if flat:
                return flat
            raise UsageError(_no_such_key(path, key, place, here))
        value, place = value[name], f"{place}.{name}" if place else name
        rest = rest[name.count(".") + 1 :]
    return value


def _no_such_key(path: Path, key: str, place: str, here: Sequence[Any]) -> Problem:
    """Return the problem of a key that a checkpoint lacks; an entry of a state dict stands for all with its prefix."""
    names = list(dict.fromkeys(str(one).partition(".")[0] for one in here))
    at = f" under {place}" if place else ""
    has = f"which has {few(names, MOST_KEYS)}{at}" if names else f"which has no keys{at}"
    near = did_you_mean(key, [f"{place}.{one}" if place else one for one in names])
    return Problem("`weights_key`", f"must be a key of {path}, {has}", f"'{key}'", near)


def _carried(path: Path) -> Source | None:
    """The settings in a file of ours; None where they cannot be read, which is an error only where they are used."""
    try:
        return settings_in(path)
    except UsageError:
        return None


def load_pickled(path: Path, kind: FileKind) -> Any:
    """Load a file of torch, mapped into memory where the mapping has the same contents.

    torch maps a storage as so many bytes from where its record begins, whatever the record is: one that is compressed,
    as after `unzip` and `zip`, or too short would be read as weights. Such files are read in full, which torch checks.
    """
    if kind is FileKind.LEGACY:
        return _load(path, mapped=False)
    records = stored_records(path)
    if records is None:
        return _load(path, mapped=False)
    found = _load(path, mapped=True)
    storages = {storage.data_ptr(): storage.nbytes() for storage in _storages(found) if storage.nbytes()}
    sizes = [size for _, size in sorted(storages.items())]
    return found if sizes == records else _load(path, mapped=False)


def stored_records(path: Path) -> list[int] | None:
    """Return the sizes of a file's storages in their order; None where any is compressed or named twice.

    Raises:
        zipfile.BadZipFile: where it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if len({entry.filename for entry in entries}) < len(entries):
        return None
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return None
    data = (entry for entry in entries if re.search(r"/data/[^/]+$", entry.filename) and entry.file_size)
    return [entry.file_size for entry in sorted(data, key=lambda entry: entry.header_offset)]


def _storages(found: Any) -> Iterator[torch.UntypedStorage]:
    """Yield the storages of all tensors in a loaded object, however deep."""
    seen, waiting = set(), [found]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            if item.layout is torch.strided and not item.is_meta:
                yield item.untyped_storage()
        elif isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set):
            waiting.extend(item)


def _load(path: Path, mapped: bool) -> Any:
    with warnings.catch_warnings():
        # torch warns of old formats and of TorchScript archives; both are read, or refused, all the same.
        warnings.simplefilter("ignore")
        if not path.name.endswith(".safetensors"):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        with path.open("rb") as file:  # torch would go by the name, and take its own file for one of safetensors
            return torch.load(file, map_location="cpu", weights_only=True)


def _refusal(error: pickle.UnpicklingError) -> str:
    """Return why a pickle was refused, in our own words: torch's advise to switch the protection off."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted or "Unsupported" in str(error):
        what = wanted[1] if wanted else "more"
        why = f"its pickle asks for {what}, which could run code; nothing of it was run"
        return f"must hold tensors alone, but {why}; {HOW_TO_SAVE_TENSORS}"
    return f"must be a checkpoint, but its pickle is damaged: {_first_line(error)}"


HOW_TO_SAVE_TENSORS = (
    "load it once in a program that you trust with it, and there save the tensors alone: "
    "torch.save(dict(model.state_dict()), 'tensors.pth')"
)


def _state_dict(path: Path, found: Any) -> Mapping[str, Tensor]:
    """Return the state dict in a loaded object, unwrapped."""
    for _ in range(MAX_NESTING):
        if not isinstance(found, Mapping):
            break
        wrapper = next((key for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if wrapper is None:
            break
        found = found[wrapper]
    if not isinstance(found, Mapping):
        raise UsageError(Problem(str(path), f"must be a state dict, but it holds data of type {type(found).__name__}"))
    if not found:
        raise UsageError(Problem(str(path), "must be a state dict, but it holds no tensors"))
    for key, value in found.items():
        if not isinstance(key, str):
            raise UsageError(Problem(str(path), f"must be a state dict, but one of its keys is {key!r:.40}, not text"))
        if not isinstance(value, Tensor):
            what = f"{key} is of type {type(value).__name__}, not a tensor"
            raise UsageError(Problem(str(path), f"must be a state dict, but {what}", hint=_nested(found)))
        if value.layout is not torch.strided or value.is_quantized or value.is_meta or value.is_nested:
            raise UsageError(
                Problem(str(path), f"must hold plain tensors, but {key} is sparse, nested, quantised or without data")
            )
    return found


def _nested(found: Mapping[str, Any]) -> str:
    """Return the end of a message that names the keys under which a file has tensors."""
    keys = [
        str(key)
        for key, value in found.items()
        if isinstance(value, Mapping) and any(isinstance(one, Tensor) for one in value.values())
    ]
    return f"; name the key of the state dict with `weights_key`: {few(keys, MOST_KEYS)}" if keys else ""


def _without_prefix(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for _ in range(MAX_NESTING):
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in tensors):
                tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return {key.removeprefix(IN_DETECTOR): value for key, value in tensors.items()}


def _first_line(error: Exception) -> str:
    return (first_line(error) or type(error).__name__).split(". ")[0][:200]
