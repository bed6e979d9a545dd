"""Select the runs of a store by their properties."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.measuring import check_device_name, choose_runtimes
from mnfpn_cli.store.rows import StoredRun


@dataclass(frozen=True)
class RunFilter:
    """A parameter that selects runs by one of their properties.

    Attributes:
        parameter: its name, in backquotes.
        value: the value that was given.
        of: returns the property of a run.
        keeps: returns whether runs with this property are selected.
    """

    parameter: str
    value: str | int
    of: Callable[[StoredRun], str | int]
    keeps: Callable[[str | int], bool]


def device_filter(device: str) -> RunFilter:
    """Select the runs of a device; ``cuda`` stands for every CUDA device."""
    return RunFilter("`device`", device, lambda run: run.device, lambda of: device in (of, str(of).partition(":")[0]))


def choose_runs(runs: list[StoredRun], filters: Iterable[RunFilter], called: str = "runs") -> list[StoredRun]:
    """Return the runs that all filters select; ``called`` names the runs in messages.

    Raises:
        UsageError: where a filter selects none of the runs that are left; the message lists their values.
    """
    before: list[str] = []
    for filter in filters:
        selected = [run for run in runs if filter.keeps(filter.of(run))]
        if runs and not selected:
            values = ", ".join(map(str, sorted({filter.of(run) for run in runs})))
            given = f" with {' '.join(before)}" if before else ""
            rule = f"must be one that the store has {called} of{given} ({values})"
            raise UsageError(Problem(filter.parameter, rule, repr(filter.value)))
        before.append(f"{filter.parameter} {filter.value}")
        runs = selected
    return runs


def run_filters(device: str | None, runtime: str | None, batch: int | None) -> list[RunFilter]:
    """Return the filters by device, runtimes and batch; None for none.

    ``runtime``: names, separated by commas.

    Raises:
        UsageError: where a device or runtime is unknown.
    """
    filters = []
    if device is not None:
        filters.append(device_filter(check_device_name(device)))
    if runtime is not None:
        runtimes = choose_runtimes([runtime])
        filters.append(RunFilter("`runtime`", runtime, lambda one: one.execution.runtime, runtimes.__contains__))
    if batch is not None:
        filters.append(RunFilter("`batch`", batch, lambda one: one.execution.batch, batch.__eq__))
    return filters
