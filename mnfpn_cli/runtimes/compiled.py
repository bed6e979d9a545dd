"""PyTorch compiled by `torch.compile`, which fuses layers, for one size and one number of threads."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.devices.cuda import capability
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.runtimes.eager import move
from mnfpn_cli.runtimes.runtime import NO_INT8, Job, Prepared, training_step
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line, strip_colours

LEAST_CAPABILITY = (7, 0)
"""The lowest compute capability that Triton, torch's compiler for GPUs, supports."""

ANY_NETWORK = True


def unavailable_reason(device: torch.device, dtype: DType, _train: bool) -> str | None:
    """Return why it cannot run here: it needs a Python that torch can compile, and a compiler on this machine."""
    if dtype == "int8":
        return NO_INT8
    try:
        torch.compile(backend="inductor")  # raises at once where this Python is not supported
    except RuntimeError as error:
        return first_line(error)
    return _missing_for_cuda(device) if device.type == "cuda" else _missing_compiler("CXX", _cxx_compilers())


def _missing_for_cuda(device: torch.device) -> str | None:
    if find_spec("triton") is None:
        return "not installed: pip install triton"
    if (found := capability(device)) < LEAST_CAPABILITY:
        least, own = (".".join(map(str, version)) for version in (LEAST_CAPABILITY, found))
        return f"needs a GPU of compute capability {least} or more, and this one has {own}"
    return None if sys.platform == "win32" else _missing_compiler("CC", ("gcc", "clang"))


def _cxx_compilers() -> tuple[str, ...]:
    """Return the C++ compiler that torch looks for on this system."""
    return ({"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++"),)


def _missing_compiler(variable: str, usual: tuple[str, ...]) -> str | None:
    named = os.environ.get(variable)
    if any(map(shutil.which, (named,) if named else usual)):
        return None
    language = "C++" if variable == "CXX" else "C"
    if named:
        return f"needs a {language} compiler, and there is no {named}, which {variable} names"
    return f"needs a {language} compiler: {' or '.join(usual)}, or one that the environment variable {variable} names"


def prepare(job: Job) -> Prepared:
    """Compile the network in channels-last memory format, by running it once.

    Raises:
        MnfpnError: where the compiler fails.
    """
    network, inputs = move(job, torch.channels_last)
    with _compiler_failure_explained(), _weights_as_constants(job.device.type == "cpu" and not job.train):
        # The mode "reduce-overhead" is this option alone.
        options: dict[str, Any] = {"triton.cudagraphs": True} if job.device.type == "cuda" else {}
        # Parts of an external network may run in Python, as they do for people who compile it.
        compiled = torch.compile(own_pass(network), fullgraph=job.one_graph, dynamic=False, options=options)
        forward = partial(_marked, compiled) if options else compiled
        run = training_step(network, inputs, forward) if job.train else partial(forward, *inputs)
        with torch.inference_mode(not job.train):  # a pass in another mode would compile again
            run()
    return Prepared(run, inputs)


@contextmanager
def _weights_as_constants(wanted: bool) -> Iterator[None]:
    """Let the compiler fold batch norms into convolutions, and store weights in the order of a CPU's convolutions.

    As an option of `torch.compile` this setting reaches only half of the compiler, and has no effect.
    """
    import torch._inductor.config as inductor

    with inductor.patch(freezing=wanted):
        yield


def own_pass(network: nn.Module) -> Callable[..., Any]:
    """Return a function that calls the network and has its own code object.

    torch caches compiled code by code object, at most eight times each, and all networks of a class share that of
    `forward`. `torch._dynamo.reset` would make room, but discard networks that are still to be timed.
    """

    def call(*inputs: Tensor) -> Any:
        return network(*inputs)

    call.__code__ = call.__code__.replace()
    return call


def _marked(compiled: Callable[..., Any], *inputs: Tensor) -> Any:
    """Run one pass; it may overwrite the outputs of the pass before."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    return compiled(*inputs)


@contextmanager
def _compiler_failure_explained() -> Iterator[None]:
    """Turn the compiler's exceptions into an `MnfpnError`, and silence the warnings of its import."""
    from torch._dynamo.exc import TorchDynamoException

    with warnings.catch_warnings():
        # The import compiles modules by torch.jit, which torch itself has deprecated.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        # Advice to use TF32 in matrix products, which would change the results.
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores|Please use the new API settings", UserWarning)
        try:
            yield
        except TorchDynamoException as error:
            raise MnfpnError(f"torch could not compile the network: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return a C++ compiler's first error, or the first line of the exception that torch wraps."""
    cause = getattr(error, "inner_exception", error)
    errors = (line.strip() for line in strip_colours(str(cause)).replace("`", "'").splitlines() if "error: " in line)
    return next(errors, first_line(cause) or type(cause).__name__)
