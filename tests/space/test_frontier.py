"""The frontier, and choosing runs from it."""

from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.space.frontier import choose, pareto, planned_frontier, spread
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


def test_every_execution_of_a_network_on_the_frontier_is_on_it() -> None:
    """Their MACs and capacity are the same; only a measurement shows which is faster."""
    frontier = planned_frontier(runs())
    assert 2 < len(frontier) < 32
    assert {one.run.execution.runtime for one in frontier} == {"eager", "fused"}
    assert len(frontier) == 2 * len({one.run.network for one in frontier})


def test_a_number_of_runs_is_spread_along_the_frontier() -> None:
    """As many as asked for, or all; both ends are among them."""
    frontier = planned_frontier(runs())
    for count in range(1, len(frontier) + 3):
        chosen = spread(frontier, count)
        assert len(chosen) == min(count, len(frontier))
        assert len(set(chosen)) == len(chosen)
        if count >= 4:
            assert {frontier[0].run.network, frontier[-1].run.network} <= {one.run.network for one in chosen}


def test_runs_to_measure_are_chosen_by_a_word_or_a_number() -> None:
    """All, none, those on the frontier, or a number of those."""
    every = runs()
    assert choose(every, "all") == every
    assert choose(every, "none") == []
    assert choose(every, "frontier") == planned_frontier(every)
    assert len(choose(every, "5")) == 5
    assert choose([], "5") == []
