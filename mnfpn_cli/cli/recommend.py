"""`mnfpn recommend`."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.completion import offering, runtime_words
from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.options import OutputOptions, device_option, whole
from mnfpn_cli.cli.space_options import BudgetOptions
from mnfpn_cli.cli.store_options import RunFilter, StoreOption, choose_runs, device_filter
from mnfpn_cli.cli.words import as_option
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.measuring import check_device_name, choose_runtimes

if TYPE_CHECKING:
    from mnfpn_cli.store.rows import StoredRun


@grouped
def recommend(
    store: StoreOption,
    budget: BudgetOptions,
    output: OutputOptions,
    device: Annotated[str | None, device_option("Include only runs of this device.")] = None,
    runtime: Annotated[
        str | None,
        Option(
            help="Include only runs of these runtimes, as eager,fused.",
            metavar="NAME",
            autocompletion=offering(runtime_words),
        ),
    ] = None,
    batch: Annotated[
        int | None, Option(help="Include only runs with N images in a batch.", metavar="N", parser=whole("--batch", 1))
    ] = None,
) -> None:
    """Recommend measured runs within a budget.

    The runs with the most capacity come first. The result also shows what more capacity would cost.

    Examples:
        mnfpn recommend --store runs.db --max-latency 30ms
        mnfpn recommend --store runs.db --max-macs 5G --device cuda
    """
    from mnfpn_cli.cli.command_lines import next_commands
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.recommend import OBJECTIVE, recommend_report
    from mnfpn_cli.space.frontier import largest_product
    from mnfpn_cli.sweep.recommend import recommend as choose
    from mnfpn_cli.sweep.recommend import recommend_document

    given, limits = _as_typed(budget), budget.budget()
    filters = _filters(device, runtime, batch)
    runs, drift = _measured(store)
    found = choose(choose_runs(runs, filters, "measured runs"), limits, largest_product(runs))
    document = recommend_document(found, OBJECTIVE, given, drift, next_commands)
    emit(recommend_report(document), document, output)
    if not any(one.picks for one in found):
        words = ", ".join(f"{as_option(name)} {value}" for name, value in given.items())
        raise MnfpnError(f"no measured run is within {words}")


def _measured(store: str) -> "tuple[list[StoredRun], list[str]]":
    """Read the measured runs of a store, and the lines about the drift of its machines.

    Raises:
        MnfpnError: if the store cannot be read, or has no measured run.
    """
    from mnfpn_cli.report.terminal.sweep import moved_lines
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import read_baselines
    from mnfpn_cli.sweep.drift import moved_baselines

    with open_store(store) as opened:
        runs = read_runs(opened, status="done")
        if not runs:
            raise MnfpnError(f"--store: no run in {opened.name} is measured yet")
        return runs, moved_lines(moved_baselines(read_baselines(opened)))


def _filters(device: str | None, runtime: str | None, batch: int | None) -> list[RunFilter]:
    """Return the filters of these options.

    Raises:
        UsageError: if a device or runtime is unknown.
    """
    filters = []
    if device is not None:
        filters.append(device_filter(check_device_name(device)))
    if runtime is not None:
        runtimes = choose_runtimes([runtime])
        filters.append(RunFilter("--runtime", runtime, lambda one: one.execution.runtime, runtimes.__contains__))
    if batch is not None:
        filters.append(RunFilter("--batch", batch, lambda one: one.execution.batch, batch.__eq__))
    return filters


def _as_typed(budget: BudgetOptions) -> dict[str, str]:
    """Return the limits as they were typed, by parameter.

    Raises:
        UsageError: if none was given.
    """
    names = [one.name for one in fields(budget)]
    given = {name: value for name in names if (value := getattr(budget, name)) is not None}
    if not given:
        options = ", ".join(map(as_option, names))
        raise UsageError(f"recommend: must have a budget ({options}); mnfpn report shows the whole frontier")
    return given
