"""torch's random numbers under the control of Hypothesis, so that an example that fails does so again."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import register_random


@dataclass(frozen=True)
class RandomState:
    """A source of random numbers, as Hypothesis takes it: seeded before each example, and put back after it."""

    seed: Callable[[int], object]
    getstate: Callable[[], object]
    setstate: Callable[..., object]


TORCH_RANDOM = RandomState(torch.manual_seed, torch.get_rng_state, torch.set_rng_state)
register_random(TORCH_RANDOM)
