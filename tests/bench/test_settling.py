"""How runs settle between their turns, as each kind of measurement asks for it."""

from dataclasses import replace

import pytest

from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.workload import PlannedWorkload
from mnfpn_cli.external.origin import FromSettings, Workload
from mnfpn_cli.measure.engine import OTHER_RUNTIME, SAME_RUNTIME, Settling, TimedRun
from mnfpn_cli.settings.measuring import BenchCase, Sampling
from tests.bench import test_compare, test_compare_processes, test_postprocess
from tests.bench.test_compare import IMAGE, OTHER, SIDE, WIDER


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[Settling]:
    """How runs settled."""
    ways = set[Settling]()

    def settle(_self: TimedRun, settling: Settling) -> float:
        ways.add(settling)
        return 0.0

    monkeypatch.setattr(TimedRun, "settle", settle)
    return ways


def timed(*runtimes: str, postprocess: bool = False) -> None:
    """Time a small detector by runtimes, in this process."""
    case = BenchCase(
        runtimes=runtimes,
        threads=1,
        isolate=False,
        postprocess=postprocess,
        sampling=Sampling(warmup=1, passes=4, min_time_s=0.0),
    )
    workload = PlannedWorkload(FromSettings(test_postprocess.detector()), test_postprocess.SIZE)
    benchmark([workload], case, ["cpu"], lambda: "a CPU", lambda *_: None)


def test_two_networks_of_one_runtime_in_one_process(seen: set[Settling]) -> None:
    """Their weights take each other's place in the caches."""
    test_compare.compared(b=replace(SIDE, workload=Workload(FromSettings(WIDER), IMAGE)))
    assert seen == {SAME_RUNTIME}


def test_two_runtimes_in_one_process(seen: set[Settling]) -> None:
    """Their threads take each other's cores."""
    test_compare.compared(b=OTHER)
    assert seen == {OTHER_RUNTIME}


@pytest.mark.slow
def test_processes_of_one_runtime(seen: set[Settling]) -> None:
    """Each has threads of its own."""
    test_compare_processes.compared(runtimes=("eager", "eager"))
    assert seen == {OTHER_RUNTIME}


def test_several_runtimes_of_a_benchmark(seen: set[Settling]) -> None:
    """As two of a comparison."""
    timed("eager", "channels-last")
    assert seen == {OTHER_RUNTIME}


def test_one_runtime_of_a_benchmark(seen: set[Settling]) -> None:
    """What makes boxes of its outputs is another run."""
    timed("eager")
    assert seen == set()
    timed("eager", postprocess=True)
    assert seen == {OTHER_RUNTIME}
