"""PyTorch with layers joined by its compiler, `torch.compile`, for one size and one number of threads."""

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
from mnfpn_cli.runtimes.runtime import Job, Prepared, training_step
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line, strip_colours

LEAST_CAPABILITY = (7, 0)
"""The compute capability from which on Triton, which torch compiles with for GPUs, has a GPU's instructions."""


ANY_NETWORK = True


def impossible(device: torch.device, _dtype: DType, _train: bool) -> str | None:
    """It needs a Python that torch can compile, and a compiler on this machine."""
    try:
        torch.compile(backend="inductor")  # makes a decorator; raises at once where this Python is not supported
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
    """The one C++ compiler that torch looks for."""
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
    """Compile the network in channels-last order, by running it once.

    Raises:
        MnfpnError: where the compiler gives up.
    """
    network, inputs = move(job, torch.channels_last)
    with _compiler_failure_explained(), _weights_as_constants(job.device.type == "cpu" and not job.train):
        # What the mode "reduce-overhead" stands for; its CUDA graphs are all that it does.
        options: dict[str, Any] = {"triton.cudagraphs": True} if job.device.type == "cuda" else {}
        # A network of others may have parts that the compiler leaves to Python, as people who compile it have them.
        compiled = torch.compile(own_pass(network), fullgraph=job.one_graph, dynamic=False, options=options)
        forward = partial(_marked, compiled) if options else compiled
        run = training_step(network, inputs, forward) if job.train else partial(forward, *inputs)
        with torch.inference_mode(not job.train):  # a pass in another mode would compile anew
            run()
    return Prepared(run)


@contextmanager
def _weights_as_constants(wanted: bool) -> Iterator[None]:
    """Let the compiler fold batch norms into convolutions, and store weights as a CPU's convolutions want them.

    It must be set like this: as an option of `torch.compile` it reaches one half of the compiler, and changes nothing.
    """
    import torch._inductor.config as inductor

    with inductor.patch(freezing=wanted):
        yield


def own_pass(network: nn.Module) -> Callable[..., Any]:
    """A call of the network, as a function with a code object of its own.

    torch keeps what it compiled with the code object, which all networks of a class share: the ninth would be one too
    many, and `torch._dynamo.reset` would throw away one that another is about to be compared with.
    """

    def call(*inputs: Tensor) -> Any:
        return network(*inputs)

    call.__code__ = call.__code__.replace()
    return call


def _marked(compiled: Callable[..., Any], *inputs: Tensor) -> Any:
    """Run once; the outputs of the pass before may be overwritten."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    return compiled(*inputs)


@contextmanager
def _compiler_failure_explained() -> Iterator[None]:
    """Turn what stops the compiler into an error in words, and let it be imported without warnings."""
    from torch._dynamo.exc import TorchDynamoException

    with warnings.catch_warnings():
        # Importing the compiler imports modules that torch.jit compiles, which torch itself has deprecated.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        # Advice to use TF32 in products, which would change the numbers, and on how to.
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores|Please use the new API settings", UserWarning)
        try:
            yield
        except TorchDynamoException as error:
            raise MnfpnError(f"torch could not compile the network: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What stopped the compiler: a C++ compiler's first error, or the first line of the exception that torch wraps."""
    cause = getattr(error, "inner_exception", error)
    errors = (line.strip() for line in strip_colours(str(cause)).replace("`", "'").splitlines() if "error: " in line)
    return next(errors, first_line(cause) or type(cause).__name__)
