"""Per cent have one spelling."""

import ast
from pathlib import Path

import pytest

import mnfpn_cli
from mnfpn_cli.text import percent

SOURCES = sorted(Path(mnfpn_cli.__file__).parent.rglob("*.py"))
HELP = ("cli/compare_sides.py", "cli/measuring.py")
"""Where defaults of options are printed, as they can be typed."""


@pytest.mark.parametrize(("share", "digits", "text"), [(0.831, ".1f", "83.1 %"), (-0.05, "+.0f", "-5 %")])
def test_a_share_is_told_in_per_cent(share: float, digits: str, text: str) -> None:
    """With a space before the sign."""
    assert percent(share, digits) == text


def test_nothing_else_makes_per_cent() -> None:
    """No `{share:.1%}`, which has no space."""
    made = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        if not path.as_posix().endswith(HELP)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None
        if ast.unparse(node.format_spec).rstrip("'\"").endswith("%") and "%Y" not in ast.unparse(node.format_spec)
    ]
    assert made == []
