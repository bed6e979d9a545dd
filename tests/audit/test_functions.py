"""A custom function of autograd decides in its backward what learns: what it forgets is found, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mnfpn_cli.documents.audit import Audit
from mnfpn_cli.trace import backward
from tests.audit.traced import inspected

IMAGE = (1, 3, 32, 32)


class Forgets(torch.autograd.Function):
    """A scale per channel, whose backward returns None for the scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return a gradient for the map alone."""
        (scale,) = ctx.saved_tensors
        return gradient * scale, None


class Right(Forgets):
    """A scale per channel, by the book, and only what is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return both gradients, each where it is needed."""
        x, scale = ctx.saved_tensors
        needs_x, needs_scale = ctx.needs_input_grad
        summed = (gradient * x).sum((0, 2, 3)).view_as(scale) if needs_scale else None
        return gradient * scale if needs_x else None, summed


class StopsAll(Forgets):
    """Hands on no gradient at all."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # noqa: ARG004
        """Return nothing."""
        return None, None


class StraightThrough(torch.autograd.Function):
    """The sign, whose gradient is handed on as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        """Return the sign."""
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # noqa: ARG004
        """Hand it on."""
        return gradient


class Constant(StraightThrough):
    """The sign, whose gradient is zero, as it is."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # noqa: ARG004
        """Return zeros."""
        return torch.zeros_like(gradient)


class Thrifty(StraightThrough):
    """Computes nothing for a gradient of zeros."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # noqa: ARG004
        """Hand it on, if there is one."""
        return gradient if gradient.any() else None


class Masked(torch.autograd.Function):
    """A mask, which learns nothing, and an input that is no tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, factor: float) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(mask)
        ctx.factor = factor
        return x * mask * factor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return a gradient for the map."""
        (mask,) = ctx.saved_tensors
        return gradient * mask * ctx.factor, None, None


class Recomputed(torch.autograd.Function):
    """Runs a layer again in backward, which fills `.grad` of its parameters: they are no inputs of the function."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Run it without a graph."""
        ctx.run = run
        ctx.save_for_backward(x)
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Run it with one."""
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.run(x)
        torch.autograd.backward(y, gradient)
        return None, x.grad


class Fails(StraightThrough):
    """Is for inference alone."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Refuse."""
        raise NotImplementedError("no backward yet")


def through(function: Any, *arguments: Any) -> Any:
    """Apply a function, whose method has no types."""
    return function.apply(*arguments)


class Net(nn.Module):
    """A layer, a function with a scale, and another layer."""

    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
        self.scale, self.run = nn.Parameter(torch.ones(4, 1, 1)), run

    def forward(self, x: Tensor) -> Any:
        """Run both layers, and what is between them."""
        return self.last(self.run(self, self.norm(self.first(x))))


def audit_of(run: Callable[[Any, Tensor], Any], shape: tuple[int, ...] = IMAGE) -> Audit:
    """The audit of a network with these functions."""
    audit = inspected(Net(run), shape).audit
    assert audit is not None
    return audit


