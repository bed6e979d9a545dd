"""Gates of a comparison: B must not be slower, or larger, than A by more than a share. No torch here."""

from collections.abc import Iterator
from dataclasses import dataclass

from mnfpn_cli.bench.comparison import FIGURES, Comparison
from mnfpn_cli.errors import Problem, UsageError

SLOWER, LARGER = "`fail_if_slower`", "`fail_if_larger`"
"""The gates, as messages name them."""

OTHER_CONDITIONS = ("other_machine", "other_device", "other_device_name", "other_threads", "other_cold_cache")
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


def broken_gates(result: Comparison, gates: Gates) -> Iterator[str]:
    """Yield a sentence for each run and figure that breaks a gate.

    A time breaks it only where the whole interval of the ratio lies beyond the gate.
    """
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


def undecided_gates(result: Comparison, gates: Gates) -> Iterator[str]:
    """Yield a sentence for each run that leaves the gate on time undecided.

    The gate lies within the interval of the ratio, or there is no interval, or the run is missing on one side.
    """
    if gates.slower is None:
        return
    name = _gate(SLOWER, gates.slower)
    missing = (warning.cause for warning in result.warnings if warning.kind in MISSING_RUNS)
    yield from (f"{name}: inconclusive: {cause}" for cause in missing)
    for pair in result.pairs:
        interval = pair.ratio.interval if pair.ratio else None
        if interval is None or interval.low <= 1 + gates.slower < interval.high:
            reach = f"B takes {interval.low:.4f} to {interval.high:.4f} × A's time" if interval else "too few passes"
            yield f"{name}: {pair.name}: inconclusive: {reach}"


def _gate(name: str, share: float) -> str:
    return f"{name} {100 * share:g}%"


def check_gates_apply(result: Comparison, gates: Gates) -> None:
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
