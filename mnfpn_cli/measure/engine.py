"""The engine: warm up each run until its times are steady, then time all runs in turn until a stopping rule ends it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter, sleep
from typing import ClassVar

from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.documents.records import Ended
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.statistics import (
    NORMAL_MAD,
    NORMAL_QUANTILE,
    Latency,
    TimeRatio,
    mad,
    pair_ratios,
    paired_ratio,
    pairs_reach,
)
from mnfpn_cli.settings.measuring import LEAST_SAMPLES, Sampling

WINDOW_PASSES = 3
WINDOW_S = 0.05
"""A window of warm-up has at least `WINDOW_PASSES` passes, and takes at least `WINDOW_S` seconds."""

SLOW_WINDOW_S = 4.0
"""A window also ends after this time, with fewer passes: two windows of slow passes must fit below the ceiling."""

WARM_UP_MAX_S = 20.0
WARM_UP_MAX_WINDOWS = 30
"""The ceiling: a warm-up ends after this time or this number of windows, steady or not."""

STEADY = 0.05
"""Largest relative difference of the medians of two windows in a row that agree; pyperf allows 10 % for the first
quartile's."""


@dataclass(frozen=True, slots=True)
class Settling:
    """What a run does before its passes are timed, where another run's were timed before: a rest, and untimed passes.

    Attributes:
        rest_s: the seconds of rest, in which the other's worker threads fall asleep.
        passes_s: the seconds of passes, of which there is at least one.
    """

    rest_s: float
    passes_s: float


OTHER_RUNTIME = Settling(rest_s=0.01, passes_s=0.02)
"""Between runs of several runtimes, or of several processes.

Worker threads may spin for more work after a pass, and take the cores of the next run: after a pass of eager PyTorch at
64×64 on two cores, ONNX Runtime took 12.8 ms at once, and 7.0 after 5 ms. With three runtimes at 96×96, threads waited
for a core 6 % of the time without a rest, 1 % with 6 ms, never with 10.

After a rest the system may wake two threads on one core, and part them only some passes later: after a rest and one
pass, a tenth of ONNX Runtime's passes on a classifier at 160×160 took 7.9 ms and more; after a rest and 20 ms of
passes, 3.8 ms.
"""

