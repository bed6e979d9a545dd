"""The two tiers, for tests that are in both with more or less of their cases; `tests/conftest.py` runs them."""

from collections.abc import Sequence

import pytest
from hypothesis import settings


def slow_but(quick: str, values: Sequence[str]) -> list[object]:
    """The cases of a parameter, of which the quick tier takes one."""
    assert quick in values, quick
    return [value if value == quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


def at_most(examples: int) -> settings:
    """Fewer examples for a property that takes long, and no more than the tier allows."""
    return settings(max_examples=min(examples, settings().max_examples))
