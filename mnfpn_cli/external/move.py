"""Move networks and tensors to a device and a dtype."""

from itertools import chain

import torch
from torch import Tensor, nn


def move_network(
    network: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.preserve_format,
) -> None:
    """Move a network to a device, its floating-point tensors in a dtype, those with four dimensions in a memory format.

    Integer and complex tensors keep their dtype; so do those in float64 where `keeps_float64` says so. (MPS has none.)
    """
    keeps = keeps_float64(network, dtype) and device.type != "mps"

    def moved(tensor: Tensor) -> Tensor:
        kept = keeps and tensor.dtype is torch.float64
        return move_tensor(tensor, device, torch.float64 if kept else dtype, memory_format)

    network._apply(moved)  # type: ignore[no-untyped-call]
    network.to(device)  # external networks override it to move unregistered tensors


def keeps_float64(network: nn.Module, dtype: torch.dtype) -> bool:
    """Return whether float64 stays: where float32 is asked for and there beside it, code needs its precision."""
    dtypes = {tensor.dtype for tensor in chain(network.parameters(), network.buffers())}
    return dtype is torch.float32 and torch.float32 in dtypes


def move_tensor(
    tensor: Tensor, device: torch.device, dtype: torch.dtype, memory_format: torch.memory_format = torch.preserve_format
) -> Tensor:
    """Return a tensor on a device: of floating-point numbers in a dtype, with four dimensions in a memory format."""
    changes_order = memory_format is not torch.preserve_format and tensor.dim() == 4  # lazy tensors have no dimensions
    order = memory_format if changes_order else torch.preserve_format
    return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype, memory_format=order)
