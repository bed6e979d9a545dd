"""Write and read safetensors: the weights, with the settings that the network is built from as metadata."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mnfpn_cli.errors import CheckError, MnfpnError
from mnfpn_cli.export.axes import DynamicAxis
from mnfpn_cli.export.job import FileJob, ReadFile
from mnfpn_cli.export.program import NamedOutputs
from mnfpn_cli.external.copies import copy_network
from mnfpn_cli.network.network import build_planned
from mnfpn_cli.settings.input import DType

SUFFIXES = (".safetensors",)
EXACT = True
DTYPES: tuple[DType, ...] = ("float32", "bfloat16", "float16")
"""What the weights are stored in; whoever reads them chooses what to compute in."""
DYNAMIC: frozenset[DynamicAxis] = frozenset()

MOST_LACKING = 4
"""The most paths that a message names."""

FORMAT = {"format": "pt"}
"""Tells other libraries that torch wrote the file."""


def write(job: FileJob, path: Path) -> None:
    """Write the state dict; a tensor that has several names is written under each.

    Raises:
        CheckError: where the state dict lacks weights that the network uses.
        MnfpnError: where the state dict holds more than tensors.
    """
    if job.lacking:
        lacking = ", ".join(job.lacking[:MOST_LACKING]) + ", …" * (len(job.lacking) > MOST_LACKING)
        raise CheckError(f"the file would lack {lacking}: used, but registered by no module")
    state = job.network.state_dict()
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise MnfpnError(f"must hold nothing but tensors, and the state dict has more: {', '.join(others[:3])}")
    dtype = getattr(torch, job.dtype)
    seen: set[int] = set()
    tensors = {key: _stored(tensor, dtype, seen) for key, tensor in state.items()}
    path.write_bytes(save(tensors, {**FORMAT, **job.metadata}))


def _stored(tensor: Tensor, dtype: torch.dtype, seen: set[int]) -> Tensor:
    """Return a tensor in the dtype of the file, in memory of its own: safetensors refuses what two names share."""
    converts = tensor.is_floating_point() and dtype is not torch.float32  # in float32, what is in float64 stays
    stored = (tensor.to(dtype) if converts else tensor).detach().contiguous()
    storage = stored.untyped_storage()
    is_alone = storage.data_ptr() not in seen and storage.nbytes() == stored.nbytes
    seen.add(storage.data_ptr())
    return stored if is_alone else stored.clone()


OTHER_SEED = 1
"""Seed of the network that the file is read back into: a weight that the file lacks shows as a difference."""


def read(path: Path, job: FileJob) -> ReadFile:
    """Load the weights of a file into another network."""
    network = NamedOutputs(build_planned(job.plan, OTHER_SEED)) if job.plan else _emptied(job.network)
    network.load_state_dict(load_file(path))
    with safe_open(path, framework="pt") as file:
        return ReadFile(file.metadata() or {}, network)


@torch.no_grad()
def _emptied(network: nn.Module) -> nn.Module:
    """Return a copy of a network of others whose weights are zero."""
    copied = copy_network(network)
    for tensor in (*copied.parameters(), *copied.state_dict().values()):
        tensor.zero_()
    return copied


def annotate(path: Path, metadata: Mapping[str, str]) -> None:
    """Write the file anew with more metadata."""
    with safe_open(path, framework="pt") as file:
        carried = file.metadata() or {}
    path.write_bytes(save(load_file(path), {**carried, **metadata}))
