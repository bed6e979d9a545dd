"""Gates: a figure that is certainly beyond one breaks it; one that may be beyond it leaves it undecided."""

from dataclasses import replace

import pytest

from mnfpn_cli.bench.comparison import (
    ComparedSide,
    Comparison,
    Gates,
    Pair,
    broken_gates,
    check_gates_apply,
    undecided_gates,
)
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.statistics import Interval, Latency, TimeRatio
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings

A = ComparedSide(
    name="a",
    runtime="eager",
    dtype="float32",
    device="cpu",
    threads=1,
    train=False,
    input=NetworkInput(1, 3, Size(33, 47)),
    origin=FromSettings(NetworkSettings()),
    figures={"parameters": 100, "macs": 1000, "model_bytes": 400, "activation_bytes": 50},
)
ONE = Latency((1.0,))


def pair(low: float, high: float, name: str = "run") -> Pair:
    """Return a run whose ratio has this interval."""
    ratio = TimeRatio((low + high) / 2, Interval(low, high), "by hand")
    return Pair(name, ONE, ONE, ratio, ratio.verdict(0.01))


def compared(*pairs: Pair, warnings: tuple[WarningRecord, ...] = (), **figures: int) -> Comparison:
    """A against a B of other figures."""
    b = replace(A, name="b", figures={**A.figures, **figures})
    return Comparison(A, b, pairs or (pair(0.99, 1.01),), 0.01, warnings)


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
    result, gates = compared(pair(low, high)), Gates(slower=0.05)
    assert bool(list(broken_gates(result, gates))) == broken
    assert bool(list(undecided_gates(result, gates))) == undecided


def test_a_gate_that_was_not_asked_for_neither_breaks_nor_is_undecided() -> None:
    """However much slower and larger B is."""
    result = compared(pair(2.0, 9.0), parameters=900)
    assert list(broken_gates(result, Gates())) == list(undecided_gates(result, Gates(strict=True))) == []


def test_every_run_has_to_pass() -> None:
    """Each that does not is named, with the gate as it was given and the figure."""
    result = compared(pair(1.0, 1.01, "fine"), pair(1.06, 1.07, "slow"), pair(1.04, 1.06, "unsure"))
    gates = Gates(slower=0.05)
    assert list(broken_gates(result, gates)) == ["`fail_if_slower` 5%: slow: B takes at least 1.0600 × A's time"]
    assert list(undecided_gates(result, gates)) == [
        "`fail_if_slower` 5%: unsure: inconclusive: B takes 1.0400 to 1.0600 × A's time"
    ]


def test_too_few_passes_leave_the_gate_undecided() -> None:
    """With a ratio that has no interval, or with none."""
    for ratio in (None, TimeRatio(3.0, None, "by hand")):
        result = compared(Pair("run", ONE, ONE, ratio, "inconclusive"))
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
    """None where one of them is not known, or A has none of it."""
    result = compared(macs=500)
    assert result.growth("macs") == 0.5
    assert result.growth("watts") is None
    assert Comparison(replace(A, figures={"macs": 0}), A, (), 0.01).growth("macs") is None


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
        pair(0.99, 1.01), warnings=(WarningRecord(kind=kind, cause="fused is gone", helps="measure it again"),)
    )
    assert list(undecided_gates(result, Gates(slower=0.05))) == ["`fail_if_slower` 5%: inconclusive: fused is gone"]
    assert not list(broken_gates(result, Gates(slower=0.05)))
    assert not list(undecided_gates(result, Gates(larger=0.05)))
