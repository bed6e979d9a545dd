"""Warn of samples that are to be trusted less: no steady state, drift, page faults, launch-bound, an odd process."""

from collections.abc import Iterator, Sequence
from statistics import median

from mnfpn_cli.bench.results import MeasuredRun, NoProfile, ProfiledRun
from mnfpn_cli.devices.allocator import can_keep, page_fault_s
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.measure.statistics import MANY_PAIRS, drift, humps, odd_pairs, pair_ratios, process_ratio
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR, Allocator
from mnfpn_cli.text import percent

MANY_FAULTS = 0.1
"""Warn where page faults take a core this share of the time of a pass."""

GRAPHS = ("cuda-graph", "compiled")
"""Runtimes that already queue a pass as one graph."""


def run_warnings(
    run: MeasuredRun, train: bool = False, allocator: Allocator = DEFAULT_ALLOCATOR
) -> Iterator[WarningRecord]:
    """Yield the warnings about a run, each with the run in its cause.

    Args:
        run: a measured run.
        train: whether its passes are training steps.
        allocator: what happens to memory that a pass frees.
    """
    faults = fault_warnings(run.page_faults or 0.0, run.latency.median, allocator)
    warnings = (*_sample_warnings(run), *faults, *_launch_warnings(run, train), *run.warnings)
    yield from (warning.within(str(run.key)) for warning in warnings)


def unprofiled_warnings(profiles: Sequence[ProfiledRun | NoProfile]) -> Iterator[WarningRecord]:
    """Yield a warning for each run whose runtime cannot tell its layers apart, where that of another run can."""
    if any(isinstance(one, ProfiledRun) for one in profiles):
        for one in profiles:
            if isinstance(one, NoProfile) and one.unavailable:
                cause = f"{one.key}: no times of layers, {one.reason}"
                yield WarningRecord(kind="no_layers", cause=cause, helps="")


def _sample_warnings(run: MeasuredRun) -> Iterator[WarningRecord]:
    latency, warm_up = run.latency, run.warm_up
    if warm_up.settled is False:
        yield WarningRecord(
            kind="not_settled",
            cause=f"{warm_up.passes} passes of warm-up ({warm_up.seconds:.1f} s) never became steady",
            helps="measure when the machine is idle",
        )
    change = drift(latency.samples)
    if change is not None:
        slower = "slower" if change > 0 else "faster"
        yield WarningRecord(
            kind="drift",
            cause=f"passes became {percent(abs(change))} {slower} from the first third of the run to the last",
            helps="let it run longer (`min_time`), and look at what heats, throttles or loads the machine",
        )
    two = humps(latency)
    if two:
        yield WarningRecord(
            kind="two_humps",
            cause=f"passes take {two.fast * 1e3:.4g} ms or {two.slow * 1e3:.4g} ms, "
            f"{percent(two.share_slow, '.0f')} of them the latter: the median describes only one of the two",
            helps="fix the number of threads and the clock, and measure when the machine is idle",
        )
    if latency.slow_first:
        yield WarningRecord(
            kind="slow_first",
            cause="the first timed pass was an outlier",
            helps="more passes of warm-up (`warmup`)",
        )


def fault_warnings(faults: float, pass_s: float, allocator: Allocator) -> Iterator[WarningRecord]:
    """Warn that memory is given back to the system and taken anew in each pass.

    Args:
        faults: page faults in a pass.
        pass_s: the median time of a pass, in seconds.
        allocator: what happens to memory that a pass frees.
    """
    taken = faults * page_fault_s() if faults else 0.0
    if taken > MANY_FAULTS * pass_s:
        keeps = allocator == "system" and can_keep()
        yield WarningRecord(
            kind="page_faults",
            cause=f"{faults:,.0f} page faults in a pass take a core about {taken * 1e3:.3g} ms: "
            "the C library gives the memory of maps back to the system, and takes it anew",
            helps="`allocator` keep" if keeps else "",
        )


def _launch_warnings(run: MeasuredRun, train: bool) -> Iterator[WarningRecord]:
    """Warn that the host, not the GPU, sets the time; a CUDA graph helps where one can be recorded."""
    if run.launch_bound:
        graph_helps = not train and run.key.runtime not in GRAPHS
        yield WarningRecord(
            kind="launch_bound",
            cause=f"the host takes {percent(run.enqueue_share or 0, '.0f')} of a pass to queue its work: "
            "the GPU waits for launches",
            helps="CUDA graphs (`runtime` cuda-graph), or larger batches" if graph_helps else "larger batches",
        )


def odd_pair_warnings(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Iterator[WarningRecord]:
    """Warn of pairs of processes whose ratio is far from those of the others.

    Args:
        a: the samples of each process of A, in seconds.
        b: those of B.
    """
    pairs, whole = pair_ratios(a, b), process_ratio(a, b)
    odd, count = odd_pairs(pairs), len(pairs)
    ratios = [pair.value for pair in pairs]
    a_ms, b_ms = ([1e3 * median(samples) for samples in side[:count]] for side in (a, b))

    def others(values: Sequence[float], digits: str) -> str:
        usual = [value for index, value in enumerate(values) if index not in odd]
        return f"{min(usual):{digits}} to {max(usual):{digits}}"

    for index in odd:
        if count < MANY_PAIRS:
            helps = f"`processes` {MANY_PAIRS}, whose median one odd pair hardly moves"
        else:  # nothing need be done where the interval leaves it out
            held = whole and whole.interval and whole.interval.low <= ratios[index] <= whole.interval.high
            helps = "more `processes`" if held else ""
        yield WarningRecord(
            kind="odd_process",
            cause=f"pair {index + 1} of {count}: B / A is {ratios[index]:.3f}, of the others {others(ratios, '.3f')}; "
            f"A took {a_ms[index]:.4g} ms (the others {others(a_ms, '.4g')}), "
            f"B {b_ms[index]:.4g} ms ({others(b_ms, '.4g')})",
            helps=helps,
        )
