"""The frontier of anything, and the choice of runs to measure."""

from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.space.frontier import by_macs, choose, pareto, spread
from mnfpn_cli.space.planned import Budget, Planned, plan_space
from tests.space.spaces import space_of

POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30)


@given(POINTS)
def test_the_frontier_has_the_items_that_no_other_item_dominates(points: list[tuple[int, int]]) -> None:
    """Compared with the definition, item by item; equal items are all on it, and the cheapest comes first."""
    unbeaten = [
        one
        for one in points
        if not any((c <= one[0] and w > one[1]) or (c < one[0] and w >= one[1]) for c, w in points)
    ]
    found = pareto(points, lambda one: one[0], lambda one: one[1])
    assert sorted(found) == sorted(unbeaten)
    assert found == sorted(found)


def runs() -> list[Planned]:
    """Thirty-two runs: sixteen networks with two runtimes each."""
    space = space_of(
        width_mult=[0.35, 0.5, 0.75, 1.0],
        pyramid__channels=[64, 128, 192, 256],
        size=["64"],
        runtime=["eager", "fused"],
    )
    return plan_space(space, Budget()).runs


def test_runs_are_ordered_by_macs_and_those_of_a_network_stand_together() -> None:
    """Their MACs are the same; only a measurement shows which is faster."""
    ordered = by_macs(runs())
    assert len(ordered) == 32
    macs = [one.figures.macs for one in ordered]
    assert macs == sorted(macs)
    assert all(one.run.network == other.run.network for one, other in zip(ordered[::2], ordered[1::2], strict=True))


def test_a_number_of_runs_is_spread_from_the_fewest_macs_to_the_most() -> None:
    """As many as asked for, or all; both ends are among them."""
    ordered = by_macs(runs())
    for count in range(1, len(ordered) + 3):
        chosen = spread(ordered, count)
        assert len(chosen) == min(count, len(ordered))
        assert len(set(chosen)) == len(chosen)
        if count >= 4:
            assert {ordered[0].run.network, ordered[-1].run.network} <= {one.run.network for one in chosen}


def test_runs_to_measure_are_chosen_by_a_word_or_a_number() -> None:
    """All, none, or a number of them."""
    every = runs()
    assert choose(every, "all") == every
    assert choose(every, "none") == []
    assert choose(every, "5") == spread(by_macs(every), 5)
    assert choose([], "5") == []
