"""The counters that people quote, run: torch's own, fvcore, torchinfo, and ptflops, thop and calflops if installed."""

import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import psutil
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mnfpn_cli.external.guard import ModelError, others_code
from mnfpn_cli.external.torchvision import declare_operators
from mnfpn_cli.trace.facts import Facts
from mnfpn_cli.trace.meta import WithoutArithmetic
from mnfpn_cli.trace.passes import made_input, run_pass
from mnfpn_cli.trace.storages import left_as_it_was

Count = Callable[[nn.Module, tuple[Tensor, ...]], float]


class CountError(Exception):
    """A counter is not installed, or fails on a network; the text says why."""


def _fvcore(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from fvcore.nn import FlopCountAnalysis

    return float(FlopCountAnalysis(network, inputs).total())


def _torchinfo(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    import torchinfo

    # It keeps what it saw by the name of the class, which names another network as easily, unless told not to.
    found = torchinfo.summary(network, input_data=list(inputs), verbose=0, device="cpu", cache_forward_pass=False)
    return float(found.total_mult_adds)


def _flop_counter_mode(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return float(counter.get_total_flops())


def _ptflops(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Give it one tensor by position, whose length it takes for the batch; several must have names."""
    from ptflops import get_model_complexity_info

    named = dict(zip(inspect.signature(network.forward).parameters, inputs, strict=False))
    given = inputs[0] if len(inputs) == 1 else named
    options = {"print_per_layer_stat": False, "as_strings": False}
    with redirect_stdout(io.StringIO()) as said:
        total, _ = get_model_complexity_info(network, (1,), input_constructor=lambda _: given, **options)
    if total is None:  # it prints what went wrong, and goes on
        raise RuntimeError(said.getvalue().strip().rpartition("\n")[2])
    return float(total)


def _thop(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from thop import profile

    return float(profile(network, inputs, verbose=False)[0])


def _calflops(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from calflops import calculate_flops

    return float(calculate_flops(network, args=list(inputs), print_results=False, output_as_string=False)[0])


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter.

    Attributes:
        name: of it.
        package: that it is from, as pip and import name it.
        install: what pip installs it with.
        unit: as it calls what it counts.
        run: what gives its total for a network in eval mode on the CPU.
        traces: whether it has torch's tracer watch, which needs a real pass.
    """

    name: str
    package: str
    install: str
    unit: str
    run: Count
    traces: bool = False


COUNTERS = (
    Counter("fvcore", "fvcore", "mnfpn", "flops", _fvcore, traces=True),
    Counter("torchinfo", "torchinfo", "mnfpn", "mult-adds", _torchinfo),
    Counter("FlopCounterMode", "torch", "mnfpn", "FLOPs", _flop_counter_mode),
    Counter("ptflops", "ptflops", "mnfpn[counters]", "MACs", _ptflops),
    Counter("thop", "thop", "mnfpn[counters]", "MACs", _thop),
    Counter("calflops", "calflops", "mnfpn[counters]", "FLOPs", _calflops),
)
"""The counters, in the order in which they are shown."""


def installed_version(counter: Counter) -> str:
    """Import a counter, and give its version.

    Raises:
        CountError: where it is not installed, or cannot be imported.
    """
    if not _is_installed(counter.package):
        raise CountError(f"not installed; pip install '{counter.install}' adds it")
    try:
        with unseen(), others_code(f"importing {counter.package}"):
            try:
                import_module(counter.package)
            except RuntimeError as error:  # of torchvision, which ptflops and calflops import
                if not declare_operators(error):
                    raise
                import_module(counter.package)
            return version(counter.package)
    except ModelError as failure:
        raise CountError(failure.message) from failure


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it is there by name alone, as where None stands in its place
        return False


@contextmanager
def on_cpu(facts: Facts) -> Iterator[Facts]:
    """Have a network on the CPU in eval mode while counters run; it is left as it was.

    Yield what a pass on the CPU shows: torch has other kernels there than on the meta device, as for attention.
    """
    network, modules = facts.network, [*facts.network.modules(), *facts.others]
    on_meta = any(one.is_meta for one in (*network.parameters(), *network.buffers()))
    with left_as_it_was(modules, values=not on_meta):
        if on_meta:
            for module in (network, *facts.others):
                module._apply(_zeros)  # type: ignore[no-untyped-call]
        with suppress(NotImplementedError):  # as of a program that torch exported, which has one mode
            network.eval()
        yield facts if facts.seen.how == "real" or facts.seen.depends else _seen_on_cpu(facts)


def _zeros(tensor: Tensor) -> Tensor:
    """As much memory as a tensor of the meta device stands for; none is touched before it is needed."""
    return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")


def _seen_on_cpu(facts: Facts) -> Facts:
    """The facts of a pass on the CPU, or those that there are where it fails without numbers."""
    try:
        with unseen(), WithoutArithmetic():
            return replace(facts, seen=run_pass(facts.network, facts.inputs, "real", facts.others))
    except ModelError:
        return facts


def run_counter(counter: Counter, facts: Facts) -> float:
    """Give a counter's total for a network that is ``on_cpu``.

    Convolutions and their kind are not computed where the counter does without. What it counts is decided by the calls
    that it sees, which are the same; numbers matter where shapes depend on them.

    Raises:
        CountError: where it has none.
    """
    if not counter.traces and not facts.seen.depends:
        with suppress(ModelError):
            return _run(counter, facts, WithoutArithmetic())
    available = psutil.virtual_memory().available
    if facts.seen.peak_bytes > available:
        raise CountError(f"a pass needs {facts.seen.peak_bytes:,} bytes of memory, and {available:,} are available")
    try:
        return _run(counter, facts, nullcontext())
    except ModelError as failure:
        raise CountError(failure.message) from failure


def _run(counter: Counter, facts: Facts, way: AbstractContextManager[object]) -> float:
    network = facts.network
    with (
        left_as_it_was([*network.modules(), *facts.others], values=False),
        functions_as_they_were(),
        unseen(),
        others_code("it"),
        as_with_gradients(),
    ):
        inputs = tuple(made_input(one, network, "real") for one in facts.inputs)
        with way:
            return counter.run(network, inputs)


@contextmanager
def as_with_gradients() -> Iterator[None]:
    """Run without gradients, and go through attention as torch does where it keeps them, as these tools are used."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def functions_as_they_were() -> Iterator[None]:
    """Put back the functions of torch: a counter that fails leaves its own in their place."""
    spaces: Sequence[Any] = (F, torch, Tensor)
    before = [(space, dict(vars(space))) for space in spaces]
    try:
        yield
    finally:
        for space, held in before:
            for name, value in held.items():
                now = vars(space).get(name)
                # what torch itself replaced, as its compiler does when it is imported, stays
                if now is not value and not str(getattr(now, "__module__", "")).startswith("torch."):
                    setattr(space, name, value)
        for name in vars(Tensor).keys() - before[-1][1].keys():
            if hasattr(torch._C.TensorBase, name):  # a method that was put over torch's
                delattr(Tensor, name)


@contextmanager
def unseen() -> Iterator[None]:
    """Keep a counter from printing, warning and logging: its total is all that is asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
