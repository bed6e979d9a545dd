"""The JSON that commands print."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.documents.base import to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner, max_size=9),
)


@given(VALUES)
def test_json_reads_back_as_it_was(value: object) -> None:
    """However it was broken into lines."""
    assert json.loads(to_json(value)) == value


def test_what_fits_on_a_line_stands_on_one() -> None:
    """A stage is a line, the settings are not."""
    stage = {"expansion": 6, "channels": 24, "repeats": 2, "stride": 2}
    lines = to_json({"stages": [stage] * 7}).splitlines()
    assert len(lines) == 11
    assert lines[2] == '    {"expansion": 6, "channels": 24, "repeats": 2, "stride": 2},'


def test_a_number_that_json_lacks_is_an_error() -> None:
    """Rather than a document that no parser reads."""
    with pytest.raises(ValueError, match="JSON"):
        to_json({"latency": float("nan")})
