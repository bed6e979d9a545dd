"""What a Ray cluster gains where runs are only planned, and what it costs where they are measured.

Two nodes with one core each, both on this machine, where the driver runs too. Planning: runs a second on one node and
on both, in turn; `plan_space` in this process beside it. Measuring: one run at a time, which is timed for 10 s, by
`run_task` in this process and by a sweep through Ray and a store, in turn. Target: Ray and the store together take less
than 5 % of the time in which a run is timed.

    python benchmarks/ray_sweep.py --rounds 5
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from ray.cluster_utils import Cluster

from mnfpn_cli.documents.sweep import MeasuringRecord
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.space.axes import Space
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.space.read import axis_of, merge_axes
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import Remeasure
from mnfpn_cli.sweep.order import Baselines
from mnfpn_cli.sweep.process import Outcome, run_task
from mnfpn_cli.sweep.ray.cluster import connected
from mnfpn_cli.sweep.ray.plan import plan_by, usable_nodes
from mnfpn_cli.sweep.ray.pool import RayPool, ray_pool
from mnfpn_cli.sweep.start import Chosen, begin
from mnfpn_cli.sweep.sweep import Sweeper, task_of

TARGET = 0.05
TIMED = MeasuringRecord(sampling=SamplingRecord(min_time_s=10, max_time_s=10))


@dataclass(frozen=True)
class Spent:
    """Seconds: a call as a whole, the process that measured in it, and the passes that were timed in that."""

    whole: float
    process: float
    timed: float

    @property
    def around(self) -> float:
        """What was spent around the process."""
        return self.whole - self.process


def space(runs: int) -> Space:
    """About so many runs: widths and pyramid channels at two sizes."""
    widths = [round(0.35 + index * 0.01, 2) for index in range(100)]
    channels = range(16, 16 + max(1, runs // 200))
    axes = {"width_mult": widths, "pyramid.channels": channels, "size": ["320x320", "600x900"]}
    return merge_axes(axis_of(key, key, values) for key, values in axes.items())


@contextmanager
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes with a core each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.gcs_address
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def planning(address: str, runs: int, rounds: int) -> None:
    """Print runs planned a second: in this process, on one node, on two."""
    wanted, quiet = space(runs), lambda _doing, _share: None
    with connected(address):
        nodes = usable_nodes(address)
        ways: dict[str, Callable[[], object]] = {
            "plan_space, no Ray": lambda: plan_space(wanted, Budget()),
            "one node": lambda: plan_by(nodes[:1], wanted, Budget(), quiet),
            "two nodes": lambda: plan_by(nodes, wanted, Budget(), quiet),
        }
        plan_by(nodes, wanted, Budget(), quiet)  # each node's processes start, and import what they need
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                rates[name].append(wanted.count / (time.perf_counter() - start))
    one = median(rates["one node"])
    print(f"{f'planning {wanted.count:,} runs':24}{'runs/s':>9}{'least':>9}{'most':>9}{'of one node':>13}")
    for name, seen in rates.items():
        print(f"{name:24}{median(seen):9,.0f}{min(seen):9,.0f}{max(seen):9,.0f}{median(seen) / one:11.2f} ×")


def measuring(address: str, rounds: int) -> None:
    """Print what a run takes besides being timed: directly, and through Ray and a store."""
    planned = plan_space(merge_axes([axis_of("size", "size", ["64"]), axis_of("device", "device", ["cpu"])]), Budget())
    chosen = Chosen(planned.runs, planned, "all", "")
    both = list[tuple[Spent, Spent]]()
    with tempfile.TemporaryDirectory() as folder, ray_pool(address, {"cpu"}) as pool:
        while len(pool.idle()) < 2:
            pool.wait(0.1)
        with open_store(str(Path(folder) / "runs.db"), create=True) as store:
            for _ in range(rounds):
                sweep = begin(store, chosen, TIMED, "here", remeasure=Remeasure(every=True))
                (run,) = read_runs(store, sweep)
                here = partial(run_task, task_of(run, TIMED, False))
                both.append((spent(here), spent(partial(sweep_once, store, sweep, pool))))
    direct, through = [one for one, _ in both], [one for _, one in both]
    print(f"\n{'a run, timed for 10 s':24}{'whole':>10}{'its process':>13}{'timed':>10}{'around it':>12}")
    for name, seen in (("run_task", direct), ("sweep, Ray and store", through)):
        columns = [median(getattr(one, what) for one in seen) for what in ("whole", "process", "timed")]
        around = median(one.around for one in seen)
        print(f"{name:24}{columns[0]:8.2f} s{columns[1]:11.2f} s{columns[2]:8.2f} s{around * 1e3:9.0f} ms")
    timed, more = median(one.timed for one in through), median(b.around - a.around for a, b in both)
    verdict = "met" if more / timed < TARGET else "MISSED"
    print(f"Ray and the store take {more * 1e3:.0f} ms, {more / timed:.2%} of the time (target: under 5 %: {verdict})")
    whole = median(b.whole - a.whole for a, b in both)
    print(f"whole calls differ by {whole:+.2f} s, of which the processes' own differ by {whole - more:+.2f} s")


def sweep_once(store: Store, sweep: int, pool: RayPool) -> Outcome:
    """Measure the one run of a sweep, as `mnfpn sweep` does but for the baseline."""
    run = Sweeper(store, sweep, pool, TIMED)
    run.baselines = Baselines({})
    run.run()
    (measured,) = read_runs(store, sweep)
    result = measured.result
    assert result is not None
    return Outcome(result.status, result.worker, result.started, result.finished, result.reason, result.measured)


def spent(measure: Callable[[], Outcome]) -> Spent:
    """Measure, and see how long what took."""
    start = time.perf_counter()
    outcome = measure()
    whole = time.perf_counter() - start
    if outcome.measured is None:
        raise SystemExit(f"the run failed: {outcome.reason}")
    first, last = datetime.fromisoformat(outcome.started), datetime.fromisoformat(outcome.finished)
    return Spent(whole, (last - first).total_seconds(), sum(outcome.measured.run.latency_s.samples))


def main() -> None:
    """Plan, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20_000, help="to plan in each round")
    options = parser.parse_args()
    with two_nodes() as address:
        planning(address, options.runs, options.rounds)
        measuring(address, options.rounds)


if __name__ == "__main__":
    main()
