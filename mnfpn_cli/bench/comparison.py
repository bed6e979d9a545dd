"""A comparison of two sides, with a verdict, and the gates that it must pass. No torch here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from mnfpn_cli.documents.compare import (
    CompareDocument,
    ComparedRun,
    GatesRecord,
    SideEnvironment,
    SideRecord,
    SideTimes,
    Verdict,
    VerdictRecord,
)
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, WarningRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import Inputs, Origin, Workload, input_record
from mnfpn_cli.measure.statistics import Latency, TimeRatio, latency_record
from mnfpn_cli.settings.input import DType, NetworkInput
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR, Allocator, BenchCase, Sampling

FIGURES = {
    "parameters": "parameters",
    "macs": "MACs",
    "model_bytes": "model size",
    "activation_bytes": "activations",
}
"""The exact figures that are compared besides time, and their names in text."""


@dataclass(frozen=True)
class CompareCase:
    """What both sides share.

    Attributes:
        batch: images in a batch.
        device_name: the device to run on.
        threads: threads of the CPU; None for torch's choice.
        train: whether a pass is a training step.
        margin: the share up to which a difference of times is ignored.
        sampling: when a measurement is warm, and when it is enough.
        allocator: what happens to memory that a pass frees.
        seed: of random weights.
    """

    batch: int
    device_name: str
    threads: int | None
    train: bool
    margin: float
    sampling: Sampling
    allocator: Allocator = DEFAULT_ALLOCATOR
    seed: int = 0

    def of(self, runtime: str, dtype: DType) -> BenchCase:
        """Return how a side is prepared and timed."""
        return BenchCase(
            batches=(self.batch,),
            runtimes=(runtime,),
            dtypes=(dtype,),
            threads=self.threads,
            allocator=self.allocator,
            train=self.train,
            sampling=self.sampling,
        )


@dataclass(frozen=True)
class TimedSide:
    """A side to time.

    Attributes:
        name: the text of its options.
        workload: the network, and the input of a pass on one image.
        runtime: what executes it.
        dtype: the element type to compute in.
    """

    name: str
    workload: Workload
    runtime: str
    dtype: DType


@dataclass(frozen=True)
class ComparedSide:
    """One of the two sides of a comparison.

    Attributes:
        name: the options of the side, or the name of its file.
        runtime: what executes the network.
        dtype: the element type that it computes in.
        device: the device of its passes.
        threads: threads of the CPU.
        train: whether a pass is a training step.
        input: the input of a pass.
        origin: where the network comes from.
        figures: the exact figures, by the keys of ``FIGURES``.
        difference: the largest relative difference from eager float32; infinite where outputs cannot be compared, None
            where there was nothing to compare with.
        environment: what the side ran in, where its processes were started for it; None otherwise.
    """

    name: str
    runtime: str
    dtype: DType
    device: str
    threads: int
    train: bool
    input: Inputs
    origin: Origin
    figures: Mapping[str, int]
    difference: float | None = None
    environment: SideEnvironment | None = None


@dataclass(frozen=True)
class Pair:
    """A run that both sides have: the times of A and B, the time of B over that of A, and the verdict.

    ``ratio`` is None with too few passes; ``ended`` is None where the times come from files. ``processes`` are the
    numbers of passes of each process of A and of B, and ``turn_s`` the median time in seconds that a turn took beside
    the pass; None where both ran in one process.
    """

    name: str
    a: Latency
    b: Latency
    ratio: TimeRatio | None
    verdict: Verdict
    ended: Ended | None = None
    processes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    turn_s: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        a: the first side.
        b: the second side.
        pairs: the runs that both sides have.
        margin: the share up to which a difference of times is ignored.
        warnings: what else differs between the sides, and other reasons to trust the verdict less.
        complete: False where Ctrl-C, or the failure of a side, ended it.
        failure: why a side failed after some passes; None where none did.
    """

    a: ComparedSide
    b: ComparedSide
    pairs: tuple[Pair, ...]
    margin: float
    warnings: tuple[WarningRecord, ...] = ()
    complete: bool = True
    failure: str | None = None

    def growth(self, figure: str) -> float | None:
        """Return B's figure over A's; None where one of them is not known, or A's is zero."""
        a, b = self.a.figures.get(figure), self.b.figures.get(figure)
        return b / a if a and b is not None else None


def failure_of(failures: Sequence[str | None]) -> str | None:
    """Join the failures of A and B, each with its side; None where there are none."""
    failed = [f"{name}: {failure}" for name, failure in zip("AB", failures, strict=True) if failure]
    return "\n".join(failed) or None


def run_name(a: ComparedSide, b: ComparedSide) -> str:
    """Name the run that both sides did."""
    sizes = " against ".join(dict.fromkeys(str(side.input.size) for side in (a, b)))
    return f"batch {a.input.batch} on {a.device}, {sizes}{', training' * a.train}"


def side_warnings(a: ComparedSide, b: ComparedSide) -> Iterator[WarningRecord]:
    """Warn of sides that may not be what was meant: of other sizes, or in int8."""
    if str(a.input.size) != str(b.input.size):
        images = isinstance(a.input, NetworkInput) and isinstance(b.input, NetworkInput)
        yield WarningRecord(
            kind="sizes",
            cause=f"A takes {'images of ' * images}{a.input.size}, B {'of ' * images}{b.input.size}",
            helps="`size`, which both then take" if images else "inputs of the same shapes",
        )
    sides = [name for name, side in (("A", a), ("B", b)) if side.dtype == "int8"]
    if sides:
        yield WarningRecord(
            kind="int8",
            cause=f"{' and '.join(sides)} in int8: the sizes of model and activations are computed, a byte an element, "
            "and nothing is known of what the outputs lose",
            helps="a benchmark with both dtypes, which judges outputs and gives sizes of files",
        )


