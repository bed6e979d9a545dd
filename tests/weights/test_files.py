"""Reading files: every way in which a checkpoint is stored, and none in which a file could do harm."""

import os
import pickle
import re
import struct
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.weights.checkpoint import read_checkpoint, stored_records
from mnfpn_cli.weights.header import settings_in

TENSORS = {"stem.conv.weight": torch.arange(6.0).reshape(2, 3), "stem.conv.bias": torch.ones(2)}


def pth(value: object, **options: Any) -> Callable[[Path], None]:
    """A writer of a file in torch's format."""
    return lambda path: torch.save(value, path, **options)


def raw(data: bytes) -> Callable[[Path], None]:
    """A writer of bytes."""

    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


@pytest.mark.parametrize(
    "write",
    [
        pth(TENSORS),
        pth(TENSORS, _use_new_zipfile_serialization=False),
        lambda path: save_file(TENSORS, path),
        pth({"epoch": 3, "state_dict": TENSORS}),
        pth({"model": TENSORS, "optimizer": {}}),
        pth({"model_state": {"state_dict": TENSORS}}),
        pth({f"module.{key}": tensor for key, tensor in TENSORS.items()}),
        pth({"state_dict": {f"module._orig_mod.{key}": tensor for key, tensor in TENSORS.items()}}),
    ],
    ids=["zip", "legacy", "safetensors", "state_dict", "model", "nested", "module", "compiled"],
)
def test_a_state_dict_is_found_however_it_is_stored(write: Callable[[Path], None], tmp_path: Path) -> None:
    """By what is in the file, whatever its name."""
    path = tmp_path / "checkpoint.tar"
    write(path)
    found = read_checkpoint(path).tensors
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


