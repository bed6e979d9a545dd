"""Two networks with the same random weights: how far apart what comes out of their parts is."""

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
"""Of each output's largest absolute value, in float64: sums may be taken in another order, no more."""

SEEDS = st.integers(0, 2**63 - 1)
SIDES = st.integers(33, 99)
"""Images of one cell or a few at stride 32, their sides odd as often as even."""

a_few = settings(max_examples=3, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""Fresh weights every time; the seed of a failure is shown, and comes back in the next run. None is simpler."""


def randomised(make: Callable[[], M], seed: int) -> M:
    """A module in float64 and eval mode, all of its state random: batch norm's statistics and biases too."""
    with torch.device("meta"):
        module = make().double().eval()
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
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


def share(theirs: nn.Module, ours: nn.Module) -> None:
    """Put their state into ours, tensor by tensor in order; every shape has to agree, and the parameters' number."""
    state, keys = theirs.state_dict(), list(ours.state_dict())
    assert [tensor.shape for tensor in ours.state_dict().values()] == [tensor.shape for tensor in state.values()]
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    ours.load_state_dict(dict(zip(keys, state.values(), strict=True)), assign=True)


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """What comes out of the modules, in the order in which they run."""
    found: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda _module, _args, output: found.append(output)) for module in modules]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def differences(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> list[float]:
    """The largest difference of each output, over its largest absolute value."""
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    return [((x - y).abs().max() / y.abs().max()).item() for x, y in zip(ours, theirs, strict=True)]


def assert_equal(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Equal to the tolerance, each of them; a map of zeros, or of infinities, compares with nothing."""
    assert differences(ours, theirs) == pytest.approx([0.0] * len(theirs), abs=TOLERANCE)
