"""TF32, float32 with 10 bits of fraction, which NVIDIA GPUs multiply several times as fast.

By torch's default its convolutions use it where they are in float32, and its matrix products do not.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def convolutions_use_tf32() -> bool:
    """Whether they do, on a GPU that has it."""
    with _quiet():
        return torch.backends.cudnn.allow_tf32


@contextmanager
def without_tf32() -> Iterator[None]:
    """Have convolutions compute in float32 to its last bit."""
    with _quiet(), torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False):
        yield


@contextmanager
def products_as_convolutions() -> Iterator[None]:
    """Let matrix products use TF32 where convolutions do."""
    with _quiet():
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Some versions of torch advise a newer way to set this, which older ones do not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32", UserWarning)
        yield
