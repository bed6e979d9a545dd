"""Compare the outputs of two networks, and of their parts, with the same random weights."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import pytest
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

TOLERANCE = 1e-9
"""The largest difference in float64, relative to an output's largest absolute value: sums may have another order."""

SEEDS = st.integers(0, 2**63 - 1)
SIDES = st.integers(33, 99)
"""The sides of images, odd and even, with a few cells at stride 32."""

a_few = settings(max_examples=3, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""A few seeds, new in each run; a failing one is printed and repeated. There is no shrinking: no seed is simpler."""


def randomised(make: Callable[[], M], seed: int) -> M:
    """Make a module in float64 and eval mode, with all state random, also biases and batch norm's statistics."""
    with torch.device("meta"):
        module = make().double().eval()
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.GroupNorm):
            for name, tensor in part.state_dict().items():
                if name in ("weight", "running_var"):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                elif name == "num_batches_tracked":
                    tensor.random_(0, 1000, generator=generator)
                else:
                    tensor.normal_(0, 0.3, generator=generator)
        elif isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.3, generator=generator)
    return module


def copy_state(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy their state into ours, tensor by tensor in order; all shapes must agree."""
    state, keys = theirs.state_dict(), list(ours.state_dict())
    assert [tensor.shape for tensor in ours.state_dict().values()] == [tensor.shape for tensor in state.values()]
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    ours.load_state_dict(dict(zip(keys, state.values(), strict=True)), assign=True)


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """In the block, collect the outputs of modules, in the order in which they run."""
    outputs: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda _module, _args, output: outputs.append(output)) for module in modules]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def relative_differences(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> list[float]:
    """Return the largest difference of each output, relative to its largest absolute value."""
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    return [((x - y).abs().max() / y.abs().max()).item() for x, y in zip(ours, theirs, strict=True)]


def assert_equal(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Check that all outputs are equal within the tolerance; zeros and infinities fail, as their quotient is NaN."""
    assert relative_differences(ours, theirs) == pytest.approx([0.0] * len(theirs), abs=TOLERANCE)