class Evil:
    """A pickle that would make a file if it were run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_nothing_in_a_file_is_run(how: str, tmp_path: Path) -> None:
    """Not in torch's formats, and not in a bare pickle; the file proves that it would have run."""
    path, made = tmp_path / "evil.pth", tmp_path / "made"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Evil(made)))
    else:
        torch.save({"state_dict": Evil(made)}, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(
        UsageError, match=r"evil\.pth: must hold tensors alone, but its pickle asks for (posix\.mkdir|more), "
    ):
        read_checkpoint(path)
    assert not made.exists()
    if how == "pickle":
        pickle.loads(path.read_bytes())
        assert made.is_dir()


def nested(path: Path) -> None:
    """A nested tensor, which is strided by its own account and has no shape."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of nested tensors is in prototype stage", UserWarning)
        torch.save({"a": torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])}, path)


ITSELF: dict[str, object] = {}
ITSELF["state_dict"] = ITSELF

BAD: list[tuple[str, Callable[[Path], None], str]] = [
    ("empty", raw(b""), "must be a checkpoint, but it is empty"),
    ("text", raw(b"<!doctype html>"), "but it is no file of torch, safetensors or Keras"),
    ("lfs", raw(b"version https://git-lfs.github.com/spec/v1\n"), "but it is a pointer of Git LFS"),
    ("zip", raw(b"PK\x03\x04" + b"\0" * 100), "must be a whole checkpoint, but it is damaged"),
    ("pickle", raw(b"\x80\x02}q\x00("), "must be a whole checkpoint, but it is damaged"),
    ("header", raw(struct.pack("<Q", 20) + b'{"a": 1}' + b" " * 60), "must be a whole checkpoint, but it is damaged"),
    ("long-header", raw(struct.pack("<Q", 2**62) + b"{"), "no file of torch, safetensors or Keras"),
    ("list", pth([TENSORS]), "must be a state dict, but it holds data of type list"),
    ("number", pth({"lr": 0.1}), "must be a state dict, but lr is of type float, not a tensor"),
    ("key", pth({1: torch.zeros(1)}), "must be a state dict, but one of its keys is 1, not text"),
    ("nothing", pth({}), "must be a state dict, but it holds no tensors"),
    ("itself", pth(ITSELF), "must be a state dict, but state_dict is of type dict"),
    ("sparse", pth({"a": torch.eye(2).to_sparse()}), "must hold plain tensors, but a is sparse"),
    (
        "nested",
        nested,
        "must hold plain tensors, but a is sparse, nested",
    ),
    ("module", pth(nn.Linear(1, 1)), "must hold tensors alone, but its pickle asks for torch.nn.modules.linear.Linear"),
    ("namespace", pth({"args": Namespace(), "state_dict": TENSORS}), "its pickle asks for argparse.Namespace"),
]


@pytest.mark.parametrize(("name", "write", "message"), BAD, ids=[row[0] for row in BAD])
def test_a_bad_file_is_refused(name: str, write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    """With its name and the reason, exit code 2."""
    path = tmp_path / f"{name}.pth"
    write(path)
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch's advice to switch the protection off


def test_a_pickle_that_is_refused_can_be_saved_as_the_message_says(tmp_path: Path) -> None:
    """Load it where it is trusted, and save a plain dictionary of its state dict."""
    path = tmp_path / "whole.pth"
    torch.save(nn.Linear(2, 3), path)
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    command = re.search(r"torch\.save\(.*\)$", str(caught.value))
    assert command
    saved = tmp_path / "tensors.pth"
    program = command[0].replace("'tensors.pth'", "path")
    exec(program, {"torch": torch, "model": torch.load(path, weights_only=False), "path": saved})
    assert read_checkpoint(saved).tensors.keys() == {"weight", "bias"}


NESTED = {"epoch": 3, "ema": TENSORS, "state": {"model": {"state_dict": TENSORS}, "steps": {}}, "a.b": TENSORS}


@pytest.mark.parametrize("key", ["ema", "state.model", "state.model.state_dict", "a.b"])
def test_a_key_names_the_state_dict(key: str, tmp_path: Path) -> None:
    """A dotted one goes down; what is there is unwrapped as ever; a key of the file may have dots itself."""
    path = tmp_path / "nested.pth"
    torch.save(NESTED, path)
    assert read_checkpoint(path, key).tensors.keys() == TENSORS.keys()


@pytest.mark.parametrize("store", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_key_names_the_entries_that_begin_with_it(
    store: Callable[[dict[str, Tensor], Path], None], tmp_path: Path
) -> None:
    """A file of safetensors has no other way to nest."""
    path = tmp_path / "flat"
    parts = {"net.a": 0, "ema.b": 1}
    store({f"{part}.{key}": tensor + more for part, more in parts.items() for key, tensor in TENSORS.items()}, path)
    found = read_checkpoint(path, "ema.b").tensors
    assert torch.equal(found["stem.conv.bias"], TENSORS["stem.conv.bias"] + 1)
    assert found.keys() == TENSORS.keys()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("emma", "which has epoch, ema, state, a, got 'emma'; did you mean 'ema'?"),
        ("state.modle", "which has model, steps under state, got 'state.modle'; did you mean 'state.model'?"),
        ("state.steps.x", "which has no keys under state.steps, got 'state.steps.x'"),
        ("epoch.x", "which has no keys under epoch, got 'epoch.x'"),
        ("", "which has epoch, ema, state, a, got ''"),
    ],
)
def test_a_key_that_a_file_lacks_lists_those_that_it_has(key: str, message: str, tmp_path: Path) -> None:
    """At the place where the search ended."""
    path = tmp_path / "nested.pth"
    torch.save(NESTED, path)
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path, key)
    assert str(caught.value) == f"weights_key: must be a key of {path}, {message}"


def test_what_is_under_a_key_must_be_a_state_dict(tmp_path: Path) -> None:
    """A number is none, and a dictionary of other things names the keys that have tensors."""
    path = tmp_path / "nested.pth"
    torch.save(NESTED, path)
    with pytest.raises(UsageError, match="must be a state dict, but it holds data of type int"):
        read_checkpoint(path, "epoch")
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    assert str(caught.value).endswith(
        "must be a state dict, but epoch is of type int, not a tensor; "
        "name the key of the state dict with weights_key: ema, a.b"
    )


@pytest.mark.parametrize(
    "store", [torch.save, save_file, lambda t, p: torch.save(t, p, _use_new_zipfile_serialization=False)]
)
def test_a_truncated_file_is_refused_wherever_it_ends(
    store: Callable[[dict[str, Tensor], Path], None], tmp_path: Path
) -> None:
    """At every twentieth of its length."""
    path, cut = tmp_path / "whole.pth", tmp_path / "cut.pth"
    store({f"layer{n}.weight": torch.rand(8, 8) for n in range(9)}, path)
    data = path.read_bytes()
    for part in range(20):
        cut.write_bytes(data[: len(data) * part // 20])
        with pytest.raises(UsageError, match=r"cut\.pth: must "):
            read_checkpoint(cut)


def rezipped(path: Path, target: Path, how: int) -> None:
    """The same archive with its records stored in another way, as `unzip` and `zip` make it."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w", how) as made:
        for name in archive.namelist():
            made.writestr(name, archive.read(name))


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "compressed"])
def test_an_archive_that_was_packed_again_gives_the_same_numbers(how: int, tmp_path: Path) -> None:
    """torch, told to map such a file, takes the compressed bytes for weights."""
    path, packed = tmp_path / "a.pth", tmp_path / "b.pth"
    tensors = {f"layer{n}.weight": torch.rand(64, 64) for n in range(5)}
    torch.save(tensors, path)
    rezipped(path, packed, how)
    found = read_checkpoint(packed).tensors
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


