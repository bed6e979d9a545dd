"""One watched pass of a network: on the meta device where that can be, else on fake tensors, else for real."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mnfpn_cli.inspection.kept import left_as_it_was
from mnfpn_cli.inspection.memory import storage_key
from mnfpn_cli.inspection.observe import Event, Observer, Shape, named_tensors
from mnfpn_cli.models.errors import ModelError
from mnfpn_cli.models.guard import others_code

How = Literal["meta", "fake", "real"]
WAYS: tuple[How, ...] = ("meta", "fake", "real")
"""From the cheapest on. ``meta``: every tensor is empty and on the meta device, in a fraction of a second. ``fake``:
torch's own fake tensors, which say that they are on the CPU, as some of its code asks for. ``real``: real numbers."""


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that a network is called with; the network's own element type where ``dtype`` is None."""

    shape: Shape
    dtype: torch.dtype | None = None


@dataclass(frozen=True)
class Pass:
    """What a pass showed.

    Attributes:
        how: it was run.
        events: calls and operations, in order.
        used: by storage, each tensor that took part and was not made in the pass.
        returned: the type of what came out.
        outputs: the name, shape and bytes of an element of each tensor that came out.
        peak_bytes: of the inputs and of what was made, alive together.
        reached: the storages that gradients of the outputs reach; None where none were asked for, or
            they cannot be followed.
    """

    how: How
    events: tuple[Event, ...]
    used: dict[int, Tensor]
    returned: str
    outputs: tuple[tuple[str, Shape, int], ...]
    peak_bytes: int
    reached: frozenset[int] | None


def first_pass(network: nn.Module, inputs: Sequence[Input], others: Sequence[nn.Module] = ()) -> Pass:
    """Run a network in eval mode, in the cheapest way in which it runs; it is left as it was.

    ``others``: modules besides those of its tree that take part, and are left as they were too.

    Raises:
        ModelError: where it fails on real tensors too.
    """
    for how in WAYS:
        try:
            return run_pass(network, inputs, how, others)
        except ModelError:
            if how == WAYS[-1]:
                raise
    raise AssertionError("there is a last way")


def run_pass(
    network: nn.Module,
    inputs: Sequence[Input],
    how: How,
    others: Sequence[nn.Module] = (),
    gradients: bool = False,
    train: bool = False,
) -> Pass:
    """Run a network once, and watch; it is left as it was.

    Raises:
        ModelError: where the network fails.
    """
    observer = Observer(on_meta=how == "meta")
    with ExitStack() as stack:
        stack.enter_context(left_as_it_was([*network.modules(), *others], values=how != "meta"))
        stack.enter_context(others_code(f"running {type(network).__name__}"))
        stack.enter_context(_conditions(how, gradients))
        for module in (network, *others):
            module.train(train)
        tensors = [_made(one, network, how) for one in inputs]
        for tensor in tensors:
            observer.live.made(tensor)
        with observer.watching():
            outputs = network(*tensors)
        named = list(named_tensors(outputs))
        reached = _reached(tensor for _, tensor in named) if gradients else None
        peak = observer.live.peak
    shapes = tuple((name, tuple(tensor.shape), tensor.element_size()) for name, tensor in named)
    return Pass(how, tuple(observer.events), observer.used, type(outputs).__name__, shapes, peak, reached)


@contextmanager
def _conditions(how: How, gradients: bool) -> Iterator[None]:
    """What a watched pass runs under.

    Nothing is kept for a backward pass, which never comes. One path through the network, whatever the mode: no kernel
    that does the work of several layers out of sight.
    """
    with ExitStack() as stack:
        stack.enter_context(_layer_by_layer())
        if "torch._dynamo" in sys.modules:  # else nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if how == "fake":
            from torch._subclasses.fake_tensor import FakeTensorMode

            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(torch.set_grad_enabled(gradients))
        if gradients:
            stack.enter_context(saved_tensors_hooks(_forget, _forget))
        yield


def _forget(_tensor: Tensor) -> Any:
    """Keep nothing of what a backward pass would need."""
    return None


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Keep torch from joining the layers of an encoder, and from oneDNN's LSTM, which hides its products."""
    encoders, onednn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)  # torch.backends.mkldnn.flags sets TF32 too, and warns of it
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(encoders)
        torch._C._set_mkldnn_enabled(onednn)


def _made(one: Input, network: nn.Module, how: How) -> Tensor:
    dtype = one.dtype or next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    if how == "real" and dtype.is_floating_point:
        return torch.rand(one.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return torch.zeros(one.shape, dtype=dtype, device="meta" if how == "meta" else "cpu")


def _reached(outputs: Iterator[Tensor]) -> frozenset[int] | None:
    """The storages of the tensors that gradients of the outputs flow into; None where they cannot be followed."""
    nodes: list[Any] = []
    found: set[int] = set()
    for tensor in outputs:
        if tensor.grad_fn is not None:
            nodes.append(tensor.grad_fn)
        elif tensor.requires_grad:
            found.add(storage_key(tensor))  # a parameter that is an output itself
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if type(node).__name__ == "CheckpointFunctionBackward":
            return None  # of reentrant checkpoints: what is inside is run anew, and seen in a backward pass alone
        if hasattr(node, "variable"):
            found.add(storage_key(node.variable))
        fresh = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= fresh
        nodes += fresh
    return frozenset(found)
