"""A against B: what was compared, the verdicts, and the gates that a pipeline puts up. No torch here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

from mnfpn_cli.documents.compare import (
    CompareDocument,
    ComparedRun,
    GatesRecord,
    SideRecord,
    SideTimes,
    Verdict,
    VerdictRecord,
)
from mnfpn_cli.documents.records import Ended, EnvironmentRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import Inputs, Origin, input_record
from mnfpn_cli.measure.statistics import Latency, Ratio, latency_record
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.settings.input import DType

FIGURES = {
    "parameters": "parameters",
    "macs": "MACs",
    "model_bytes": "model size",
    "activation_bytes": "activations",
}
"""What is compared besides time: exact, so that any difference is one."""


SLOWER, LARGER = "`fail_if_slower`", "`fail_if_larger`"
"""The gates, as messages name them."""

OTHER_CONDITIONS = ("other_machine", "other_device", "other_device_name", "other_threads", "other_cold_cache")
"""What two results must not differ in for a gate on time: it would hold, or not, for a wrong reason."""

OTHER_PASSES = ("other_input", "other_train")
"""Nor in this, which changes the work of a pass: MACs and activations as well as time."""


PARTIAL = ("runs", "incomplete", "failed")
"""What leaves a gate undecided: a run that is not there any more is no run that is as fast as before."""


@dataclass(frozen=True)
class ComparedSide:
    """One side: its name, what executes it, what it costs for the input, and how far it is from its eager float32."""

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


@dataclass(frozen=True)
class Pair:
    """The same run on both sides: its passes, the time of B over that of A, and the verdict."""

    name: str
    a: Latency
    b: Latency
    ratio: Ratio | None
    verdict: Verdict
    ended: Ended | None = None


@dataclass(frozen=True)
class Gates:
    """What a comparison must not show: B slower, or larger, than A by more than a share; ``strict``: nor leave open."""

    slower: float | None = None
    larger: float | None = None
    strict: bool = False


@dataclass(frozen=True)
class Comparison:
    """A against B.

    Attributes:
        a: the one side.
        b: the other.
        pairs: the runs that both have.
        margin: a difference that does not matter, as a share.
        warnings: what differs between the two besides what is compared, and what else makes the verdict less sure.
        complete: False where Ctrl-C, or a side that failed, ended it.
        failure: of a side, after it had been timed for a while.
    """

    a: ComparedSide
    b: ComparedSide
    pairs: tuple[Pair, ...]
    margin: float
    warnings: tuple[Unsteady, ...] = ()
    complete: bool = True
    failure: str | None = None

    def growth(self, figure: str) -> float | None:
        """B's figure over A's; None where one of them is not known, or A has none."""
        a, b = self.a.figures.get(figure), self.b.figures.get(figure)
        return b / a if a and b is not None else None


def broken_gates(result: Comparison, gates: Gates) -> Iterator[str]:
    """What is beyond a gate, and certainly so: where an interval lies wholly beyond it."""
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


def open_gates(result: Comparison, gates: Gates) -> Iterator[str]:
    """What a gate could not decide: where it lies within an interval, or there is none, or a run is missing."""
    if gates.slower is None:
        return
    name = _gate(SLOWER, gates.slower)
    yield from (f"{name}: inconclusive: {one.cause}" for one in result.warnings if one.kind in PARTIAL)
    for pair in result.pairs:
        interval = pair.ratio.interval if pair.ratio else None
        if interval is None or interval.low <= 1 + gates.slower < interval.high:
            reach = f"B takes {interval.low:.4f} to {interval.high:.4f} × A's time" if interval else "too few passes"
            yield f"{name}: {pair.name}: inconclusive: {reach}"


def _gate(name: str, share: float) -> str:
    return f"{name} {100 * share:g}%"


def check_gates_apply(result: Comparison, gates: Gates) -> None:
    """Make sure that a gate is put up between results that can be compared.

    Raises:
        UsageError: where they are of other machines, devices or inputs.
    """
    given = (
        (SLOWER, gates.slower, OTHER_CONDITIONS + OTHER_PASSES),
        (LARGER, gates.larger, OTHER_PASSES),
    )
    for name, share, apart in given:
        causes = [one.cause for one in result.warnings if one.kind in apart]
        if share is not None and causes:
            raise UsageError(Problem(name, f"must be of results that were measured alike, but {'; '.join(causes)}"))


def compare_document(
    result: Comparison, gates: GatesRecord, environment: EnvironmentRecord | None = None
) -> CompareDocument:
    """Make the document of a comparison; the verdict of its first run also stands at the top."""
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
        warnings=tuple(one.record() for one in result.warnings),
        gates=gates,
        environment=environment,
    )


def _compared_run(pair: Pair) -> ComparedRun:
    a, b = (SideTimes(latency_s=latency_record(one)) for one in (pair.a, pair.b))
    return ComparedRun(name=pair.name, **vars(_verdict(pair)), ended_by=pair.ended, a=a, b=b)


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
    )
