"""Run other counters of operations on a network, and explain their totals by what a trace counts."""

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
from mnfpn_cli.trace.operations import OperationKind
from mnfpn_cli.trace.passes import make_input, run_pass
from mnfpn_cli.trace.restore import restore_modules
from mnfpn_cli.trace.trace import Trace

CountFunction = Callable[[nn.Module, tuple[Tensor, ...]], float]


class CountError(Exception):
    """A counter is not installed, or fails on a network; the message says why."""


def _fvcore(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from fvcore.nn import FlopCountAnalysis

    return float(FlopCountAnalysis(network, inputs).total())


def _torchinfo(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    import torchinfo

    # Its cache is keyed by the name of the class, which another network may have too.
    statistics = torchinfo.summary(network, input_data=list(inputs), verbose=0, device="cpu", cache_forward_pass=False)
    return float(statistics.total_mult_adds)


def _flop_counter_mode(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return float(counter.get_total_flops())


def _ptflops(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Return the total of ptflops, which takes one tensor by position and several by name.

    It takes the first dimension of the one tensor for the batch.
    """
    from ptflops import get_model_complexity_info

    named = dict(zip(inspect.signature(network.forward).parameters, inputs, strict=False))
    arguments = inputs[0] if len(inputs) == 1 else named
    options = {"print_per_layer_stat": False, "as_strings": False}
    with redirect_stdout(io.StringIO()) as printed:
        total, _ = get_model_complexity_info(network, (1,), input_constructor=lambda _: arguments, **options)
    if total is None:  # it prints the error and returns None
        raise RuntimeError(printed.getvalue().strip().rpartition("\n")[2])
    return float(total)


def _thop(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from thop import profile

    return float(profile(network, inputs, verbose=False)[0])


def _calflops(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from calflops import calculate_flops

    return float(calculate_flops(network, args=list(inputs), print_results=False, output_as_string=False)[0])


@dataclass(frozen=True, slots=True)
class Counter:
    """A tool that counts operations.

    Attributes:
        name: the name of the tool.
        package: its package, as pip and import name it.
        install: the requirement that installs it.
        unit: its own name for what it counts.
        run: returns its total for a network in eval mode on the CPU.
        traces: whether it uses torch's tracer, which needs a real pass.
    """

    name: str
    package: str
    install: str
    unit: str
    run: CountFunction
    traces: bool = False


COUNTERS = (
    Counter("fvcore", "fvcore", "mnfpn", "flops", _fvcore, traces=True),
    Counter("torchinfo", "torchinfo", "mnfpn", "mult-adds", _torchinfo),
    Counter("FlopCounterMode", "torch", "mnfpn", "FLOPs", _flop_counter_mode),
    Counter("ptflops", "ptflops", "mnfpn[counters]", "MACs", _ptflops),
    Counter("thop", "thop", "mnfpn[counters]", "MACs", _thop),
    Counter("calflops", "calflops", "mnfpn[counters]", "FLOPs", _calflops),
)
"""All counters, in the order of the table."""


def installed_version(counter: Counter) -> str:
    """Import a counter; return its version.

    Raises:
        CountError: where the counter is not installed, or cannot be imported.
    """
    if not _is_installed(counter.package):
        raise CountError(f"not installed; pip install '{counter.install}' adds it")
    try:
        with silenced(), external_code(f"importing {counter.package}"):
            try:
                import_module(counter.package)
            except RuntimeError as error:  # from torchvision, which ptflops and calflops import
                if not declare_operators(error):
                    raise
                import_module(counter.package)
            return version(counter.package)
    except ModelError as failure:
        raise CountError(failure.message) from failure


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # sys.modules has None or a stub under its name
        return False


@contextmanager
def on_cpu(trace: Trace) -> Iterator[Trace]:
    """Move a network to the CPU, in eval mode, while counters run; it is left unchanged.

    Yield the trace of a pass on the CPU, where torch has other kernels than on the meta device, as for attention.
    """
    network, modules = trace.network, [*trace.network.modules(), *trace.hidden_modules]
    on_meta = any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    with restore_modules(modules, values=not on_meta):
        if on_meta:
            for module in (network, *trace.hidden_modules):
                module._apply(_zeros)  # type: ignore[no-untyped-call]
        with suppress(NotImplementedError):  # a program that torch exported has one mode
            network.eval()
        yield trace if trace.eval_pass.mode == "real" or trace.eval_pass.data_dependent else _trace_on_cpu(trace)


def _zeros(tensor: Tensor) -> Tensor:
    """Return zeros of the shape of a meta tensor; the system allocates their memory only when it is written."""
    return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")


def _trace_on_cpu(trace: Trace) -> Trace:
    """Return the trace of a pass on the CPU without arithmetic; the given trace where that pass fails."""
    try:
        with silenced(), WithoutArithmetic():
            return replace(trace, passes=(run_pass(trace.network, trace.inputs, "real", trace.hidden_modules),))
    except ModelError:
        return trace


def run_counter(counter: Counter, trace: Trace) -> float:
    """Return the total of a counter for a network that is ``on_cpu``.

    The arithmetic of the most common operations is skipped where possible: a counter counts the calls that it sees,
    and these are the same without values. A counter that uses torch's tracer needs values,
    and so does a network whose shapes depend on them.

    Raises:
        CountError: where the counter fails, or a real pass needs more memory than is available.
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


def _run(counter: Counter, trace: Trace, arithmetic: AbstractContextManager[object]) -> float:
    """Run a counter, and undo all that it changes."""
    network = trace.network
    with (
        restore_modules([*network.modules(), *trace.hidden_modules], values=False),
        restore_torch_functions(),
        silenced(),
        external_code("it"),
        no_grad_without_fast_path(),
    ):
        inputs = tuple(make_input(spec, network, "real") for spec in trace.inputs)
        with arithmetic:
            return counter.run(network, inputs)


@contextmanager
def no_grad_without_fast_path() -> Iterator[None]:
    """Turn off gradients, but keep the attention kernels of a pass with gradients, as counters are mostly run."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def restore_torch_functions() -> Iterator[None]:
    """Restore the functions of torch: a counter that fails leaves its replacements in torch."""
    spaces: Sequence[Any] = (F, torch, Tensor)
    before = [(space, dict(vars(space))) for space in spaces]
    try:
        yield
    finally:
        for space, functions in before:
            for name, value in functions.items():
                now = vars(space).get(name)
                # keep what torch itself replaced, as its compiler does on import
                if now is not value and not str(getattr(now, "__module__", "")).startswith("torch."):
                    setattr(space, name, value)
        for name in vars(Tensor).keys() - before[-1][1].keys():
            if hasattr(torch._C.TensorBase, name):  # a method that overrides one of torch's
                delattr(Tensor, name)


@contextmanager
def silenced() -> Iterator[None]:
    """Discard what a counter prints, warns of and logs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def counts_record(trace: Trace) -> CountsRecord:
    """Count the work of a traced network, and run every counter on it; the network is left unchanged."""
    return CountsRecord(work=count_work(trace), tools=tool_totals(trace))


def count_work(trace: Trace) -> WorkRecord:
    """Count the work of all operations in a trace, whether their module is registered or not."""
    observed = list(operations(trace))

    def elements(kind: OperationKind) -> int:
        return sum(operation.elements for operation in observed if operation.kind == kind)

    return WorkRecord(
        convolution_macs=sum(operation.macs for operation in observed if operation.kind == "convolution"),
        dense_macs=sum(operation.macs for operation in observed if operation.kind != "convolution"),
        bias_adds=sum(operation.bias for operation in observed),
        batch_norm=elements("batch_norm"),
        other_norms=elements("norm"),
        activations=elements("activation"),
        resized=elements("resize"),
        additions=elements("addition"),
        multiplications=elements("product"),
        pooled=sum(operation.read for operation in observed if operation.kind == "pooling"),
    )


def tool_totals(trace: Trace, counters: Sequence[Counter] = COUNTERS) -> tuple[CounterTotal, ...]:
    """Run counters, and explain the total of each by its terms; one that fails has a note instead."""
    with on_cpu(trace) as cpu_trace:
        return tuple(_total(counter, cpu_trace) for counter in counters)


def _total(counter: Counter, trace: Trace) -> CounterTotal:
    """Run one counter; return its total, the terms that it is the sum of, and what they do not explain."""
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
    """Return what else a reader must know of a total; mostly nothing."""
    by_image = counter.name == "ptflops" and any(spec.shape[:1] > (1,) for spec in trace.inputs[:1])
    return "it counts modules for one image of the batch, and functions for all" if by_image else ""
