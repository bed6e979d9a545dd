"""How well figures that are known before training rank Google's 22 published MobileNetV2 networks.

MACs are of our own plan. The estimate is the quadratic in log width and log side, fitted to the same scores; left out,
each score is estimated from the other 21, or from the other widths or sides alone.

    python benchmarks/accuracy.py
"""

from collections.abc import Callable, Sequence

from scipy.stats import kendalltau, spearmanr

from mnfpn_cli.accuracy.estimate import Fit, fit, imagenet_fit
from mnfpn_cli.accuracy.published import Point, imagenet
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import Size


def macs(point: Point) -> int:
    """Return the MACs of the network of a point, at its size."""
    return network_cost(plan_network(imagenet().network(point.width_mult)), Size(point.side, point.side)).total.macs


def print_ranks(name: str, values: Sequence[float], points: Sequence[Point]) -> None:
    """Print how well values rank the points as their scores do."""
    scores = [point.score for point in points]
    print(f"{name:24} {spearmanr(values, scores).statistic:8.3f} {kendalltau(values, scores).statistic:8.3f}")


def print_errors(name: str, points: Sequence[Point], fits: Sequence[Fit]) -> None:
    """Print the errors of estimates, of each point by a fit to others, and how many standard errors they are."""
    errors = [one.score(point.width_mult, point.side) - point.score for point, one in zip(points, fits, strict=True)]
    sizes = [abs(error) for error in errors]
    within = [
        size / one.error(point.width_mult, point.side) for size, point, one in zip(sizes, points, fits, strict=True)
    ]
    square = (sum(size**2 for size in sizes) / len(sizes)) ** 0.5
    share = sum(one <= 2 for one in within) / len(within)
    print(f"{name:24} {sum(sizes) / len(sizes):8.2f} {square:8.2f} {max(sizes):8.2f} {share:12.0%} {max(within):12.1f}")


def fits_without(points: Sequence[Point], group: Callable[[Point], object]) -> list[Fit]:
    """Return for each point a fit to the points of other groups."""
    return [fit([other for other in points if group(other) != group(point)]) for point in points]


def main() -> None:
    """Print the ranks, and the errors of what is left out."""
    points = imagenet().points
    whole, left_out = imagenet_fit(), fits_without(points, lambda point: point)
    print(f"{'ranks of ' + str(len(points)) + ' networks by':24} Spearman  Kendall")
    print_ranks("MACs", [macs(point) for point in points], points)
    print_ranks("estimate", [whole.score(point.width_mult, point.side) for point in points], points)
    estimates = [one.score(point.width_mult, point.side) for point, one in zip(points, left_out, strict=True)]
    print_ranks("estimate, left out", estimates, points)
    print()
    title = "error in points, without"
    print(f"{title:24} {'mean':>8} {'rms':>8} {'worst':>8} {'within 2 SE':>12} {'worst in SE':>12}")
    print_errors("the point itself", points, left_out)
    print_errors("its width", points, fits_without(points, lambda point: point.width_mult))
    print_errors("its side", points, fits_without(points, lambda point: point.side))


if __name__ == "__main__":
    main()
