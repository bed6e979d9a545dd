"""The difference of two outputs: relative to the largest expected value, and infinite where they cannot be compared."""

from math import inf, nan

import pytest
import torch
from torch import Tensor, tensor

from mnfpn_cli.measure.verify import largest_difference, relative_difference


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([1.0, -5.0], [1.0, -4.0], 0.25),
        ([3.0, 4.0], [1.0, -4.0], 2.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 1e-9], [0.0, 0.0], inf),
        ([1.0, inf], [1.0, 2.0], inf),
        ([1.0, nan], [1.0, 2.0], inf),
        ([1.0, 2.0], [1.0, inf], inf),
        ([1.0, 2.0], [nan, 2.0], inf),
        ([inf, 2.0], [inf, 2.0], inf),
    ],
)
def test_the_largest_difference_is_relative_to_the_largest_value(
    found: list[float], expected: list[float], difference: float
) -> None:
    """Whatever the sign; what is not finite, on either side, is infinitely far away."""
    assert relative_difference(tensor(found), tensor(expected)) == difference


def test_both_parts_of_complex_numbers_count() -> None:
    """Neither is left out."""
    assert largest_difference([tensor([1 + 3j, 4j])], [tensor([1 + 2j, 4j])]) == 0.25


def test_the_output_that_is_farthest_off_counts() -> None:
    """Each is relative to its own largest value: a level of small values counts as much as one of large values."""
    expected = [tensor([100.0, 0.0]), tensor([1.0, 0.0])]
    found = [tensor([101.0, 0.0]), tensor([1.0, 0.25])]
    assert largest_difference(found, expected) == 0.25


def test_results_in_another_dtype_are_compared_in_float32() -> None:
    """Not in the dtype of what was found, in which a difference would round away."""
    expected = [torch.full((3,), 1 + 2.0**-11)]
    assert largest_difference([expected[0].half()], expected) == pytest.approx(2.0**-11, rel=1e-3)


def test_results_of_training_may_need_gradients() -> None:
    """They are compared all the same, and nothing is added to their graph."""
    found: Tensor = torch.ones(2, requires_grad=True)
    assert largest_difference([found * 2], [torch.ones(2)]) == 1.0


def test_a_missing_output_is_no_match() -> None:
    """A runtime that gives fewer outputs would else be compared on what it gives."""
    with pytest.raises(ValueError, match="zip"):
        largest_difference([torch.ones(1)], [torch.ones(1), torch.ones(1)])
