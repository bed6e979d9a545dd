"""A comparison of two sides, with a verdict, and the gates that it must pass. No torch here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

from mnfpn_cli.documents.compare import (
    CompareDocument,
    ComparedRun,
    GatesRecord,
    SideEnvironment,
    SideRecord,
    SideTimes,
    VerdictRecord,
)
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, WarningRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import Inputs, Workload, input_record
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
    """A side to time, or that was timed.

    Attributes:
        name: the options of the side, or the name of its file.
        workload: the network, and the input of a pass; of images, `input` gives a batch.
        runtime: what executes the network.
        dtype: the element type that it computes in.
    """

    name: str
    workload: Workload
    runtime: str
    dtype: DType

    def input(self, batch: int) -> Inputs:
        """Return the input of a pass; inputs of given shapes are the same for every batch."""
        base = self.workload.inputs
        return replace(base, batch=batch) if isinstance(base, NetworkInput) else base

    def record(
        self,
        input: Inputs,
        times: SideTimes,
        *,
        device: str,
        threads: int,
        train: bool,
        figures: Mapping[str, int],
        difference: float | None,
        environment: SideEnvironment | None = None,
    ) -> SideRecord:
        """Return the side as a document holds it, with the times of the first run.

        ``figures`` have the keys of ``FIGURES``. ``difference`` is the largest relative difference from eager float32:
        infinite where outputs cannot be compared, None where there was nothing to compare with.
        """
        comparable = None if difference is None else isfinite(difference)
        return SideRecord(
            name=self.name,
            runtime=self.runtime,
            dtype=self.dtype,
            device=device,
            threads=threads,
            train=train,
            input=input_record(input),
            settings=self.workload.origin.settings,
            model=self.workload.origin.model,
            **figures,
            comparable=comparable,
            max_difference=difference if comparable else None,
            latency_s=times.latency_s,
            environment=environment,
        )


def failure_of(failures: Sequence[str | None]) -> str | None:
    """Join the failures of A and B, each with its side; None where there are none."""
    failed = [f"{name}: {failure}" for name, failure in zip("AB", failures, strict=True) if failure]
    return "\n".join(failed) or None


def run_name(a: TimedSide, b: TimedSide, case: CompareCase, device: str) -> str:
    """Name the run that both sides did."""
    sizes = " against ".join(dict.fromkeys(str(side.workload.inputs.size) for side in (a, b)))
    return f"batch {a.input(case.batch).batch} on {device}, {sizes}{', training' * case.train}"


def side_warnings(a: TimedSide, b: TimedSide) -> Iterator[WarningRecord]:
    """Warn of sides that may not be what was meant: of other sizes, or in int8."""
    of_a, of_b = a.workload.inputs, b.workload.inputs
    if str(of_a.size) != str(of_b.size):
        images = isinstance(of_a, NetworkInput) and isinstance(of_b, NetworkInput)
        yield WarningRecord(
            kind="sizes",
            cause=f"A takes {'images of ' * images}{of_a.size}, B {'of ' * images}{of_b.size}",
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


def compared_run(
    name: str,
    samples: Sequence[Sequence[float]],
    ratio: TimeRatio | None,
    margin: float,
    ended: Ended | None = None,
    processes: Sequence[tuple[int, ...] | None] = (None, None),
    turn_s: float | None = None,
) -> ComparedRun:
    """Return a run that both sides have, with its verdict.

    Args:
        name: of the run.
        samples: the times of the passes of A and of B, in seconds.
        ratio: the time of B over that of A; None with too few passes.
        margin: the share up to which a difference of times is ignored.
        ended: what ended the passes; None where the times come from files.
        processes: the numbers of passes of each process of A and of B; None where both ran in one process.
        turn_s: the median time in seconds that a turn of a process took beside the pass.
    """
    a, b = (
        SideTimes(latency_s=latency_record(Latency(tuple(of_side))), processes=passes)
        for of_side, passes in zip(samples, processes, strict=True)
    )
    return ComparedRun(
        name=name,
        verdict=ratio.verdict(margin) if ratio else "inconclusive",
        ratio=ratio.value if ratio else None,
        ratio_ci95=ratio.interval if ratio else None,
        method=ratio.method if ratio else None,
        ended_by=ended,
        a=a,
        b=b,
        turn_s=turn_s,
    )


def compare_document(
    a: SideRecord,
    b: SideRecord,
    runs: Sequence[ComparedRun],
    margin: float,
    warnings: Iterable[WarningRecord] = (),
    *,
    complete: bool = True,
    failure: str | None = None,
    environment: EnvironmentRecord | None = None,
) -> CompareDocument:
    """Make the document of a comparison before any gate; its own verdict is that of the first run."""
    return CompareDocument(
        settings=a.settings,
        model=a.model,
        complete=complete,
        failure=failure,
        **{name: getattr(runs[0], name) for name in VerdictRecord.model_fields},
        margin=margin,
        a=a,
        b=b,
        runs=tuple(runs),
        warnings=tuple(warnings),
        gates=GatesRecord(broken=(), undecided=()),
        environment=environment,
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


def judge(result: CompareDocument, gates: Gates) -> CompareDocument:
    """Return a comparison with the gates that it breaks, and those that are undecided."""
    broken, undecided = tuple(broken_gates(result, gates)), tuple(undecided_gates(result, gates))
    return result.model_copy(update={"gates": GatesRecord(broken=broken, undecided=undecided)})


def growth(result: CompareDocument, figure: str) -> float | None:
    """Return B's figure over A's; None where A's is zero."""
    a, b = getattr(result.a, figure), getattr(result.b, figure)
    return b / a if a else None


def broken_gates(result: CompareDocument, gates: Gates) -> Iterator[str]:
    """Yield a sentence for each run and figure that breaks a gate.

    A time breaks it only where the whole interval of the ratio lies beyond the gate.
    """
    if gates.slower is not None:
        for run in result.runs:
            if run.ratio_ci95 and run.ratio_ci95[0] > 1 + gates.slower:
                name = _gate(SLOWER, gates.slower)
                yield f"{name}: {run.name}: B takes at least {run.ratio_ci95[0]:.4f} × A's time"
    if gates.larger is not None:
        for figure, words in FIGURES.items():
            grown = growth(result, figure)
            if grown is not None and grown > 1 + gates.larger:
                name, a, b = _gate(LARGER, gates.larger), getattr(result.a, figure), getattr(result.b, figure)
                yield f"{name}: {words}: B has {grown:.4f} × A's, {b:,} against {a:,}"


def undecided_gates(result: CompareDocument, gates: Gates) -> Iterator[str]:
    """Yield a sentence for each run that leaves the gate on time undecided.

    The gate lies within the interval of the ratio, or there is no interval, or the run is missing on one side.
    """
    if gates.slower is None:
        return
    name = _gate(SLOWER, gates.slower)
    missing = (warning.cause for warning in result.warnings if warning.kind in MISSING_RUNS)
    yield from (f"{name}: inconclusive: {cause}" for cause in missing)
    for run in result.runs:
        low, high = run.ratio_ci95 or (-inf, inf)
        if low <= 1 + gates.slower < high:
            reach = f"B takes {low:.4f} to {high:.4f} × A's time" if run.ratio_ci95 else "too few passes"
            yield f"{name}: {run.name}: inconclusive: {reach}"


def _gate(name: str, share: float) -> str:
    return f"{name} {100 * share:g}%"


def check_gates_apply(result: CompareDocument, gates: Gates) -> None:
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