FORGOTTEN: dict[str, tuple[Callable[[Any, Tensor], Any], tuple[tuple[str, ...], ...], str]] = {
    "a scale": (lambda m, x: through(Forgets, x, m.scale), (("scale",),), "Forgets"),
    "a scale behind another operation": (lambda m, x: through(Forgets, x, m.scale * 2), (("scale",),), "Forgets"),
    "all before it": (lambda m, x: through(StopsAll, x, m.scale), (("first", "norm"), ("scale",)), "StopsAll"),
    "all before it, behind another function": (
        lambda m, x: through(StopsAll, through(StraightThrough, x), through(StraightThrough, m.scale)),
        (("first", "norm"), ("scale",)),
        "StopsAll",
    ),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_what_a_backward_returns_none_for_does_not_learn(name: str) -> None:
    """The finding names the function; what is between it and the output is not accused."""
    run, paths, function = FORGOTTEN[name]
    audit = audit_of(run)
    assert [finding.kind for finding in audit.findings] == ["without_gradient"] * len(paths)
    assert tuple(finding.paths for finding in audit.findings) == paths
    for finding in audit.findings:
        assert f"the backward of {function} returns None" in finding.message
        assert f"{function}.backward" in finding.remedy
    assert audit.notes == ()


LEARNING: dict[str, Callable[[Any, Tensor], Any]] = {
    "by the book": lambda m, x: through(Right, x, m.scale),
    "a constant scale": lambda m, x: through(Right, x, torch.ones(4, 1, 1)) * m.scale,
    "a straight-through estimator": lambda m, x: through(StraightThrough, x) * m.scale,
    "a piecewise constant function": lambda m, x: through(Constant, x * m.scale),
    "a mask": lambda m, x: through(Masked, x, torch.ones(4, 1, 1), 0.5) * m.scale,
    "forgotten once, and learning elsewhere": lambda m, x: through(Forgets, x, m.scale) + through(Right, x, m.scale),
    "dead rectifiers": lambda m, x: torch.relu(through(StraightThrough, x * m.scale) - 5),
    "zeros": lambda m, x: through(StraightThrough, x * m.scale) * 0,
    "zeros that are left out": lambda m, x: through(Thrifty, x * m.scale) * 0,
    "layers run again in backward": lambda m, x: through(Recomputed, lambda y: y * m.scale, x),
    "a checkpoint": lambda m, x: checkpoint(lambda y: through(Right, y, m.scale), x, use_reentrant=False),
}


@pytest.mark.parametrize("name", LEARNING)
def test_a_function_that_hands_on_gradients_is_not_accused(name: str) -> None:
    """Zeros are gradients too, whatever they are due to."""
    audit = audit_of(LEARNING[name])
    assert (audit.findings, audit.notes) == ((), ())


def test_a_reentrant_checkpoint_is_a_note_as_before() -> None:
    """Its graph is built in the backward pass."""
    audit = audit_of(lambda m, x: checkpoint(lambda y: through(Forgets, y, m.scale), x, use_reentrant=True))
    assert audit.findings == ()
    assert "reentrant checkpoints" in audit.notes[0]


def test_a_backward_that_fails_is_a_note() -> None:
    """With its error; nothing is accused."""
    audit = audit_of(lambda m, x: through(Fails, x * m.scale))
    assert audit.findings == ()
    assert audit.notes == (
        "The backward of Fails could not be checked: running Net failed: NotImplementedError: no backward yet.",
    )


def test_a_function_of_training_alone_is_checked_too() -> None:
    """What is cut off in eval mode may learn in training."""
    audit = audit_of(lambda m, x: through(Right, x, m.scale) if m.training else through(Forgets, x, m.scale))
    assert audit.findings == ()
    audit = audit_of(lambda m, x: through(Forgets, x, m.scale) if m.training else (x * m.scale).detach() + x)
    assert [finding.paths for finding in audit.findings] == [("scale",)]
    assert "the backward of Forgets returns None" in audit.findings[0].message


def test_a_network_for_one_size_is_checked_at_its_size() -> None:
    """A smaller image is tried first, as its pass takes less time."""
    sizes = []

    def run(m: Any, x: Tensor) -> Any:
        sizes.append(x.shape[-1])
        if x.shape[-1] != 160:
            raise ValueError("made for 160")
        return through(Forgets, x, m.scale)

    assert [finding.paths for finding in audit_of(run, (1, 3, 160, 160)).findings] == [("scale",)]
    assert backward.SMALL_SIDE in sizes


def test_nothing_is_computed_without_a_custom_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph alone is enough, on the meta device."""
    monkeypatch.delattr(backward, "_run_backward")
    audit = audit_of(lambda m, x: x * m.scale)
    assert (audit.findings, audit.mode) == ((), "meta")


def test_a_backward_pass_leaves_nothing_behind() -> None:
    """Neither gradients nor running means; and what is hooked to gradients, as an optimiser's step, does not run."""
    network, stepped = Net(lambda m, x: through(Recomputed, lambda y: y * m.scale, through(Forgets, x, m.scale))), []
    network.scale.grad = kept = torch.full((4, 1, 1), 3.0)
    weight: Any = network.first.weight
    weight.register_post_accumulate_grad_hook(lambda parameter: stepped.append(parameter))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    versions = [parameter._version for parameter in network.parameters()]
    inspected(network, IMAGE)
    assert network.scale.grad is kept
    assert torch.equal(kept, torch.full((4, 1, 1), 3.0))
    assert [name for name, parameter in network.named_parameters() if parameter.grad is not None] == ["scale"]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [parameter._version for parameter in network.parameters()] == versions
    assert stepped == []


def test_a_custom_operation_of_torch_is_checked_too() -> None:
    """Its backward is a function that torch makes, with the name of the operation in it."""

    @torch.library.custom_op("mnfpn_tests::scaled", mutates_args=())
    def scaled(x: Tensor, scale: Tensor) -> Tensor:
        return x * scale

    @scaled.register_fake
    def _(x: Tensor, scale: Tensor) -> Tensor:
        return torch.empty_like(x)

    scaled.register_autograd(lambda _, gradient: (gradient, None))
    audit = audit_of(lambda m, x: scaled(x, m.scale))
    assert [finding.paths for finding in audit.findings] == [("scale",)]
    assert "the backward of mnfpn_tests_scaled_default returns None" in audit.findings[0].message
