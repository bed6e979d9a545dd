"""One watched pass of a network: on the meta device where that can be, else on fake tensors, else for real."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mnfpn_cli.external.guard import ModelError, external_code
from mnfpn_cli.trace.observe import Event, Observer, Shape, named_tensors
from mnfpn_cli.trace.storages import left_as_it_was, storage_key

Mode = Literal["meta", "fake", "real"]
MODES: tuple[Mode, ...] = ("meta", "fake", "real")
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
        mode: in which it was run.
        events: calls and operations, in order.
        used: by storage, each tensor that took part and was not made in the pass.
        returned: what came out, in words: its type, and whether it is empty.
        outputs: the name, shape and bytes of an element of each tensor that came out.
        peak_bytes: of the inputs and of what was made, alive together.
        met: the storages of those tensors that met a map which depends on parameters.
        reached: the storages that gradients of the outputs reach; None where none were asked for.
        depends: whether shapes depended on numbers.
        unfollowed: why gradients cannot be followed; empty where they can.
    """

    mode: Mode
    events: tuple[Event, ...]
    used: dict[int, Tensor]
    returned: str
    outputs: tuple[tuple[str, Shape, int], ...]
    peak_bytes: int
    met: frozenset[int]
    reached: frozenset[int] | None
    depends: bool
    unfollowed: str


def notes_on(seen: Pass) -> Iterator[str]:
    """What is worth knowing of how a pass was run: numbers that were made up may decide what it shows."""
    if seen.mode == "real":
        yield "Run on real tensors, as it does not run on the meta device."
    if seen.depends:
        yield "Shapes in it depend on the numbers in an image: what is counted is for one random image."


def first_pass(network: nn.Module, inputs: Sequence[Input], others: Sequence[nn.Module] = ()) -> Pass:
    """Run a network in eval mode, in the cheapest way in which it runs; it is left as it was.

    ``others``: modules besides those of its tree that take part, and are left as they were too.

    Raises:
        ModelError: where it fails on real tensors too.
    """
    for mode in MODES:
        try:
            return run_pass(network, inputs, mode, others, warned=mode == MODES[0])
        except ModelError:
            if mode == MODES[-1]:
                raise
    raise AssertionError("there is a last way")


def run_pass(
    network: nn.Module,
    inputs: Sequence[Input],
    mode: Mode,
    others: Sequence[nn.Module] = (),
    gradients: bool = False,
    train: bool = False,
    warned: bool = False,
) -> Pass:
    """Run a network once, and watch; it is left as it was.

    ``warned``: whether warnings of its code are shown, as they are once.

    Raises:
        ModelError: where the network fails.
    """
    observer = Observer(on_meta=mode == "meta")
    with ExitStack() as stack:
        stack.enter_context(left_as_it_was([*network.modules(), *others], values=mode != "meta"))
        stack.enter_context(external_code(f"running {type(network).__name__}"))
        stack.enter_context(_conditions(mode, gradients))
        if not warned:
            warnings.simplefilter("ignore")
        for module in (network, *others):
            with suppress(NotImplementedError):  # as of a program that torch exported, which has one mode
                module.train(train)
            observer.live.learned |= set(map(storage_key, module.parameters()))
        outputs = _watched(network, [made_input(one, network, mode) for one in inputs], observer)
        named = list(named_tensors(outputs))
        leaves, unfollowed = _leaves([tensor for _, tensor in named]) if gradients else ([], "")
        peak = observer.live.peak
    shapes = tuple((name, tuple(tensor.shape), tensor.element_size()) for name, tensor in named)
    reached = frozenset(map(storage_key, leaves)) if gradients else None  # once the network is as it was
    return Pass(
        mode=mode,
        events=tuple(observer.events),
        used=observer.used,
        returned=_in_words(outputs),
        outputs=shapes,
        peak_bytes=peak,
        met=frozenset(observer.met),
        reached=reached,
        depends=observer.depends,
        unfollowed=unfollowed,
    )


def _in_words(outputs: Any) -> str:
    empty = isinstance(outputs, Sized) and not isinstance(outputs, Tensor) and len(outputs) == 0
    return f"an empty {type(outputs).__name__}" if empty else type(outputs).__name__


def _watched(network: nn.Module, inputs: Sequence[Tensor], observer: Observer) -> Any:
    """What a network returns, watched."""
    for tensor in inputs:
        observer.live.made(tensor)
    with observer.watching():
        outputs = network(*inputs)
    for _, tensor in named_tensors(outputs):
        if storage_key(tensor) not in observer.live:
            observer.used.setdefault(storage_key(tensor), tensor)  # a parameter that is an output itself
    return outputs


@contextmanager
def _conditions(mode: Mode, gradients: bool) -> Iterator[None]:
    """What a watched pass runs under.

    Nothing is kept for a backward pass, which never comes. One path through the network, whatever the mode: no kernel
    that does the work of several layers out of sight.
    """
    with ExitStack() as stack:
        stack.enter_context(_layer_by_layer())
        if "torch._dynamo" in sys.modules:  # else nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if mode == "fake":
            from torch._subclasses.fake_tensor import FakeTensorMode

            stack.enter_context(_quiet("torch._subclasses.fake_tensor"))
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(torch.set_grad_enabled(gradients))
        if gradients:
            stack.enter_context(saved_tensors_hooks(_forget, _forget))
        yield


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Keep a logger of torch's from telling in its own words what is told as an error, or tried in another way."""
    found = logging.getLogger(logger)
    before = found.level
    found.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        found.setLevel(before)


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


def made_input(one: Input, network: nn.Module, mode: Mode) -> Tensor:
    """Make a tensor that a network is called with: random numbers where they count, else zeros."""
    dtype = one.dtype or next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    if mode == "real" and dtype.is_floating_point:
        return torch.rand(one.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return torch.zeros(one.shape, dtype=dtype, device="meta" if mode == "meta" else "cpu")


def _leaves(outputs: Sequence[Tensor]) -> tuple[list[Tensor], str]:
    """The tensors that gradients of the outputs flow into; and why that cannot be followed, where it cannot."""
    leaves = [tensor for tensor in outputs if tensor.is_leaf and tensor.requires_grad]
    nodes: list[Any] = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
    if not leaves and not nodes:
        return [], "no output carries one, as under no_grad, or where outputs are whole numbers"
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if type(node).__name__ == "CheckpointFunctionBackward":
            return leaves, "reentrant checkpoints run what is inside anew in a backward pass, and show it there alone"
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        fresh = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= fresh
        nodes += fresh
    return leaves, ""
