"""Eager PyTorch: layer by layer, in torch's usual memory format (NCHW)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.external.move import move_network, move_tensor
from mnfpn_cli.measure import module_times
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.plan.roofline import LayerWork
from mnfpn_cli.runtimes.runtime import NO_INT8, ExecutedGraph, Job, Operator, Prepared, ReportShare, training_step
from mnfpn_cli.settings.input import DType
from mnfpn_cli.trace.observe import call_hooks
from mnfpn_cli.trace.products import is_conversion, product_of

ANY_NETWORK = True

COMPOUND = torch._C.DispatchKey.CompositeImplicitAutograd
"""Of operations that are made of others, such as `linear`."""


def unavailable_reason(_device: torch.device, dtype: DType, _train: bool) -> str | None:
    """Return why it cannot run here: it runs wherever torch does, but torch's layers compute in floating point."""
    return NO_INT8 if dtype == "int8" else None


def prepare(job: Job, memory_format: torch.memory_format = torch.contiguous_format) -> Prepared:
    """Move the network and its inputs to the device, in the job's dtype and a memory format."""
    network, inputs = move(job, memory_format)
    if job.train:
        return Prepared(training_step(network, inputs), inputs)
    return Prepared(partial(network, *inputs), inputs, graph=partial(executed, network, inputs))


def time_layers(
    job: Job,
    works: Sequence[LayerWork],
    passes: int,
    progress: ReportShare,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> LayerTimes:
    """Time each layer by hooks around its calls."""
    run, marks = prepare(job, memory_format).run, device_of(job.device).marks()  # moves the job's network
    faults = job.device.type == "cpu"
    return module_times.time_modules(run, job.network, works, marks, passes, progress, faults=faults)


def move(job: Job, memory_format: torch.memory_format) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return the network and its inputs on the device, in the job's dtype and a memory format."""
    move_network(job.network, job.device, job.torch_dtype, memory_format)
    return job.network, tuple(move_tensor(x, job.device, job.torch_dtype, memory_format) for x in job.inputs)


def executed(
    network: nn.Module, inputs: tuple[Tensor, ...], observer: "OperatorObserver | None" = None
) -> ExecutedGraph:
    """Run a pass of layers that run in Python; return what torch executed, and what else an ``observer`` has seen."""
    observer = observer or OperatorObserver(network)
    with torch.inference_mode(), observer.watching():
        network(*inputs)
    return ExecutedGraph(tuple(observer.operators), observer.conversions)


class OperatorObserver(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operators that have MACs, each by the path of the module that it ran in, and counts conversions."""

    def __init__(self, network: nn.Module) -> None:
        """Start with no records."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Operator] = []
        self.conversions = 0
        self._paths = {id(module): path for path, module in network.named_modules()}
        self._running: list[nn.Module] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap __torch_dispatch__ for its compiler, and import the compiler; nothing is compiled here.
        return False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record what runs in the block."""
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # one operation for an encoder layer, its products unseen
        try:
            with call_hooks(lambda module, _args: self._running.append(module), self._leave), self:
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation of torch, and record it."""
        kwargs = kwargs or {}
        if _is_compound(
            func
        ):  # in inference mode torch hands them over whole; its kernel is in C++, as in other passes
            with self:
                return func._op_dk(COMPOUND, *args, **kwargs)
        result = func(*args, **kwargs)
        product = product_of(func, args, kwargs, result)
        if product:
            path = self._paths.get(id(self._running[-1])) if self._running else None
            self.operators.append(Operator(path or func.overloadpacket.__name__, product.dtype, product.macs))
        self.conversions += is_conversion(func, args, result)
        return result

    def _leave(self, *_call: Any) -> None:
        self._running.pop()


@cache
def _is_compound(func: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOUND)
