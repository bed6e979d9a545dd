"""The options of commands that read a store: the store itself, and filters of its runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.errors import Problem, UsageError

if TYPE_CHECKING:
    from mnfpn_cli.store.rows import StoredRun


@dataclass(frozen=True)
class RunFilter:
    """An option that selects runs by one of their properties.

    Attributes:
        option: its name.
        value: the value that was given.
        of: returns the property of a run.
        keeps: returns whether runs with this property are selected.
    """

    option: str
    value: str | int
    of: "Callable[[StoredRun], str | int]"
    keeps: Callable[[str | int], bool]


def device_filter(device: str) -> RunFilter:
    """Select the runs of a device; ``cuda`` stands for every CUDA device."""
    return RunFilter("--device", device, lambda run: run.device, lambda of: device in (of, str(of).partition(":")[0]))


def choose_runs(runs: "list[StoredRun]", filters: Iterable[RunFilter], called: str = "runs") -> "list[StoredRun]":
    """Return the runs that all filters select; ``called`` names the runs in messages.

    Raises:
        UsageError: if a filter selects none of the runs that are left; the message lists their values.
    """
    before: list[str] = []
    for filter in filters:
        selected = [run for run in runs if filter.keeps(filter.of(run))]
        if runs and not selected:
            values = ", ".join(map(str, sorted({filter.of(run) for run in runs})))
            given = f" with {' '.join(before)}" if before else ""
            rule = f"must be one that the store has {called} of{given} ({values})"
            raise UsageError(Problem(filter.option, rule, repr(filter.value)))
        before.append(f"{filter.option} {filter.value}")
        runs = selected
    return runs


def files_of_store(name: str) -> tuple[Path, ...]:
    """Return the file of a store; nothing for a server.

    Raises:
        UsageError: if the name is neither a file nor the URL of a server.
    """
    from mnfpn_cli.store.store import store_files

    return store_files(name)


STORE_HELP = "Use this SQLite file or PostgreSQL URL as the store."
OptionalStoreOption = Annotated[
    str | None,
    Option(help=STORE_HELP, metavar="STORE"),
    Reads(files_of_store),
]
StoreOption = Annotated[
    str,
    Option(help=STORE_HELP, metavar="STORE"),
    Reads(files_of_store),
]