SAME_RUNTIME = Settling(rest_s=0.0, passes_s=0.005)
"""Between runs of one runtime in one process, whose weights and maps take each other's place in the caches.

With two threads, a classifier at 96×96 took 0.43 ms alone in ONNX Runtime, 0.56 in turn with its copy, 0.54 after a
pass, and 0.45 after 5 ms of passes, as after a rest and 20 ms.
"""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The passes before the timed ones, and their seconds; ``settled`` is None where their number was fixed."""

    passes: int
    seconds: float
    settled: bool | None


@dataclass
class TimedRun:
    """A run that is timed: its pass, its timer, and the samples taken so far.

    Attributes:
        run_pass: executes one pass.
        timer: times it.
        samples: the time of each pass in seconds, in order.
        enqueue: seconds that the host took to queue each pass, where the device has a queue.
        failure: why the run failed; None while it has not.
        faults: page faults in these passes; None where the system does not count them.
    """

    run_pass: Callable[[], object]
    timer: Timer
    samples: list[float] = field(default_factory=list)
    enqueue: list[float] = field(default_factory=list)
    failure: str | None = None
    faults: int | None = None

    def settle(self, settling: Settling) -> float:
        """Rest, and execute passes without taking samples; return the seconds that this took.

        Raises:
            MnfpnError: where a pass fails.
        """
        start = perf_counter()
        sleep(settling.rest_s)
        end = perf_counter() + settling.passes_s
        self.timer(self.run_pass)
        while perf_counter() < end:
            self.timer(self.run_pass)
        return perf_counter() - start

    def take_sample(self) -> float:
        """Time one pass; return its seconds.

        Raises:
            MnfpnError: where the pass fails.
        """
        seconds, enqueue, faults = self.timer(self.run_pass)
        self.samples.append(seconds)
        if faults is not None:
            self.faults = (self.faults or 0) + faults
        if enqueue is not None:
            self.enqueue.append(enqueue)
        return seconds


def warm_up(run_pass: Callable[[], object], timer: Timer, passes: int | None = None) -> WarmUp:
    """Run passes until the medians of two windows in a row agree, or exactly ``passes`` of them."""
    if passes is not None:
        return WarmUp(passes, sum(timer(run_pass).seconds for _ in range(passes)), None)
    count, seconds, before = 0, 0.0, None
    for _ in range(WARM_UP_MAX_WINDOWS):
        window = _window(run_pass, timer)
        count, seconds, now = count + len(window), seconds + sum(window), median(window)
        if before is not None and abs(now - before) <= STEADY * before:
            return WarmUp(count, seconds, True)
        if seconds > WARM_UP_MAX_S:
            break
        before = now
    return WarmUp(count, seconds, False)


def _window(run_pass: Callable[[], object], timer: Timer) -> list[float]:
    """Time the passes of one window of warm-up."""
    window: list[float] = []
    while sum(window) < WINDOW_S or (len(window) < WINDOW_PASSES and sum(window) < SLOW_WINDOW_S):
        window.append(timer(run_pass).seconds)
    return window


def rewarm(runs: Sequence[TimedRun], device_type: str) -> None:
    """On a GPU, execute one more pass of each run: preparing the next run took the memory that torch cached for it."""
    if device_type != "cuda":
        return
    for run in runs:
        try:
            run.timer(run.run_pass)
        except MnfpnError as error:
            run.failure = error.message


def settling_of(device_type: str, runtimes: Sequence[str]) -> Settling | None:
    """Return how runs settle; None for one alone, and for those on a GPU, whose queue is empty before each pass.

    Args:
        device_type: where all of them run.
        runtimes: a name for what executes each; only runs of one runtime in one process may have the same.
    """
    if device_type != "cpu" or len(runtimes) < 2:
        return None
    return OTHER_RUNTIME if len(set(runtimes)) > 1 else SAME_RUNTIME


Rule = Callable[[Sequence[TimedRun], float], Ended | None]
"""A stopping rule: called after each round with the runs that have not failed, and the seconds that the round took;
returns what ends the measurement."""


def take_samples(
    runs: Sequence[TimedRun],
    rule: Rule,
    after_round: Callable[[], object] = lambda: None,
    settling: Settling | None = None,
) -> Ended:
    """Time one pass of each run in turn, in rounds A B C, C B A, A B C, …, until the rule ends the measurement.

    A run that fails keeps its samples, and is left out from then on. Ctrl-C ends the measurement and keeps the samples.

    Args:
        runs: what is timed.
        rule: the stopping rule.
        after_round: is called after each round, before the rule.
        settling: how a run settles where the run changes; None where it does not.
    """
    rounds, last = 0, None
    running = [run for run in runs if run.failure is None]
    try:
        while running:
            seconds = 0.0
            for run in running if rounds % 2 == 0 else reversed(running):
                changed, last = run is not last, run
                try:
                    if settling and changed:
                        seconds += run.settle(settling)
                    seconds += run.take_sample()
                except MnfpnError as error:
                    run.failure = error.message
            rounds += 1
            after_round()
            running = [run for run in running if run.failure is None]
            ended = rule(running, seconds) if running else None
            if ended:
                return ended
        return "failed"
    except KeyboardInterrupt:
        return "interrupted"


GROWTH = 1.1
"""Factor between the rounds after which precision is checked: sorting thousands of samples takes longer than a pass."""

LEAST_FOR_NOISE = 100
"""Samples from which on it shows whether more of them help."""

NO_NARROWER = 0.9
"""Four times as many samples should halve the width of an interval; where more than this is left, it is noise."""

LEAST_BLOCKS = 6
"""Blocks of ABBA from which on their median has an interval."""


@dataclass
class StoppingRule(ABC):
    """What the rules have in common: bounds on passes and time, and rounds after which precision is checked.

    Attributes:
        sampling: the bounds.
        progress: is called after each round with the share that is done, from 0 to 1.
        spent: the seconds of all rounds so far: of the passes, and of what runs did to settle.
        rounds: the rounds so far.
        next_check: the round from which on precision is checked again.
    """

    least_rounds: ClassVar[int]
    block: ClassVar[int]
    """Rounds that belong together: a measurement ends only after a whole block."""

    sampling: Sampling
    progress: Callable[[float], None] = lambda _: None
    spent: float = 0.0
    rounds: int = 0
    next_check: int = 0

    def __call__(self, runs: Sequence[TimedRun], seconds: float) -> Ended | None:
        """Count a round, and return what ends the measurement, if anything does."""
        self.rounds += 1
        self.spent += seconds
        ended = self._check(runs) if self.rounds % self.block == 0 else None
        self.progress(1.0 if ended else self._share())
        return ended

    @abstractmethod
    def _precise(self, runs: Sequence[TimedRun]) -> Ended | None:
        """Return whether the samples are precise enough, or too noisy to become so."""

    def _check(self, runs: Sequence[TimedRun]) -> Ended | None:
        passes = self.sampling.passes
        return self._by_precision(runs) if passes is None else self._by_number(passes)

    def _by_number(self, passes: int) -> Ended | None:
        wanted = -(-passes // self.block) * self.block
        if self.rounds >= wanted and self.spent >= self.sampling.min_time_s:
            return "passes" if self.rounds == wanted else "min_time"
        late = self.rounds >= self.least_rounds and self.spent >= self.sampling.max_time_s
        return "max_time" if late else None

    def _by_precision(self, runs: Sequence[TimedRun]) -> Ended | None:
        if self.rounds < self.least_rounds or self.spent < self.sampling.min_time_s:
            return None
        if self.spent >= self.sampling.max_time_s:
            return "max_time"
        if self.rounds + self.block <= self.next_check:  # the block that ends nearest to the round that is due
            return None
        self.next_check = int(self.rounds * GROWTH) + 1
        return self._precise(runs)

    def _share(self) -> float:
        if self.sampling.passes is None:
            return min(self.spent / (self.sampling.max_time_s or 1.0), 1.0)
        by_time = self.spent / self.sampling.min_time_s if self.sampling.min_time_s else 1.0
        return min(self.rounds / self.sampling.passes, by_time, 1.0)


@dataclass
class BenchRule(StoppingRule):
    """End a benchmark by the number of passes, the precision of every median, noise that stays, or time."""

    least_rounds: ClassVar[int] = LEAST_SAMPLES
    block: ClassVar[int] = 1

    def _precise(self, runs: Sequence[TimedRun]) -> Ended | None:
        wide = [run for run in runs if Latency(tuple(run.samples)).half_width > self.sampling.precision]
        if not wide:
            return "precision"
        return "noise" if all(stays_wide(run.samples) for run in wide) else None


def stays_wide(samples: Sequence[float]) -> bool:
    """Return whether four times as many samples left the median's interval as wide; they should have halved it."""
    if len(samples) < LEAST_FOR_NOISE:
        return False
    quarter = Latency(tuple(samples[: len(samples) // 4]))
    return Latency(tuple(samples)).half_width >= NO_NARROWER * quarter.half_width


@dataclass
class RatioRule(StoppingRule):
    """End a comparison of two runs by the number of passes, the precision of their ratio, or time.

    Two rounds make a block of ABBA.
    """

    least_rounds: ClassVar[int] = 2 * LEAST_BLOCKS
    block: ClassVar[int] = 2

    def __call__(self, runs: Sequence[TimedRun], seconds: float) -> Ended | None:
        """Count a round; a comparison of which one run failed ends at once."""
        return super().__call__(runs, seconds) if len(runs) == 2 else "failed"

    def _precise(self, runs: Sequence[TimedRun]) -> Ended | None:
        a, b = runs
        ratio = paired_ratio(a.samples, b.samples)
        return "precision" if ratio and ratio.half_width <= self.sampling.precision else None


LUCK_SHARE = 0.5
"""A pair of processes is timed enough where the interval of its ratio reaches this share of the standard deviation
between pairs: with endless passes, the interval over all pairs would be 3 % narrower."""


def pair_sampling(
    sampling: Sampling, processes: int, a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], spent: float
) -> Sampling:
    """Return how long to time the next pair of processes, as `RatioRule` takes it.

    Its time is an equal share of what the pairs before it left of the whole. It ends earlier where its own ratio is so
    precise that with processes all alike the ratio of all would have the precision asked for, and where processes
    differ so much that more passes of this pair would not help (`LUCK_SHARE`).

    Args:
        sampling: the bounds of the whole comparison; a number of passes is that of each process.
        processes: how many there are of each side.
        a: the samples of each process of A that was timed before, in seconds.
        b: those of B.
        spent: the seconds that they took.
    """
    left = processes - len(a)
    logs = [math.log(ratio.value) for ratio in pair_ratios(a, b)]
    alike = sampling.precision * NORMAL_QUANTILE / pairs_reach(processes)
    return replace(
        sampling,
        precision=max(alike, LUCK_SHARE * mad(logs) / NORMAL_MAD) if len(logs) > 2 else alike,
        min_time_s=max(sampling.min_time_s - spent, 0.0) / left,
        max_time_s=max(sampling.max_time_s - spent, 0.0) / left,
    )


def processes_ended(ends: Sequence[Ended], ratio: TimeRatio | None, precision: float) -> Ended:
    """Return what ended a comparison of several processes a side, of what ended the passes of each pair.

    It is noise where each pair was precise enough, but they differ too much for the precision asked for.
    """
    early: tuple[Ended, ...] = ("interrupted", "failed", "max_time", "passes", "min_time")
    precise = ratio is not None and ratio.half_width <= precision
    return next((ended for ended in early if ended in ends), "precision" if precise else "noise")
