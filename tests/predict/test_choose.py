"""Which runs are measured next."""

import pytest

from mnfpn_cli.predict.choose import MOST_LOOKED_AT, next_runs
from mnfpn_cli.predict.model import LatencyModel
from mnfpn_cli.space.planned import Planned
from tests.predict.machines import measured, networks


def test_the_chosen_runs_are_new_and_distinct() -> None:
    """None is chosen twice, or was measured; no more than there are."""
    runs = networks(40)
    samples = measured(runs[:10])
    chosen = next_runs(runs, samples, 12)
    assert len({one.run for one in chosen}) == 12
    assert not {one.run for one in chosen} & {sample.planned.run for sample in samples}
    assert len(next_runs(runs[:12], samples, 5)) == len({one.run for one in runs[:12]} - {one.run for one in runs[:10]})
    assert next_runs(runs[:10], samples, 5) == next_runs([], [], 5) == next_runs(runs, [], 0) == []


def test_the_choice_follows_from_its_arguments() -> None:
    """Twice the same; what was measured before makes the next ones others."""
    runs = networks(60)
    assert next_runs(runs, [], 8) == next_runs(runs, [], 8)
    first = next_runs(runs, [], 8)
    assert set(next_runs(runs, measured(first), 8)).isdisjoint(first)


def test_the_largest_and_the_smallest_are_among_the_first() -> None:
    """What is outermost leaves the least to extrapolate."""
    runs = networks(200, seed=5)
    chosen = next_runs(runs, [], 30)
    macs = sorted(one.figures.macs for one in runs)
    assert max(one.figures.macs for one in chosen) >= macs[-5]
    assert min(one.figures.macs for one in chosen) <= macs[4]


def test_chosen_runs_leave_fewer_networks_to_extrapolate() -> None:
    """Than as many runs at random."""
    runs = networks(150, seed=3)

    def extrapolated(chosen: list[Planned]) -> int:
        model = LatencyModel.fit(measured(chosen, layers=False))
        return sum(bool(one.extrapolated) for one in model.predict(runs))

    assert extrapolated(next_runs(runs, [], 20)) <= extrapolated(runs[:20])


@pytest.mark.slow
def test_a_large_space_is_looked_at_evenly() -> None:
    """Of more runs than are looked at, the chosen ones come from all parts."""
    runs = networks(MOST_LOOKED_AT + 500)
    chosen = next_runs(runs, [], 20)
    places = [runs.index(one) for one in chosen]
    assert min(places) < len(runs) / 4
    assert max(places) > len(runs) * 3 / 4
