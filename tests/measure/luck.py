"""Simulated times of several processes a side: the luck of each process, and the noise of the machine at each pass."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Noise = Callable[[Generator, int], Floats]


class Luck(NamedTuple):
    """How much slower a process is than others of its side.

    Attributes:
        spread: the standard deviation of its log.
        odd: the log by which odd processes are slower besides.
        share: of the processes that are odd.
    """

    spread: float
    odd: float = 0.0
    share: float = 0.1

    def __call__(self, random: Generator, processes: int) -> Floats:
        """Factors of the processes of a side."""
        odd = np.where(random.random(processes) < self.share, self.odd, 0.0)
        return np.exp(random.normal(0.0, self.spread, processes) + odd)


def quiet(random: Generator, n: int) -> Floats:
    """Each pass by itself, 1 % about."""
    return random.lognormal(0.0, 0.01, n)


def noisy(random: Generator, n: int) -> Floats:
    """Each pass by itself, 20 % about."""
    return random.lognormal(0.0, 0.2, n)


def load(random: Generator, n: int) -> Floats:
    """A load that comes and goes, 15 passes at a time on average, and costs 25 to 100 % while it is there."""
    there = (np.cumsum(random.random(n) < 1 / 15) + random.integers(2)) % 2
    return random.lognormal(0.0, 0.05, n) * (1.0 + there * random.uniform(0.25, 1.0))


def tails(random: Generator, n: int) -> Floats:
    """Heavy tails (Student's t with 2.5 degrees of freedom), and one pass in twenty takes up to four times as long."""
    times = np.exp(0.05 * random.standard_t(2.5, n))
    return times * np.where(random.random(n) < 0.05, random.uniform(1.2, 4.0, n), 1.0)


NOISES: dict[str, Noise] = {"quiet": quiet, "noisy": noisy, "load": load, "tails": tails}

Processes = list[list[float]]


def processes(
    random: Generator, luck: Luck, noise: Noise, count: int, passes: int, planted: float = 1.0
) -> tuple[Processes, Processes]:
    """Times of processes of A, and of B, which is slower by a planted factor; each pair timed A B B A."""
    sides: tuple[Processes, Processes] = ([], [])
    for factors in zip(luck(random, count), planted * luck(random, count), strict=True):
        blocks = noise(random, 2 * passes).reshape(-1, 4)
        for times, factor, turns in zip(sides, factors, ([0, 3], [1, 2]), strict=True):
            times.append((factor * blocks[:, turns]).ravel().tolist())
    return sides
