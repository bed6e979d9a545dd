"""What makes a row less sure than it looks, seen from its samples."""

from collections.abc import Iterator
from dataclasses import replace

from mnfpn_cli.bench.results import BenchRun
from mnfpn_cli.measure.patterns import drift, humps
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.percent import percent

GRAPHS = ("cuda-graph", "compiled")
"""Runtimes that queue a pass as one graph already."""

IDLE = "measure when the machine is idle, or longer (--min-time)"


def doubts(run: BenchRun, train: bool = False) -> Iterator[Unsteady]:
    """What the samples of a row, and its outputs, leave in doubt."""
    where, latency = str(run.cell), run.latency
    if run.warm_up.settled is False:
        yield Unsteady(
            "not_settled",
            f"{where}: {run.warm_up.passes} passes of warm-up ({run.warm_up.seconds:.1f} s) never became steady",
            IDLE,
        )
    change = drift(latency.samples)
    if change is not None:
        slower = "slower" if change > 0 else "faster"
        yield Unsteady(
            "drift",
            f"{where}: passes became {percent(abs(change))} {slower} from the first third of the run to the last",
            "let it run longer (--min-time), and look at what heats, throttles or loads the machine",
        )
    two = humps(latency)
    if two:
        yield Unsteady(
            "two_humps",
            f"{where}: passes take {two.fast * 1e3:.4g} ms or {two.slow * 1e3:.4g} ms, "
            f"{percent(two.share_slow, '.0f')} of them the latter: the median is one of two truths",
            "fix the number of threads and the clock, and measure when the machine is idle",
        )
    if latency.slow_first:
        yield Unsteady(
            "slow_first", f"{where}: the first timed pass was an outlier", "more passes of warm-up (--warmup)"
        )
    if run.launch_bound:
        yield Unsteady(
            "launch_bound",
            f"{where}: the host takes {percent(run.enqueue_share or 0, '.0f')} of a pass to queue its work: "
            "the GPU waits for launches",
            "larger batches"
            if train or run.cell.runtime in GRAPHS
            else "CUDA graphs (--runtime cuda-graph), or larger batches",
        )
    yield from (replace(doubt, cause=f"{where}: {doubt.cause}") for doubt in run.doubts)
