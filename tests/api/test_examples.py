"""The examples in the docstrings of the Python API run, and print what they say."""

import doctest
import pkgutil
from importlib import import_module

import pytest

from mnfpn_cli import api

MODULES = sorted(found.name for found in pkgutil.iter_modules(api.__path__, "mnfpn_cli.api."))
WITHOUT = {"Plan", "Side", "NetworkSettings", "Problem", "MnfpnError", "UsageError", "CheckError"}
"""Values and errors, which the functions return, take and raise."""


def examples(module: str) -> list[doctest.DocTest]:
    """Return the docstrings of a module that have examples."""
    found = doctest.DocTestFinder().find(import_module(module))
    return [one for one in found if one.examples]


@pytest.mark.parametrize(
    "example", [one for module in MODULES for one in examples(module)], ids=lambda example: example.name
)
def test_an_example_runs(example: doctest.DocTest) -> None:
    """It prints what its docstring says."""
    report: list[str] = []
    done = doctest.DocTestRunner().run(example, out=report.append)
    assert done.failed == 0, "".join(report)


def test_every_function_has_an_example() -> None:
    """Also those that are added later."""
    shown = {one.name.rpartition(".")[2] for module in MODULES for one in examples(module)}
    assert set(api.__all__) - WITHOUT <= shown
