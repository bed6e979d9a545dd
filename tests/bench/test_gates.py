"""Gates: a figure that is certainly beyond one breaks it; one that may be beyond it leaves it undecided."""

import pytest

from mnfpn_cli.bench.comparison import (
    Gates,
    TimedSide,
    broken_gates,
    check_gates_apply,
    compare_document,
    compared_run,
    growth,
    undecided_gates,
)
from mnfpn_cli.documents.compare import CompareDocument, ComparedRun
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.origin import FromSettings, Workload
from mnfpn_cli.measure.statistics import Interval, TimeRatio
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings

INPUT = NetworkInput(1, 3, Size(33, 47))
SIDE = TimedSide("a", Workload(FromSettings(NetworkSettings()), INPUT), "eager", "float32")


def run(ratio: TimeRatio | None, name: str = "run") -> ComparedRun:
    """Return a run of one pass a side."""
    return compared_run(name, [[1.0], [1.0]], ratio, 0.01)


def within(low: float, high: float, name: str = "run") -> ComparedRun:
    """Return a run whose ratio has this interval."""
    return run(TimeRatio((low + high) / 2, Interval(low, high), "by hand"), name)


A = SIDE.record(
    INPUT,
    run(None).a,
    device="cpu",
    threads=1,
    train=False,
    figures={"parameters": 100, "macs": 1000, "model_bytes": 400, "activation_bytes": 50},
    difference=None,
)


def compared(*runs: ComparedRun, warnings: tuple[WarningRecord, ...] = (), **figures: int) -> CompareDocument:
    """A against a B of other figures."""
    b = A.model_copy(update={"name": "b", **figures})
    return compare_document(A, b, runs or (within(0.99, 1.01),), 0.01, warnings)


@pytest.mark.parametrize(
    ("low", "high", "broken", "undecided"),
    [
        (1.051, 1.2, True, False),
        (1.05, 1.2, False, True),
        (1.0, 1.051, False, True),
        (1.0, 1.05, False, False),
        (0.5, 0.6, False, False),
    ],
    ids=["wholly beyond", "from the gate on", "across the gate", "up to the gate", "faster"],
)
def test_an_interval_wholly_beyond_breaks_the_gate_and_one_across_it_leaves_it_undecided(
    low: float, high: float, broken: bool, undecided: bool
) -> None:
    """Never both, whatever the verdict at the margin is."""
    result, gates = compared(within(low, high)), Gates(slower=0.05)
    assert bool(list(broken_gates(result, gates))) == broken
    assert bool(list(undecided_gates(result, gates))) == undecided


def test_a_gate_that_was_not_asked_for_neither_breaks_nor_is_undecided() -> None:
    """However much slower and larger B is."""
    result = compared(within(2.0, 9.0), parameters=900)
    assert list(broken_gates(result, Gates())) == list(undecided_gates(result, Gates(strict=True))) == []


def test_every_run_has_to_pass() -> None:
    """Each that does not is named, with the gate as it was given and the figure."""
    result = compared(within(1.0, 1.01, "fine"), within(1.06, 1.07, "slow"), within(1.04, 1.06, "unsure"))
    gates = Gates(slower=0.05)
    assert list(broken_gates(result, gates)) == ["`fail_if_slower` 5%: slow: B takes at least 1.0600 × A's time"]
    assert list(undecided_gates(result, gates)) == [
        "`fail_if_slower` 5%: unsure: inconclusive: B takes 1.0400 to 1.0600 × A's time"
    ]


def test_too_few_passes_leave_the_gate_undecided() -> None:
    """With a ratio that has no interval, or with none."""
    for ratio in (None, TimeRatio(3.0, None, "by hand")):
        result = compared(run(ratio))
        assert not list(broken_gates(result, Gates(slower=0.05)))
        assert list(undecided_gates(result, Gates(slower=0.05))) == [
            "`fail_if_slower` 5%: run: inconclusive: too few passes"
        ]


def test_figures_are_exact_so_a_gate_on_them_is_never_undecided() -> None:
    """Each figure is checked; a figure at the gate does not break it."""
    result = compared(parameters=102, macs=1021, activation_bytes=49)
    assert list(broken_gates(result, Gates(larger=0.02))) == [
        "`fail_if_larger` 2%: MACs: B has 1.0210 × A's, 1,021 against 1,000"
    ]
    assert not list(undecided_gates(result, Gates(larger=0.02)))
    assert len(list(broken_gates(result, Gates(larger=0.0)))) == 2


def test_growth_is_b_over_a() -> None:
    """None where A has none of it."""
    result = compared(macs=500)
    assert growth(result, "macs") == 0.5
    assert growth(result.model_copy(update={"a": A.model_copy(update={"macs": 0})}), "macs") is None


@pytest.mark.parametrize(
    "kind", ["other_machine", "other_device", "other_threads", "other_cold_cache", "other_allocator", "other_input"]
)
def test_a_gate_on_time_is_refused_between_results_that_were_not_measured_alike(kind: str) -> None:
    """It would hold, or not, for a wrong reason."""
    result = compared(
        warnings=(
            WarningRecord(kind=kind, cause="one differs", helps=""),
            WarningRecord(kind="load", cause="a load", helps=""),
        )
    )
    with pytest.raises(UsageError, match=r"^fail_if_slower: needs results .* the same conditions, but one differs$"):
        check_gates_apply(result, Gates(slower=0.05))
    check_gates_apply(result, Gates())


def test_a_gate_on_size_is_refused_only_between_passes_of_another_kind() -> None:
    """MACs and memory are the same on every machine."""
    check_gates_apply(
        compared(warnings=(WarningRecord(kind="other_machine", cause="cpu differs", helps=""),)), Gates(larger=0.02)
    )
    with pytest.raises(UsageError, match=r"^fail_if_larger: needs results .* but input differs$"):
        check_gates_apply(
            compared(warnings=(WarningRecord(kind="other_input", cause="input differs", helps=""),)), Gates(larger=0.02)
        )


@pytest.mark.parametrize("kind", ["load", "not_interleaved", "other_software", "other_runtime", "other_settings"])
def test_what_is_compared_or_only_uncertain_keeps_no_gate_from_applying(kind: str) -> None:
    """Another torch, another runtime, another network: that is what a pipeline wants to know."""
    check_gates_apply(
        compared(warnings=(WarningRecord(kind=kind, cause="", helps=""),)), Gates(slower=0.05, larger=0.02)
    )


@pytest.mark.parametrize("kind", ["runs", "incomplete", "failed"])
def test_a_missing_run_leaves_a_gate_on_time_undecided(kind: str) -> None:
    """A runtime that stopped working is not as fast as before."""
    result = compared(
        within(0.99, 1.01), warnings=(WarningRecord(kind=kind, cause="fused is gone", helps="measure it again"),)
    )
    assert list(undecided_gates(result, Gates(slower=0.05))) == ["`fail_if_slower` 5%: inconclusive: fused is gone"]
    assert not list(broken_gates(result, Gates(slower=0.05)))
    assert not list(undecided_gates(result, Gates(larger=0.05)))
