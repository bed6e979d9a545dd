"""The plug-in of pytest: fixtures that know what the project allows. Each imports what it needs when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(name="assert_clean")
def _clean(pytestconfig: pytest.Config) -> Callable[..., None]:
    """`mnfpn_cli.testing.assert_clean`, which also allows what ``[tool.mnfpn.audit]`` of the project allows."""

    def assert_clean(network: Any, *passes: Any, size: Any = None, allow: Any = ()) -> None:
        __tracebackhide__ = True
        from mnfpn_cli.testing.asserts import check_clean

        check_clean(network, passes, size, allow, pytestconfig.rootpath)

    return assert_clean


@pytest.fixture(name="assert_budget")
def _budget() -> Callable[..., None]:
    """`mnfpn_cli.testing.assert_budget`."""
    from mnfpn_cli.testing import asserts

    return asserts.assert_budget
