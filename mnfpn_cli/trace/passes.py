"""Run and record one pass of a network: on the meta device if possible, else on fake tensors, else on real ones."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mnfpn_cli.external.guard import ModelError, external_code
from mnfpn_cli.trace.graph import follow_graph, function_name
from mnfpn_cli.trace.observe import Observer, TensorShape, TraceEvent, named_tensors
from mnfpn_cli.trace.restore import restore_modules
from mnfpn_cli.trace.storages import storage_key

Mode = Literal["meta", "fake", "real"]
MODES: tuple[Mode, ...] = ("meta", "fake", "real")
"""The kinds of tensors that a pass can run on, the cheapest first.

* ``meta``: empty tensors on the meta device; a pass takes a fraction of a second.
* ``fake``: torch's fake tensors, which report the CPU as their device, as some code of torch requires.
* ``real``: tensors with values, on the CPU.
"""


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a network.

    Attributes:
        shape: its shape.
        dtype: its dtype; None means the dtype of the network's parameters.
        value: its values in a real pass; None means random ones.
    """

    shape: TensorShape
    dtype: torch.dtype | None = None
    value: Tensor | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Pass:
    """A recorded pass. *Keys* are those of storages (`storage_key`).

    Attributes:
        inputs: the inputs of the network.
        mode: the kind of tensors that the pass ran on.
        events: module calls and operations, in the order in which they began.
        used: the tensors that the pass used but did not make, by their keys.
        returned: the type of the network's result for messages: ``dict``, ``an empty list``.
        outputs: the name, shape and bytes per element of each tensor that the network returned.
        peak_bytes: the most bytes of inputs, activations and outputs that were alive together.
        combined: the keys of used tensors that were combined with a tensor that depends on parameters.
        data_dependent: whether shapes depended on the values of tensors.
        reads_values: whether the code of the network read values of tensors, as an ``if`` on a tensor does.
        uncounted: the names of operations that multiply and add, and whose MACs are not counted.
        reached: the keys that gradients of the outputs reach, by the graph; None where they were not asked for, or
            cannot be followed.
        functions: the names of the custom functions of autograd that gradients pass through.
        gradient_failure: why gradients cannot be followed; empty where they can.
    """

    inputs: tuple[Input, ...]
    mode: Mode
    events: tuple[TraceEvent, ...]
    used: dict[int, Tensor]
    returned: str
    outputs: tuple[tuple[str, TensorShape, int], ...]
    peak_bytes: int
    combined: frozenset[int]
    data_dependent: bool
    reads_values: bool
    uncounted: tuple[str, ...]
    reached: frozenset[int] | None = None
    functions: tuple[str, ...] = ()
    gradient_failure: str = ""


def pass_notes(observed: Pass) -> Iterator[str]:
    """Yield a note for each way in which the result of a pass may depend on its random inputs."""
    if observed.mode == "real":
        yield "The pass ran on real tensors: the network does not run on the meta device."
    if observed.data_dependent:
        yield "Shapes depend on the values of an image: the counts are for one random image."


def cheapest_pass(network: nn.Module, inputs: Sequence[Input], hidden_modules: Sequence[nn.Module] = ()) -> Pass:
    """Run a network in eval mode on the cheapest tensors on which it runs; the network is left unchanged.

    ``hidden_modules``: modules that are not registered; they are left unchanged too.

    Raises:
        ModelError: where the network fails on real tensors too, or is itself on the meta device and fails there.
    """
    on_meta = any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers()))
    modes = MODES[:1] if on_meta else MODES
    for mode in modes:
        try:
            return run_pass(network, inputs, mode, hidden_modules, show_warnings=mode == modes[0])
        except ModelError:
            if mode == modes[-1]:
                raise
    raise AssertionError("the last mode returns or raises")


def run_pass(
    network: nn.Module,
    inputs: Sequence[Input],
    mode: Mode,
    hidden_modules: Sequence[nn.Module] = (),
    gradients: bool = False,
    train: bool = False,
    show_warnings: bool = False,
) -> Pass:
    """Run a network once and record the pass; the network is left unchanged.

    Args:
        network: the network.
        inputs: its inputs.
        mode: the kind of tensors to run on.
        hidden_modules: modules that are not registered; they are set to train or eval too, and left unchanged.
        gradients: whether to find the storages that gradients of the outputs reach.
        train: whether to run in train mode instead of eval mode.
        show_warnings: whether to show warnings of the network's code.

    Raises:
        ModelError: where the network fails.
    """
    observer = Observer(on_meta=mode == "meta")
    with prepared(network, mode, hidden_modules, train, show_warnings), _gradients(gradients):
        for module in (network, *hidden_modules):
            observer.live.learned |= set(map(storage_key, module.parameters()))
        outputs = _run_observed(network, [make_input(spec, network, mode) for spec in inputs], observer)
        named = list(named_tensors(outputs))
        graph = follow_graph([tensor for _, tensor in named]) if gradients else None
        functions = tuple(dict.fromkeys(map(function_name, graph.functions))) if graph else ()
        peak = observer.live.peak
    # After the restore, parameters have the storages again that they had before the pass.
    followed = graph is not None and not graph.failure
    return Pass(
        inputs=tuple(inputs),
        mode=mode,
        events=tuple(observer.events),
        used=observer.used,
        returned=_describe(outputs),
        outputs=tuple((name, tuple(tensor.shape), tensor.element_size()) for name, tensor in named),
        peak_bytes=peak,
        combined=frozenset(observer.combined),
        data_dependent=observer.data_dependent,
        reads_values=observer.reads_values,
        uncounted=tuple(sorted(observer.uncounted)),
        reached=frozenset(map(storage_key, graph.leaves)) if graph and followed else None,
        functions=functions,
        gradient_failure=graph.failure if graph else "",
    )


