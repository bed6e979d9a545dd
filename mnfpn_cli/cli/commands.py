"""The commands of `mnfpn`: their names and one line about each; a command itself is made when it is asked for.

To import a command with all its options takes longer than most of what a plan answers.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from typer import Typer
from typer.main import get_command

from mnfpn_cli.cli.help import Command, Summary

LOOK, MEASURE, SEARCH, SETTINGS = "Look into a network", "Measure and export", "Search among many networks", "Settings"

SUMMARIES = (
    Summary("summary", "Show the layers of a network: shapes, parameters, MACs.", LOOK),
    Summary("shapes", "Show the feature maps that come out: level, stride, shape, bytes.", LOOK),
    Summary("audit", "Check layers and pyramid for mistakes; exit 3 if there are any.", LOOK),
    Summary("bench", "Measure what a network costs and how fast it runs here.", MEASURE),
    Summary("compare", "Say which of two networks is faster.", MEASURE),
    Summary("export", "Write a network to a file, and check the file against the network.", MEASURE),
    Summary("sweep", "Plan every network of a design space, and measure the chosen ones.", SEARCH),
    Summary("report", "Show the measured frontier of a store, also as a page or picture.", SEARCH),
    Summary("recommend", "Name the best measured cells under a budget.", SEARCH),
    Summary("runs", "List, show, prune, merge and export what a store holds.", SEARCH),
    Summary(
        "schema",
        "Print the JSON Schema of a document or of a settings file: every key, with its meaning and unit.",
        SETTINGS,
    ),
    Summary("settings", "Show settings and presets.", SETTINGS),
)
"""In the order of the help page. Each line is the first of the command's own page."""

NAMES = tuple(one.name for one in SUMMARIES)


class Commands(Mapping[str, Any]):
    """The commands by their names, each made once, when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        return _made(name)

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@cache
def _made(name: str) -> Any:
    """Import the module of a command, and have typer make it; a group of commands is a typer application there."""
    found = getattr(import_module(f"mnfpn_cli.cli.{name}"), name)
    if isinstance(found, Typer):
        return get_command(found)
    app = Typer(add_completion=False)
    app.command(name, cls=Command)(found)
    return get_command(app)