def compare_document(
    result: Comparison, gates: GatesRecord, environment: EnvironmentRecord | None = None
) -> CompareDocument:
    """Make the document of a comparison; its own verdict is that of the first run."""
    first = result.pairs[0]
    return CompareDocument(
        settings=result.a.origin.settings,
        model=result.a.origin.model,
        complete=result.complete,
        failure=result.failure,
        **vars(_verdict(first)),
        margin=result.margin,
        a=_side(result.a, first.a),
        b=_side(result.b, first.b),
        runs=tuple(_compared_run(pair) for pair in result.pairs),
        warnings=result.warnings,
        gates=gates,
        environment=environment,
    )


def _compared_run(pair: Pair) -> ComparedRun:
    a, b = (
        SideTimes(latency_s=latency_record(latency), processes=processes)
        for latency, processes in zip((pair.a, pair.b), pair.processes or (None, None), strict=True)
    )
    return ComparedRun(name=pair.name, **vars(_verdict(pair)), ended_by=pair.ended, a=a, b=b, turn_s=pair.turn_s)


def _verdict(pair: Pair) -> VerdictRecord:
    ratio = pair.ratio
    return VerdictRecord(
        verdict=pair.verdict,
        ratio=ratio.value if ratio else None,
        ratio_ci95=ratio.interval if ratio else None,
        method=ratio.method if ratio else None,
    )


def _side(side: ComparedSide, latency: Latency) -> SideRecord:
    difference = side.difference
    return SideRecord(
        name=side.name,
        runtime=side.runtime,
        dtype=side.dtype,
        device=side.device,
        threads=side.threads,
        train=side.train,
        input=input_record(side.input),
        settings=side.origin.settings,
        model=side.origin.model,
        **side.figures,
        comparable=None if difference is None else isfinite(difference),
        max_difference=difference if difference is not None and isfinite(difference) else None,
        latency_s=latency_record(latency),
        environment=side.environment,
    )


SLOWER, LARGER = "`fail_if_slower`", "`fail_if_larger`"
"""The gates, as messages name them."""

OTHER_CONDITIONS = (
    "other_machine",
    "other_device",
    "other_gpu_name",
    "other_threads",
    "other_cold_cache",
    "other_allocator",
)
"""Kinds of warnings that a gate on time refuses: these differences change the time of any network."""

OTHER_PASSES = ("other_input", "other_train")
"""Kinds of warnings that every gate refuses: these differences change the work of a pass, and so all figures."""

MISSING_RUNS = ("runs", "incomplete", "failed")
"""Kinds of warnings that leave a gate on time undecided: a missing run proves nothing about speed."""


@dataclass(frozen=True)
class Gates:
    """The shares by which B may be slower and larger than A; None for no gate.

    With ``strict``, an undecided gate fails as a broken one does.
    """

    slower: float | None = None
    larger: float | None = None
    strict: bool = False


def judge(result: Comparison, gates: Gates) -> GatesRecord:
    """Return which gates a comparison breaks, and which are undecided."""
    return GatesRecord(broken=tuple(broken_gates(result, gates)), undecided=tuple(undecided_gates(result, gates)))


def broken_gates(result: Comparison, gates: Gates) -> Iterator[str]:
    """Yield a sentence for each run and figure that breaks a gate.

    A time breaks it only where the whole interval of the ratio lies beyond the gate.
    """
    if gates.slower is not None:
        for pair in result.pairs:
            interval = pair.ratio.interval if pair.ratio else None
            if interval and interval.low > 1 + gates.slower:
                name = _gate(SLOWER, gates.slower)
                yield f"{name}: {pair.name}: B takes at least {interval.low:.4f} × A's time"
    if gates.larger is not None:
        for figure, words in FIGURES.items():
            growth = result.growth(figure)
            if growth is not None and growth > 1 + gates.larger:
                name, a, b = _gate(LARGER, gates.larger), result.a.figures[figure], result.b.figures[figure]
                yield f"{name}: {words}: B has {growth:.4f} × A's, {b:,} against {a:,}"


def undecided_gates(result: Comparison, gates: Gates) -> Iterator[str]:
    """Yield a sentence for each run that leaves the gate on time undecided.

    The gate lies within the interval of the ratio, or there is no interval, or the run is missing on one side.
    """
    if gates.slower is None:
        return
    name = _gate(SLOWER, gates.slower)
    missing = (warning.cause for warning in result.warnings if warning.kind in MISSING_RUNS)
    yield from (f"{name}: inconclusive: {cause}" for cause in missing)
    for pair in result.pairs:
        interval = pair.ratio.interval if pair.ratio else None
        if interval is None or interval.low <= 1 + gates.slower < interval.high:
            reach = f"B takes {interval.low:.4f} to {interval.high:.4f} × A's time" if interval else "too few passes"
            yield f"{name}: {pair.name}: inconclusive: {reach}"


def _gate(name: str, share: float) -> str:
    return f"{name} {100 * share:g}%"


def check_gates_apply(result: Comparison, gates: Gates) -> None:
    """Check that both sides were measured under conditions in which the gates mean something.

    Raises:
        UsageError: where machines, devices or inputs differ.
    """
    refused_kinds = (
        (SLOWER, gates.slower, OTHER_CONDITIONS + OTHER_PASSES),
        (LARGER, gates.larger, OTHER_PASSES),
    )
    for name, share, kinds in refused_kinds:
        causes = [warning.cause for warning in result.warnings if warning.kind in kinds]
        if share is not None and causes:
            raise UsageError(
                Problem(name, f"needs results measured under the same conditions, but {'; '.join(causes)}")
            )