def test_a_record_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """Its tensor would go on in the next record's bytes."""
    path, short = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({f"layer{n}.weight": torch.rand(64, 64) for n in range(5)}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(short, "w") as made:
        for name in archive.namelist():
            data = archive.read(name)
            made.writestr(name, data[: len(data) // 2] if name.endswith("data/2") else data)
    with pytest.raises(UsageError, match=r"b\.pth: must be a checkpoint"):
        read_checkpoint(short)


def test_tensors_that_share_a_storage_are_still_mapped(tmp_path: Path) -> None:
    """One record for both; it is not read in full for that."""
    path, whole = tmp_path / "a.pth", torch.rand(8, 8)
    torch.save({"a": whole[:4], "b": whole[4:], "c": torch.rand(3)}, path)
    assert stored_records(path) == [256, 12]
    found = read_checkpoint(path).tensors
    assert torch.equal(torch.cat((found["a"], found["b"])), whole)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torchs_file_is_read_under_the_name_of_the_other_format(zipped: bool, tmp_path: Path) -> None:
    """Torch itself goes by the name, and finds it damaged."""
    path = tmp_path / "torchs.safetensors"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path).tensors
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


def test_a_torchscript_program_is_refused_as_what_it_is(tmp_path: Path) -> None:
    """Torch's own message is about the switch that keeps it from running what is in a file."""
    path = tmp_path / "scripted.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still about
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path)
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    what = "it is a TorchScript program: save its state_dict()"
    assert str(caught.value) == f"{path}: must be a state dict, but {what}"


def test_an_archive_of_numpy_is_named(tmp_path: Path) -> None:
    """Torch's own message is about a file that it did not find in it."""
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.ones(3))
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path}: must be a checkpoint, but it holds arrays of NumPy"


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError("Cannot allocate memory (os error 12)"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("unable to mmap 9 bytes from file <a.pth>: Cannot allocate memory (12)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("store", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_file_larger_than_the_memory_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: Exception, store: Callable[[dict[str, Tensor], Path], None]
) -> None:
    """Under `ulimit -v`, say: exit code 1, wherever it shows."""
    path = tmp_path / "huge"
    store(TENSORS, path)

    def load(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(torch, "load", load)
    monkeypatch.setattr("mnfpn_cli.weights.checkpoint.load_file", load)
    monkeypatch.setattr("mnfpn_cli.weights.header.safe_open", load)
    readers: list[Callable[[Path], object]] = [read_checkpoint]
    if store is save_file and not isinstance(raised, RuntimeError):
        readers.append(settings_in)
    for reader in readers:
        with pytest.raises(MnfpnError, match=r"huge: could not be read: .*memory") as caught:
            reader(path)
        assert not isinstance(caught.value, UsageError)


def test_no_file_a_folder_and_a_device_are_refused(tmp_path: Path) -> None:
    """By name; a device is not read."""
    for path, what in ((tmp_path / "none", "none: no such file$"), (tmp_path, "folder"), (Path("/dev/zero"), "device")):
        with pytest.raises(UsageError, match=what):
            read_checkpoint(path)


def test_settings_that_a_file_carries_are_found_without_its_tensors(tmp_path: Path) -> None:
    """In the header of safetensors; other files carry none; those that are no settings are refused."""
    path = tmp_path / "ours.safetensors"
    save_file(TENSORS, path, {"mnfpn_settings": '{"width_mult": 0.5}'})
    carried = settings_in(path)
    assert carried
    assert carried.value == {"width_mult": 0.5}
    save_file(TENSORS, path, {"mnfpn_settings": "{"})
    with pytest.raises(UsageError, match=r"ours\.safetensors: mnfpn_settings: line 1, column 2: must be JSON"):
        settings_in(path)
    save_file(TENSORS, path)
    assert settings_in(path) is None
    torch.save(TENSORS, path)
    assert settings_in(path) is None
