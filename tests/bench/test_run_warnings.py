"""A run whose samples or outputs are uncertain has a warning with cause, figures and help; a good run has none."""

import random

import pytest

from mnfpn_cli.bench import run_warnings as run_warnings_file
from mnfpn_cli.bench.results import MeasuredRun
from mnfpn_cli.bench.run_warnings import odd_pair_warnings, run_warnings
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.measure.engine import WarmUp
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.settings.measuring import Allocator
from tests.bench.made import key, timed

NOISE = random.Random(1)
STEADY = [NOISE.gauss(0.1, 0.002) for _ in range(90)]
TWO_HUMPS = [NOISE.gauss(0.1 if k % 5 < 3 else 0.15, 0.002) for k in range(90)]

CASES: dict[str, tuple[MeasuredRun, str]] = {
    "not_settled": (timed(STEADY, warm_up=WarmUp(30, 21.0, False)), "30 passes of warm-up (21.0 s) never became"),
    "drift": (timed([x * (1 + k / 500) for k, x in enumerate(STEADY)]), "% slower from the first third"),
    "two_humps": (timed(TWO_HUMPS), "passes take 100"),
    "slow_first": (timed([0.4, *STEADY]), "the first timed pass was an outlier"),
    "launch_bound": (timed(STEADY, enqueue=Latency(tuple(0.9 * x for x in STEADY))), "takes 90 % of a pass"),
    "page_faults": (timed(STEADY, page_faults=20_000.0), "20,000 page faults in a pass take a core about 20 ms"),
    "not_finite": (
        timed(
            STEADY,
            warnings=(WarningRecord(kind="not_finite", cause="its output p2 is not finite", helps="other weights"),),
        ),
        "p2",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_warning_has_its_figures(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is only the one warning."""
    monkeypatch.setattr(run_warnings_file, "page_fault_s", lambda: 1e-6)
    monkeypatch.setattr(run_warnings_file, "can_keep", lambda: True)
    run, words = CASES[kind]
    (found,) = run_warnings(run)
    assert found.kind == kind
    assert found.cause.startswith("eager on cpu, batch 1, 600x900: ")
    assert words in found.cause
    assert found.helps


def test_a_steady_run_has_no_warnings() -> None:
    """Nor has one whose passes of warm-up were given, or whose host is quick."""
    assert list(run_warnings(timed(STEADY))) == []
    assert list(run_warnings(timed(STEADY, warm_up=WarmUp(3, 0.3, None)))) == []
    assert list(run_warnings(timed(STEADY, enqueue=Latency(tuple(0.5 * x for x in STEADY)), difference=1e-6))) == []


@pytest.mark.parametrize(
    ("allocator", "keeps", "helps"),
    [("keep", True, ""), ("system", False, ""), ("system", True, "`allocator` keep")],
)
def test_nothing_helps_where_memory_is_kept_or_cannot_be(
    allocator: Allocator, keeps: bool, helps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning remains; few page faults have none."""
    monkeypatch.setattr(run_warnings_file, "page_fault_s", lambda: 1e-6)
    monkeypatch.setattr(run_warnings_file, "can_keep", lambda: keeps)
    (found,) = run_warnings(timed(STEADY, page_faults=20_000.0), allocator=allocator)
    assert (found.kind, found.helps) == ("page_faults", helps)
    assert list(run_warnings(timed(STEADY, page_faults=5_000.0))) == []


@pytest.mark.parametrize(
    ("runtime", "train", "helps"),
    [
        ("eager", False, "CUDA graphs (`runtime` cuda-graph), or larger batches"),
        ("eager", True, "larger batches"),
        ("cuda-graph", False, "larger batches"),
        ("compiled", False, "larger batches"),
    ],
)
def test_a_graph_helps_where_there_is_none_and_one_can_be_recorded(runtime: str, train: bool, helps: str) -> None:
    """A training step cannot, and two runtimes are graphs already."""
    (found,) = run_warnings(timed(STEADY, key(runtime), enqueue=Latency(tuple(0.9 * x for x in STEADY))), train)
    assert found.helps == helps


def test_a_process_that_is_slow_for_as_long_as_it_lives_is_named_with_its_times() -> None:
    """The load that slowed both processes of another pair is none; nine pairs need nothing, unless it reaches them."""
    a = [[seconds] * 12 for seconds in (0.1, 0.1, 0.102, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1)]
    b = [[seconds] * 12 for seconds in (0.1, 0.14, 0.102, 0.201, 0.1, 0.1, 0.1, 0.1, 0.1)]
    (found,) = odd_pair_warnings(a[:4], b[:4])
    assert found.kind == "odd_process"
    assert found.cause == (
        "pair 2 of 4: B / A is 1.400, of the others 1.000 to 1.005; "
        "A took 100 ms (the others 100 to 200), B 140 ms (100 to 201)"
    )
    assert found.helps == "`processes` 9, whose median one odd pair hardly moves"
    assert [one.helps for one in odd_pair_warnings(a, b)] == [""]
    assert [one.helps for one in odd_pair_warnings(a, [*b[:8], [0.14] * 12])] == ["more `processes`"] * 2
    assert list(odd_pair_warnings(a[:1], b[:1])) == list(odd_pair_warnings([[]], [[]])) == []
