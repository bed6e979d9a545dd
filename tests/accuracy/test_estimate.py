"""Between published scores there is an estimate, with an error that holds, and beyond them none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.accuracy.accuracy import accuracy_of
from mnfpn_cli.accuracy.estimate import Fit, fit, imagenet_fit
from mnfpn_cli.accuracy.published import IMAGENET, Point, imagenet
from mnfpn_cli.settings.input import Size
from tests.accuracy.classifiers import classifier

POINTS = imagenet().points


def quadratic(width: float, side: int) -> float:
    """A surface that the estimate has the form of."""
    w, s = math.log(width), math.log(side)
    return 3 + 2 * w - s + 0.5 * w * w + 0.25 * w * s - 0.125 * s * s


def test_a_quadratic_is_found_again() -> None:
    """Without an error: from points of it, also where there are none."""
    exact = [point.model_copy(update={"score": quadratic(point.width_mult, point.side)}) for point in POINTS]
    found = fit(exact)
    assert found.coefficients == pytest.approx((3, 2, -1, 0.5, 0.25, -0.125), abs=1e-8)
    assert found.score(1.4, 96) == pytest.approx(quadratic(1.4, 96))
    assert found.typical_error == pytest.approx(0, abs=1e-9)


def test_errors_are_those_of_fits_without_each_point() -> None:
    """The closed form gives what 22 fits give."""
    for point, error in zip(POINTS, imagenet_fit().left_out, strict=True):
        without = fit([other for other in POINTS if other != point])
        assert without.score(point.width_mult, point.side) - point.score == pytest.approx(error, abs=1e-6)


def test_the_errors_of_the_published_scores() -> None:
    """In points of accuracy: as `benchmarks/accuracy.py` prints them."""
    sizes = [abs(error) for error in imagenet_fit().left_out]
    assert (round(sum(sizes) / 22, 2), round(max(sizes), 2)) == (0.52, 1.73)
    assert round(imagenet_fit().typical_error, 2) == 0.67


def test_the_standard_error_holds_where_a_whole_width_is_left_out() -> None:
    """A normal error is within two of its standard errors in 95 of 100 cases; these in 19 of 22, and within 3.5 all."""
    ratios = []
    for width in imagenet().widths:
        others = fit([point for point in POINTS if point.width_mult != width])
        ratios += [_in_errors(others, point) for point in POINTS if point.width_mult == width]
    assert sum(ratio <= 2 for ratio in ratios) == 19
    assert max(ratios) < 3.5


def _in_errors(found: Fit, point: Point) -> float:
    """The error of an estimate in standard errors."""
    return abs(found.score(point.width_mult, point.side) - point.score) / found.error(point.width_mult, point.side)


def test_the_error_grows_away_from_the_points() -> None:
    """Of width 1.4 only 224 pixels were published."""
    found = imagenet_fit()
    assert found.typical_error < found.error(0.6, 176) < found.error(1.2, 192) < found.error(1.4, 128)
    assert found.error(1.4, 96) > 1.1


@pytest.mark.parametrize(
    "points", [POINTS[:5], [point for point in POINTS if point.width_mult == 1.0], POINTS[2:3] * 10], ids=len
)
def test_too_few_points_are_refused(points: list[Point]) -> None:
    """Those of one width say nothing of others."""
    with pytest.raises(ValueError, match="do not determine"):
        fit(points)


def test_an_estimate_has_its_error_and_its_source() -> None:
    """Beside its value; a published network is never estimated."""
    found = accuracy_of(classifier(0.6), Size(200, 200))
    assert found
    assert (found.metric, found.kind, found.date) == (IMAGENET, "estimated", None)
    assert found.value == pytest.approx(66.5, abs=0.05)
    assert found.error == pytest.approx(0.72, abs=0.005)
    assert "22 scores" in found.source
    assert imagenet().source in found.source


@pytest.mark.parametrize(
    ("width", "side"), [(0.349, 161), (1.401, 160), (1.0, 95), (1.0, 225), (0.25, 224), (1.0, 320), (2.0, 64)]
)
def test_beyond_the_points_there_is_none(width: float, side: int) -> None:
    """Not one pixel, and no thousandth of a width, unless its layers are those of the width of a published point."""
    assert accuracy_of(classifier(width), Size(side, side)) is None


@pytest.mark.parametrize(("width", "side"), [(0.35, 97), (1.4, 96), (1.39, 224), (1.0, 223), (0.351, 161)])
def test_up_to_the_points_there_is_one(width: float, side: int) -> None:
    """The ends belong to it."""
    found = accuracy_of(classifier(width), Size(side, side))
    assert found
    assert found.kind == "estimated"


@given(st.floats(0.35, 1.4), st.integers(96, 224))
def test_estimates_are_within_the_published_range(width: float, side: int) -> None:
    """And within a few of their errors of the published networks that are smaller, and of those that are larger."""
    found = accuracy_of(classifier(width), Size(side, side))
    assert found
    room = 2.5 * (found.error or 0)
    for point in POINTS:
        if point.width_mult <= width and point.side <= side:
            assert found.value >= point.score - room
        if point.width_mult >= width and point.side >= side:
            assert found.value <= point.score + room