@contextmanager
def prepared(
    network: nn.Module,
    mode: Mode,
    hidden_modules: Sequence[nn.Module] = (),
    train: bool = False,
    show_warnings: bool = False,
) -> Iterator[None]:
    """Set the state of torch, and the network to train or eval mode, for the passes of the block; then restore both.

    Raises:
        ModelError: where the network fails.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(restore_modules([*network.modules(), *hidden_modules], values=mode != "meta"))
        stack.enter_context(external_code(f"running {type(network).__name__}"))
        device = _device_of(network)
        if device.type == "cuda":
            stack.enter_context(torch.random.fork_rng([device]))
        stack.enter_context(_conditions(mode, device))
        # Hooks of all modules also see the module that torch.compile makes, and torch warns of that.
        warnings.filterwarnings("ignore", message="Using `torch.compile.* when there are global hooks")
        if not show_warnings:
            warnings.simplefilter("ignore")
        for module in (network, *hidden_modules):
            with suppress(NotImplementedError):  # an exported program of torch has a fixed mode
                module.train(train)
        yield


def _run_observed(network: nn.Module, inputs: Sequence[Tensor], observer: Observer) -> Any:
    """Run a network in the view of an observer, and return its result."""
    for tensor in inputs:
        observer.live.add(tensor)
    with observer.watching():
        outputs = network(*inputs)
    for _, tensor in named_tensors(outputs):
        if storage_key(tensor) not in observer.live:
            observer.used.setdefault(storage_key(tensor), tensor)  # a parameter or constant that is an output
    return outputs


def _describe(outputs: Any) -> str:
    """Return the type of a network's result for messages: ``dict``, ``an empty list``."""
    empty = isinstance(outputs, Sized) and not isinstance(outputs, Tensor) and len(outputs) == 0
    return f"an empty {type(outputs).__name__}" if empty else type(outputs).__name__


@contextmanager
def _conditions(mode: Mode, device: torch.device) -> Iterator[None]:
    """Set the state of torch for a pass, whatever the caller's is.

    Kernels that fuse several layers are off, as the observer could not see the layers; so the operations are the same
    in each mode. Autocast is off too, and new tensors are on the device of the network.
    """
    with ExitStack() as stack:
        stack.enter_context(_layer_by_layer())
        if "torch._dynamo" in sys.modules:  # else nothing can be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if mode == "fake":
            from torch._subclasses.fake_tensor import FakeTensorMode

            stack.enter_context(_muted("torch._subclasses.fake_tensor"))
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        for kind in {"cpu", device.type} - {"meta"}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if mode != "meta" and torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device(device))
        yield


@contextmanager
def _gradients(enabled: bool) -> Iterator[None]:
    """Turn gradients on or off. No tensors are saved for a backward pass, which never runs."""
    with torch.set_grad_enabled(enabled), saved_tensors_hooks(_discard, _discard) if enabled else nullcontext():
        yield


@contextmanager
def _muted(logger: str) -> Iterator[None]:
    """Silence a logger of torch: what it logs is also raised, or does not happen in the next mode."""
    muted = logging.getLogger(logger)
    before = muted.level
    muted.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        muted.setLevel(before)


def _discard(_tensor: Tensor) -> Any:
    """Save nothing for a backward pass."""
    return None


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Turn off torch's fused encoder layers and oneDNN's LSTM, whose matrix products the observer cannot see."""
    encoders, onednn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)  # torch.backends.mkldnn.flags also sets TF32, with a warning
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(encoders)
        torch._C._set_mkldnn_enabled(onednn)


def make_input(spec: Input, network: nn.Module, mode: Mode) -> Tensor:
    """Return an input tensor where the network runs: a copy of its values or random ones in a real pass, else zeros."""
    device = torch.device("meta") if mode == "meta" else _device_of(network)
    if mode == "real" and spec.value is not None and not spec.value.is_meta:
        return spec.value.detach().to(device, copy=True)
    dtype = spec.dtype or next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    if mode == "real" and dtype.is_floating_point:
        seeded = torch.Generator().manual_seed(0)
        return torch.rand(spec.shape, generator=seeded, dtype=torch.float32, device="cpu").to(device, dtype)
    return torch.zeros(spec.shape, dtype=dtype, device=device)


def _device_of(network: nn.Module) -> torch.device:
    """Return the device that a network runs on: that of its first parameter or buffer, and the CPU without any."""
    first = next(chain(network.parameters(), network.buffers()), None)
    return torch.device("cpu") if first is None or first.is_meta else first.device
