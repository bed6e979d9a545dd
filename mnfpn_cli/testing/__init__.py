"""Assertions about networks for tests: nothing is wrong with one, and it costs no more than it may.

``from mnfpn_cli.testing import assert_clean, assert_budget``; or ask for the fixtures of the same names, which pytest
has where mnfpn is installed, and which allow what ``[tool.mnfpn.audit]`` of the project's ``pyproject.toml`` allows.
Importing this does not import torch.
"""

from mnfpn_cli.testing.asserts import assert_budget, assert_clean

__all__ = ["assert_budget", "assert_clean"]
