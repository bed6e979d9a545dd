"""What runs are compared by without measured scores ranks the published networks at least as well as MACs do."""

import re

from scipy.stats import kendalltau, spearmanr

from mnfpn_cli.accuracy.estimate import fit, imagenet_fit
from mnfpn_cli.accuracy.published import imagenet
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import Size
from mnfpn_cli.sweep.objective import BY_MACS
from tests.accuracy.classifiers import MACS, classifier

POINTS = imagenet().points
SCORES = [point.score for point in POINTS]


def planned_macs(classes: int) -> list[int]:
    """The MACs of the published networks by our plan."""
    return [
        network_cost(
            plan_network(classifier(point.width_mult, head={"kind": "classifier", "classes": classes})),
            Size(point.side, point.side),
        ).total.macs
        for point in POINTS
    ]


def ranks(values: list[float] | list[int]) -> tuple[float, float]:
    """Spearman's rho and Kendall's tau-b, which allows for the two networks of one score."""
    return spearmanr(values, SCORES).statistic, kendalltau(values, SCORES).statistic


BY_PLAN = ranks(planned_macs(1000))


def test_macs_of_the_plan_are_those_that_google_gives() -> None:
    """In millions, rounded or cut off, with the class of the background."""
    given = [macs for some in MACS.values() for macs in some]
    assert [abs(own / 1e6 - macs) < 1 for own, macs in zip(planned_macs(1001), given, strict=True)] == [True] * 22


def test_the_words_of_macs_have_the_figures_that_come_out() -> None:
    """A reader may rely on them."""
    stated = re.search(r"22 published .* \(Spearman ([\d.]+), Kendall ([\d.]+)\)", BY_MACS)
    assert stated
    assert stated.groups() == tuple(f"{one:.3f}" for one in BY_PLAN)


def test_estimates_rank_the_networks_at_least_as_well_as_macs_do() -> None:
    """Also where each network is estimated from the 21 others; else they may be no objective."""
    found = imagenet_fit()
    whole = ranks([found.score(point.width_mult, point.side) for point in POINTS])
    without = [fit([other for other in POINTS if other != point]) for point in POINTS]
    left_out = ranks([one.score(point.width_mult, point.side) for point, one in zip(POINTS, without, strict=True)])
    for estimated in (whole, left_out):
        assert estimated[0] >= BY_PLAN[0]
        assert estimated[1] >= BY_PLAN[1]


def test_parameters_rank_them_worse() -> None:
    """So they would be no objective: all sizes of a width have the same."""
    parameters = [
        network_cost(plan_network(classifier(point.width_mult)), Size(224, 224)).total.parameters for point in POINTS
    ]
    assert ranks(parameters)[0] < BY_PLAN[0]
