"""The result of a comparison of A with B, and its document. Times are in seconds, memory in bytes. No torch here."""

from collections.abc import Mapping
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
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, WarningRecord
from mnfpn_cli.external.origin import Inputs, Origin, input_record
from mnfpn_cli.measure.statistics import Latency, Ratio, latency_record
from mnfpn_cli.settings.input import DType

FIGURES = {
    "parameters": "parameters",
    "macs": "MACs",
    "model_bytes": "model size",
    "activation_bytes": "activations",
}
"""The exact figures that are compared besides time, and their names in text."""


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


@dataclass(frozen=True)
class Pair:
    """A run that both sides have: the times of A and B, the time of B over that of A, and the verdict.

    ``ratio`` is None with too few passes; ``ended`` is None where the times come from files.
    """

    name: str
    a: Latency
    b: Latency
    ratio: Ratio | None
    verdict: Verdict
    ended: Ended | None = None


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
    a, b = (SideTimes(latency_s=latency_record(latency)) for latency in (pair.a, pair.b))
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
