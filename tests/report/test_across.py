"""The parts across runtimes: what can be compared, what is marked, and the sentences."""

from collections.abc import Sequence

from mnfpn_cli.bench.profile import profile_record
from mnfpn_cli.documents.bench import ProfileRecord
from mnfpn_cli.measure.layer_times import LayerTime, LayerTimes
from mnfpn_cli.plan.roofline import LayerId, LayerWork
from mnfpn_cli.report.terminal.across import across_table
from mnfpn_cli.report.terminal.plain import as_text

WORKS = (
    LayerWork("stem", "stem", "conv", 1_000, 4_000),
    LayerWork("stages.0.0", "stages.0", "conv", 5_000, 4_000),
    LayerWork("pyramid.lateral.p2", "laterals", "pointwise", 1_000, 4_000),
    LayerWork("pyramid", "top-down", "move", 0, 20_000),
    LayerWork("pyramid.smooth.p2", "smooth p2", "conv", 9_000, 4_000),
)


def profiled(seconds: Sequence[float], joined: tuple[LayerId, ...] = ()) -> ProfileRecord:
    """A profile of a run; ``joined`` are computed with the smoothing."""
    rows = [
        LayerTime(*work.id, time, joined=joined if work.part == "smooth p2" else ())
        for work, time in zip(WORKS, seconds, strict=True)
        if work.id not in joined
    ]
    return profile_record(WORKS, sum(seconds), LayerTimes(tuple(rows), sum(seconds), sum(seconds)))


def lines(**profiles: ProfileRecord) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in as_text(across_table("Across", profiles)).splitlines()]


EAGER = profiled((0.001, 0.030, 0.002, 0.004, 0.020))
QUICK = profiled((0.002, 0.010, 0.002, 0.002, 0.022))


def test_each_part_is_a_row_and_the_worst_cell_of_a_runtime_is_marked() -> None:
    """A cell that takes longer than the fastest of its row, by much of the time of its runtime."""
    found = lines(eager=EAGER, quick=QUICK)
    assert found[1] == ["Part", "eager", "quick"]
    assert found[2] == ["stem", "1.000", "ms", "2.000", "ms"]
    assert found[3] == ["stages.0", "▸", "30.00", "ms", "10.00", "ms"]
    assert found[5] == ["top-down", "▸", "4.000", "ms", "2.000", "ms"]
    assert found[7] == ["total", "57.00", "ms", "38.00", "ms"]


def test_a_sentence_says_where_a_runtime_loses_most_and_against_which() -> None:
    """With its share of the runtime's own time."""
    text = as_text(across_table("Across", {"eager": EAGER, "quick": QUICK}))
    assert "eager loses most in stages.0: 30.00 ms, where quick takes 10.00 ms; 35 % of its time." in text
    assert "quick loses most in smooth p2: 22.00 ms, where eager takes 20.00 ms; 5 % of its time." in text


def test_parts_that_a_runtime_joined_are_compared_together() -> None:
    """Their own cells are not marked: what is missing in one is in the other."""
    joined = profiled((0.001, 0.010, 0.0, 0.0, 0.025), joined=(WORKS[2].id, WORKS[3].id))
    found = lines(eager=EAGER, joins=joined)
    assert found[4:8] == [
        ["laterals", "2.000", "ms"],
        ["top-down", "4.000", "ms"],
        ["smooth", "p2", "20.00", "ms", "25.00", "ms"],
        ["together", "26.00", "ms", "25.00", "ms"],
    ]
    assert not any("▸" in line for line in found[4:8])


def test_runtimes_that_take_the_same_lose_nowhere() -> None:
    """No marks, and no sentence about them."""
    assert "▸" not in as_text(across_table("Across", {"one": EAGER, "two": EAGER}))


def test_a_joined_row_has_the_work_of_all_its_layers() -> None:
    """And a layer that also has a row of its own keeps it there."""
    record = profiled((0.001, 0.010, 0.0, 0.004, 0.025), joined=(WORKS[2].id,))
    smooth = next(layer for layer in record.layers if layer.part == "smooth p2")
    assert (smooth.macs, [one.path for one in smooth.joined]) == (10_000, ["pyramid.lateral.p2"])
    assert sum(layer.macs for layer in record.layers) == sum(work.macs for work in WORKS)
    assert sum(part.seconds or 0 for part in record.parts) == sum(layer.seconds or 0 for layer in record.layers)
