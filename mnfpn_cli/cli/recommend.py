"""`mnfpn recommend`."""

from dataclasses import fields
from typing import Annotated

from typer import Option

from mnfpn_cli.cli.completion import offering, runtime_words
from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.options import OutputOptions, device_option, whole
from mnfpn_cli.cli.space_options import BudgetOptions
from mnfpn_cli.cli.store_options import MetricOption, StoreOption
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.text import as_option


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
    metric: MetricOption = None,
    batch: Annotated[
        int | None, Option(help="Include only runs with N images in a batch.", metavar="N", parser=whole("--batch", 1))
    ] = None,
) -> None:
    """Recommend measured runs within a budget.

    The runs with the highest score come first. The result also shows what a higher score would cost.

    Examples:
        mnfpn recommend --store runs.db --max-latency 30ms
        mnfpn recommend --store runs.db --max-macs 5G --device cuda
    """
    from mnfpn_cli.api.sweeping import recommended
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.recommend import recommend_report
    from mnfpn_cli.store.filters import run_filters

    given, limits = _as_typed(budget), budget.budget()
    document = recommended(store, limits, given, run_filters(device, runtime, batch), metric)
    emit(recommend_report(document), document, output)
    if not any(one.picks for one in document.recommendations):
        words = ", ".join(f"{as_option(name)} {value}" for name, value in given.items())
        raise MnfpnError(f"no measured run is within {words}")


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
