"""What counters say of a module: the tools themselves, run, and their figures explained."""

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

from mnfpn_cli.audit.terms import format_terms, operations, terms_of
from mnfpn_cli.documents.summary import CounterTotal, CountsRecord, WorkRecord
from mnfpn_cli.external.guard import ModelError, external_code
from mnfpn_cli.external.torchvision import declare_operators
from mnfpn_cli.trace.meta import WithoutArithmetic
from mnfpn_cli.trace.operations import Kind
from mnfpn_cli.trace.passes import make_input, run_pass
from mnfpn_cli.trace.storages import restore_modules
from mnfpn_cli.trace.trace import Trace

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
        with silenced(), external_code(f"importing {counter.package}"):
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
def on_cpu(trace: Trace) -> Iterator[Trace]:
    """Have a network on the CPU in eval mode while counters run; it is left as it was.

    Yield what a pass on the CPU shows: torch has other kernels there than on the meta device, as for attention.
    """
    network, modules = trace.network, [*trace.network.modules(), *trace.hidden_modules]
    on_meta = any(one.is_meta for one in (*network.parameters(), *network.buffers()))
    with restore_modules(modules, values=not on_meta):
        if on_meta:
            for module in (network, *trace.hidden_modules):
                module._apply(_zeros)  # type: ignore[no-untyped-call]
        with suppress(NotImplementedError):  # as of a program that torch exported, which has one mode
            network.eval()
        yield trace if trace.eval_pass.mode == "real" or trace.eval_pass.data_dependent else _seen_on_cpu(trace)


def _zeros(tensor: Tensor) -> Tensor:
    """As much memory as a tensor of the meta device stands for; none is touched before it is needed."""
    return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")


def _seen_on_cpu(trace: Trace) -> Trace:
    """The trace of a pass on the CPU, or those that there are where it fails without numbers."""
    try:
        with silenced(), WithoutArithmetic():
            return replace(trace, eval_pass=run_pass(trace.network, trace.inputs, "real", trace.hidden_modules))
    except ModelError:
        return trace


def run_counter(counter: Counter, trace: Trace) -> float:
    """Give a counter's total for a network that is ``on_cpu``.

    Convolutions and their kind are not computed where the counter does without. What it counts is decided by the calls
    that it sees, which are the same; numbers matter where shapes depend on them.

    Raises:
        CountError: where it has none.
    """
    if not counter.traces and not trace.eval_pass.data_dependent:
        with suppress(ModelError):
            return _run(counter, trace, WithoutArithmetic())
    available = psutil.virtual_memory().available
    if trace.eval_pass.peak_bytes > available:
        raise CountError(
            f"a pass needs {trace.eval_pass.peak_bytes:,} bytes of memory, and {available:,} are available"
        )
    try:
        return _run(counter, trace, nullcontext())
    except ModelError as failure:
        raise CountError(failure.message) from failure


def _run(counter: Counter, trace: Trace, way: AbstractContextManager[object]) -> float:
    network = trace.network
    with (
        restore_modules([*network.modules(), *trace.hidden_modules], values=False),
        restore_torch_functions(),
        silenced(),
        external_code("it"),
        no_grad_without_fast_path(),
    ):
        inputs = tuple(make_input(one, network, "real") for one in trace.inputs)
        with way:
            return counter.run(network, inputs)


@contextmanager
def no_grad_without_fast_path() -> Iterator[None]:
    """Run without gradients, and go through attention as torch does where it keeps them, as these tools are used."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def restore_torch_functions() -> Iterator[None]:
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
def silenced() -> Iterator[None]:
    """Keep a counter from printing, warning and logging: its total is all that is asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def counts_record(trace: Trace) -> CountsRecord:
    """Count the work of a network that was looked at, and run every counter on it; it is left as it was."""
    return CountsRecord(work=count_work(trace), tools=tool_totals(trace))


def count_work(trace: Trace) -> WorkRecord:
    """Count every operation that was seen, wherever the layer that computes it is kept."""
    seen = list(operations(trace))

    def elements(kind: Kind) -> int:
        return sum(one.elements for one in seen if one.kind == kind)

    return WorkRecord(
        convolution_macs=sum(one.macs for one in seen if one.kind == "convolution"),
        dense_macs=sum(one.macs for one in seen if one.kind != "convolution"),
        bias_adds=sum(one.bias for one in seen),
        batch_norm=elements("batch_norm"),
        other_norms=elements("norm"),
        activations=elements("activation"),
        resized=elements("resize"),
        additions=elements("addition"),
        multiplications=elements("product"),
        pooled=sum(one.read for one in seen if one.kind == "pooling"),
    )


def tool_totals(trace: Trace, counters: Sequence[Counter] = COUNTERS) -> tuple[CounterTotal, ...]:
    """Run counters, and hold the total of each against what it is known to add; one that fails says why."""
    with on_cpu(trace) as seen:
        return tuple(_total(counter, seen) for counter in counters)


def _total(counter: Counter, trace: Trace) -> CounterTotal:
    version = None
    try:
        version = installed_version(counter)
        total = round(run_counter(counter, trace))
    except CountError as reason:
        return _without_total(counter, version, str(reason))
    terms = terms_of(counter.name, trace)
    remainder = total - sum(term.factor * term.amount for term in terms)
    return CounterTotal(
        tool=counter.name,
        version=version,
        total=total,
        unit=counter.unit,
        meaning=format_terms(terms, remainder),
        exact=remainder == 0,
        terms=terms,
        remainder=remainder,
        note=_caveat(counter, trace),
    )


def _without_total(counter: Counter, version: str | None, reason: str) -> CounterTotal:
    return CounterTotal(
        tool=counter.name,
        version=version,
        total=None,
        unit=counter.unit,
        meaning="",
        exact=False,
        terms=(),
        remainder=None,
        note=reason,
    )


def _caveat(counter: Counter, trace: Trace) -> str:
    """What else a reader has to know of a total."""
    by_image = counter.name == "ptflops" and any(one.shape[:1] > (1,) for one in trace.inputs[:1])
    return "it counts modules for one image of the batch, and functions for all" if by_image else ""
