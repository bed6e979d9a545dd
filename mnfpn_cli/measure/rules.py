"""When a measurement is enough. Rules look at how wide an interval is, never at which way it points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnfpn_cli.documents.measurement import Ended
from mnfpn_cli.measure.engine import TimedPass
from mnfpn_cli.measure.ratio import paired_ratio
from mnfpn_cli.measure.statistics import Latency, relative_half_width
from mnfpn_cli.settings.measuring import LEAST_SAMPLES, Sampling

GROWTH = 1.1
"""Sorting samples after each of thousands of passes would take longer than they do: the next look is a tenth later."""

LEAST_FOR_NOISE = 100
"""Samples from which on it shows whether more of them help."""

NO_NARROWER = 0.9
LEAST_BLOCKS = 6
"""Blocks of ABBA from which on their median has an interval."""


@dataclass
class EnoughOfEach:
    """Ends a benchmark: by the number of passes, the precision of every median, noise that stays, or time.

    ``progress`` is told the share that is done.
    """

    sampling: Sampling
    progress: Callable[[float], None] = lambda _: None
    spent: float = 0.0
    rounds: int = 0
    next_look: int = LEAST_SAMPLES

    def __call__(self, subjects: Sequence[TimedPass]) -> Ended | None:
        """Look at the subjects after a round."""
        self.rounds += 1
        self.spent += sum(subject.samples[-1] for subject in subjects)
        ended = self._by_number() if self.sampling.runs is not None else self._by_precision(subjects)
        self.progress(1.0 if ended else self._share())
        return ended

    def _share(self) -> float:
        if self.sampling.runs is None:
            return min(self.spent / (self.sampling.max_time_s or 1.0), 1.0)
        by_time = self.spent / self.sampling.min_time_s if self.sampling.min_time_s else 1.0
        return min(self.rounds / self.sampling.runs, by_time, 1.0)

    def _by_number(self) -> Ended | None:
        reached = _reached(self.rounds, self.sampling.runs or 0, self.spent, self.sampling.min_time_s)
        late = self.rounds >= LEAST_SAMPLES and self.spent >= self.sampling.max_time_s
        return reached or ("max_time" if late else None)

    def _by_precision(self, subjects: Sequence[TimedPass]) -> Ended | None:
        if self.rounds < LEAST_SAMPLES or self.spent < self.sampling.min_time_s:
            return None
        if self.spent >= self.sampling.max_time_s:
            return "max_time"
        if self.rounds < self.next_look:
            return None
        self.next_look = int(self.rounds * GROWTH) + 1
        wide = [one for one in subjects if relative_half_width(Latency(tuple(one.samples))) > self.sampling.precision]
        if not wide:
            return "precision"
        return "noise" if all(stays_wide(subject.samples) for subject in wide) else None


def _reached(rounds: int, runs: int, spent: float, min_time_s: float) -> Ended | None:
    """Which of the two lower bounds was reached last; None before both are."""
    if rounds < runs or spent < min_time_s:
        return None
    return "runs" if rounds == runs else "min_time"


def stays_wide(samples: Sequence[float]) -> bool:
    """Whether four times the samples did not make the median's interval narrower; they should have halved it."""
    if len(samples) < LEAST_FOR_NOISE:
        return False
    quarter = Latency(tuple(samples[: len(samples) // 4]))
    return relative_half_width(Latency(tuple(samples))) >= NO_NARROWER * relative_half_width(quarter)


@dataclass
class NarrowRatio:
    """Ends a comparison of two subjects: by the width of their ratio's interval, the number of passes, or time."""

    sampling: Sampling
    progress: Callable[[float], None] = lambda _: None
    spent: float = 0.0
    rounds: int = 0
    next_look: int = 2 * LEAST_BLOCKS

    def __call__(self, subjects: Sequence[TimedPass]) -> Ended | None:
        """Look at both after a round; a block of ABBA is whole after every second one."""
        if len(subjects) < 2:
            return "failed"
        self.rounds += 1
        self.spent += sum(subject.samples[-1] for subject in subjects)
        runs, ended = self.sampling.runs, None
        if self.rounds % 2 == 0:
            ended = self._by_precision(subjects) if runs is None else self._by_number(runs)
        share = self.rounds / runs if runs else self.spent / (self.sampling.max_time_s or 1.0)
        self.progress(1.0 if ended else min(share, 1.0))
        return ended

    def _by_number(self, runs: int) -> Ended | None:
        reached = _reached(self.rounds, runs + runs % 2, self.spent, self.sampling.min_time_s)
        late = self.rounds >= 2 * LEAST_BLOCKS and self.spent >= self.sampling.max_time_s
        return reached or ("max_time" if late else None)

    def _by_precision(self, subjects: Sequence[TimedPass]) -> Ended | None:
        if self.rounds < 2 * LEAST_BLOCKS or self.spent < self.sampling.min_time_s:
            return None
        if self.spent >= self.sampling.max_time_s:
            return "max_time"
        if self.rounds < self.next_look:
            return None
        self.next_look = int(self.rounds * GROWTH)
        a, b = subjects
        ratio = paired_ratio(a.samples, b.samples)
        return "precision" if ratio and ratio.half_width <= self.sampling.precision else None
