"""Running the code of others: what it prints, how it ends, and what it changes stay its own affair."""

import ctypes
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.models.errors import model_error


@contextmanager
def others_code(doing: str) -> Iterator[None]:
    """Run code of a network: its output goes to standard error, and torch's settings are put back.

    Raises:
        ModelError: where it fails, in its own frames, or calls ``sys.exit``.
    """
    with output_to_stderr(), settings_kept():
        try:
            yield
        except MnfpnError:
            raise
        except (Exception, SystemExit) as error:
            raise model_error(doing, error) from error


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Have all that is printed, by Python or below it, go to standard error: standard output is for results."""
    with ExitStack() as stack:
        sys.stdout.flush()
        try:
            kept = os.dup(1)
            os.dup2(2, 1)
        except OSError:  # one of them is closed
            pass
        else:
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            stack.callback(_write_out)
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def _write_out() -> None:
    """Have what waits in buffers written before standard output is the result's again: Python's own, and C's."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put back what code may change for the whole process: torch's defaults, threads, random numbers, the folder."""
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    precision, gradients = torch.get_float32_matmul_precision(), torch.is_grad_enabled()
    deterministic, python, folder = torch.are_deterministic_algorithms_enabled(), random.getstate(), Path.cwd()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy else None
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            if torch.get_default_device() != device:
                torch.set_default_device(device)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            torch.set_grad_enabled(gradients)
            if torch.are_deterministic_algorithms_enabled() != deterministic:  # setting it imports torch's compiler
                torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            random.setstate(python)
            os.chdir(folder)
            if numpy and state:
                numpy.random.set_state(state)
