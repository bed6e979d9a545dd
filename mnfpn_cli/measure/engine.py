"""The engine: warm up until steady, then time passes of all runs in turn until a rule ends it; and the rules."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from mnfpn_cli.devices.clocks import Timer
from mnfpn_cli.documents.records import Ended
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.statistics import Latency, paired_ratio, relative_half_width
from mnfpn_cli.settings.measuring import LEAST_SAMPLES, Sampling

WINDOW_PASSES = 3
WINDOW_S = 0.05
"""A window of warm-up has at least so many passes, and takes at least so long."""

SLOW_WINDOW_S = 4.0
"""Of slow passes fewer make a window: two of them should fit before the ceiling."""

STEADY = 0.05
"""How far the medians of two windows in a row may be apart; pyperf allows 10 % for the first quartile's."""

REST_S = 0.02
"""How long worker threads may go on spinning for more work: libgomp's of torch do for some milliseconds. A pass of
another runtime that begins in that time shares the cores with them. Behind a pass of eager PyTorch at 64×64 on two
cores, ONNX Runtime took 12.8 ms at once, 7.0 after 5 ms, and 4.6 after 20 ms; OpenVINO 14.1, 5.7 and 4.8."""

WARM_UP_MAX_S = 20.0
WARM_UP_MAX_WINDOWS = 30


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The passes before the timed ones; ``settled`` is None where their number was fixed."""

    passes: int
    seconds: float
    settled: bool | None


@dataclass
class TimedPass:
    """One pass of something, and the times that it took so far.

    Attributes:
        run: a pass.
        timer: what times it.
        samples: seconds, in order.
        enqueue: seconds that the host took to queue each pass, where the device has a queue.
        failure: why it runs no more.
    """

    run: Callable[[], object]
    timer: Timer
    samples: list[float] = field(default_factory=list)
    enqueue: list[float] = field(default_factory=list)
    failure: str | None = None

    def take(self) -> None:
        """Time a pass.

        Raises:
            MnfpnError: where it cannot be run.
        """
        seconds, enqueue = self.timer(self.run)
        self.samples.append(seconds)
        if enqueue is not None:
            self.enqueue.append(enqueue)


Rule = Callable[[Sequence[TimedPass]], Ended | None]
"""Told of all runs after each round; says what ends the measurement, or None where it goes on."""


def rest_between(device_type: str, runtimes: Collection[str]) -> Callable[[], object]:
    """What lets a CPU's threads come to rest between runs of several runtimes, which have threads of their own."""
    return partial(time.sleep, REST_S) if device_type == "cpu" and len(set(runtimes)) > 1 else lambda: None


def warm_up(run: Callable[[], object], timer: Timer, passes: int | None = None) -> WarmUp:
    """Run until the medians of two windows in a row agree, or as often as is asked for."""
    if passes is not None:
        return WarmUp(passes, sum(timer(run).seconds for _ in range(passes)), None)
    count, seconds, before = 0, 0.0, None
    for _ in range(WARM_UP_MAX_WINDOWS):
        window: list[float] = []
        while sum(window) < WINDOW_S or (len(window) < WINDOW_PASSES and sum(window) < SLOW_WINDOW_S):
            window.append(timer(run).seconds)
        count, seconds, now = count + len(window), seconds + sum(window), median(window)
        if before is not None and abs(now - before) <= STEADY * before:
            return WarmUp(count, seconds, True)
        if seconds > WARM_UP_MAX_S:
            break
        before = now
    return WarmUp(count, seconds, False)


def rewarm(subjects: Sequence[TimedPass], device_type: str) -> None:
    """Run each once more where making another ready took from it: a GPU's memory that torch had kept for it."""
    if device_type != "cuda":
        return
    for subject in subjects:
        try:
            subject.timer(subject.run)
        except MnfpnError as error:
            subject.failure = error.message


def take_samples(
    subjects: Sequence[TimedPass],
    rule: Rule,
    after_round: Callable[[], object] = lambda: None,
    settle: Callable[[], object] = lambda: None,
) -> Ended:
    """Time passes of all runs in turn, there and back again, until the rule ends it.

    A subject that fails keeps its samples and is left out from then on; Ctrl-C ends the measurement, and what was
    measured is kept.

    Args:
        subjects: what is timed.
        rule: ends it.
        after_round: is called between rounds.
        settle: is called before a pass whose neighbour was another subject's, to let that one's threads come to rest.
    """
    rounds, last = 0, None
    running = [subject for subject in subjects if subject.failure is None]
    try:
        while running:
            for subject in running if rounds % 2 == 0 else reversed(running):
                if subject is not last:
                    settle()
                last = subject
                try:
                    subject.take()
                except MnfpnError as error:
                    subject.failure = error.message
            rounds += 1
            after_round()
            running = [subject for subject in running if subject.failure is None]
            ended = rule(running) if running else None
            if ended:
                return ended
        return "failed"
    except KeyboardInterrupt:
        return "interrupted"


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
        """Look at the runs after a round."""
        self.rounds += 1
        self.spent += sum(subject.samples[-1] for subject in subjects)
        ended = self._by_number() if self.sampling.passes is not None else self._by_precision(subjects)
        self.progress(1.0 if ended else self._share())
        return ended

    def _share(self) -> float:
        if self.sampling.passes is None:
            return min(self.spent / (self.sampling.max_time_s or 1.0), 1.0)
        by_time = self.spent / self.sampling.min_time_s if self.sampling.min_time_s else 1.0
        return min(self.rounds / self.sampling.passes, by_time, 1.0)

    def _by_number(self) -> Ended | None:
        reached = _reached(self.rounds, self.sampling.passes or 0, self.spent, self.sampling.min_time_s)
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


def _reached(rounds: int, passes: int, spent: float, min_time_s: float) -> Ended | None:
    """Which of the two lower bounds was reached last; None before both are."""
    if rounds < passes or spent < min_time_s:
        return None
    return "passes" if rounds == passes else "min_time"


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
        passes, ended = self.sampling.passes, None
        if self.rounds % 2 == 0:
            ended = self._by_precision(subjects) if passes is None else self._by_number(passes)
        share = self.rounds / passes if passes else self.spent / (self.sampling.max_time_s or 1.0)
        self.progress(1.0 if ended else min(share, 1.0))
        return ended

    def _by_number(self, passes: int) -> Ended | None:
        reached = _reached(self.rounds, passes + passes % 2, self.spent, self.sampling.min_time_s)
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
