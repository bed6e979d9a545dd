"""`mnfpn recommend`."""

from dataclasses import fields
from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import command_line, grouped
from mnfpn_cli.cli.interrupts import stopping
from mnfpn_cli.cli.options import OutputOptions, whole
from mnfpn_cli.cli.paths import check_not_read
from mnfpn_cli.cli.space_options import BudgetOptions, SpaceOptions
from mnfpn_cli.cli.store_options import MetricOption, OptionalStoreOption
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.text import as_option

FILTERS = ("device", "runtime", "batch")
"""The options of a space that select the runs of a store, where they stand alone."""


@grouped
def recommend(
    budget: BudgetOptions,
    space: SpaceOptions,
    output: OutputOptions,
    store: OptionalStoreOption = None,
    predict: Annotated[
        bool,
        Option("--predict", help="Consider pending runs too: predict them, and measure the promising ones."),
    ] = False,
    metric: MetricOption = None,
) -> None:
    """Recommend measured runs within a budget.

    The runs with the highest score come first. The result also shows what a higher score would cost. Of a store,
    --device, --runtime and --batch select runs. With networks to choose from, it measures some of them, predicts the
    others, and measures the promising ones: minutes, not hours.

    Examples:
        mnfpn recommend --store runs.db --max-latency 30ms
        mnfpn recommend --store runs.db --max-latency 30ms --predict
        mnfpn recommend --width-mult 0.35,0.5,0.75,1.0 --size 320 --max-latency 30ms
    """
    from mnfpn_cli.api.recommending import recommended, recommended_of_space
    from mnfpn_cli.cli.output import emit, warn
    from mnfpn_cli.cli.stderr import write_error
    from mnfpn_cli.cli.sweep_progress import sweep_bar
    from mnfpn_cli.cli.talk import progress_bar, talk
    from mnfpn_cli.report.terminal.recommend import recommend_report
    from mnfpn_cli.store.filters import run_filters
    from mnfpn_cli.sweep.answer import Question
    from mnfpn_cli.sweep.run import SweepCallbacks

    given, limits = _as_typed(budget), budget.budget()
    of_space = [one.name for one in fields(space) if getattr(space, one.name) != one.default]
    printed, say = set[str](), write_error if not talk().quiet else lambda _line: None
    callbacks = SweepCallbacks(lambda runs: sweep_bar(runs, printed), stopping, warn)
    if store is not None and not set(of_space) - set(FILTERS):
        question = Question(limits, run_filters(*_filters(space)), metric)
        document = recommended(store, question, given, predict, callbacks, say)
    elif not set(of_space) - set(FILTERS):
        names = ", ".join(map(as_option, ("width_mult", "size")))
        raise UsageError(Problem("recommend", f"must have --store STORE, or networks to choose from ({names}, ...)"))
    else:
        if predict:
            raise UsageError("--predict: cannot be used with networks to choose from, which are predicted anyway")
        stated = space.read()
        if output.output is not None:
            check_not_read("--output", output.output, stated.files)
        command = command_line("mnfpn recommend", space, budget)
        question = Question(limits, (), metric)
        document = recommended_of_space(store, stated, question, given, command, progress_bar, callbacks, say)
    emit(recommend_report(document), document, output)
    if not any(one.picks for one in document.recommendations):
        words = ", ".join(f"{as_option(name)} {value}" for name, value in given.items())
        raise MnfpnError(f"no measured run is within {words}")


def _filters(space: SpaceOptions) -> tuple[str | None, str | None, int | None]:
    """Return the device, the runtimes and the batch that select runs of a store.

    Raises:
        UsageError: if there are several devices or batches.
    """
    for name in ("device", "batch"):
        texts = getattr(space, name) or ()
        if len(texts) > 1 or any("," in text for text in texts):
            raise UsageError(
                Problem(as_option(name), "must be one value for the runs of a store", f"'{','.join(texts)}'")
            )
    batch = whole("--batch", 1)(space.batch[0]) if space.batch else None
    return space.device[0] if space.device else None, ",".join(space.runtime) if space.runtime else None, batch


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
