"""`mnfpn sweep`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.cli.groups import grouped, spelled
from mnfpn_cli.cli.measuring import SamplingOptions
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.paths import check_not_read
from mnfpn_cli.cli.sweep_options import BudgetOptions, OptionalStoreOption, SpaceOptions, SweepOptions
from mnfpn_cli.errors import UsageError

if TYPE_CHECKING:
    from mnfpn_cli.sweep.start import Chosen


WORTH_A_CLUSTER = 100_000
"""Runs from which on a cluster plans them: fewer take less time here than sending them around."""


@grouped
def sweep(
    *,
    store: OptionalStoreOption = None,
    how: SweepOptions,
    space: SpaceOptions,
    budget: BudgetOptions,
    sampling: SamplingOptions,
    output: OutputOptions,
) -> None:
    """Plan every network of a design space, and measure the chosen ones.

    The budget and --measure choose the runs. Each run is measured in its own process.

    Examples:
        mnfpn sweep --width-mult 0.5,0.75,1.0 --size 320,640 --measure none
        mnfpn sweep --width-mult 0.5,1.0 --store runs.db --dry-run
        mnfpn sweep --resume --store runs.db
    """
    from mnfpn_cli.cli.sweep_measure import go_on, measure
    from mnfpn_cli.cli.sweep_progress import expect_of, show

    how.check(space, budget, sampling, store)
    if how.resume:
        assert store is not None
        go_on(store, how, output)
        return
    command = spelled(
        "mnfpn sweep", space, budget, replace(how, dry_run=False, again=False, retry_failed=False, ray=None), sampling
    )
    chosen, manner = _choose(space, budget, how, command, output.output), how.how(sampling, budget.budget().latency_s)
    if store is None or how.dry_run:
        expected = expect_of(store, chosen, manner, sampling.sampling(), how) if chosen.runs else None
        show(chosen, expected, output)
        return
    measure(store, chosen, manner, how, output)


def _choose(
    space: SpaceOptions, budget: BudgetOptions, how: SweepOptions, command: str, output: Path | None
) -> "Chosen":
    """The space worked out, and the runs of it that are to be measured.

    Raises:
        UsageError: where no run is valid, or the output would replace a settings file that the space names.
    """
    from mnfpn_cli.cli.stderr import progress_bar
    from mnfpn_cli.space.frontier import choose
    from mnfpn_cli.space.planned import plan_space
    from mnfpn_cli.sweep.start import Chosen

    stated, limits = space.read(), budget.budget()
    if output is not None:
        check_not_read("--output", output, stated.files)
    with progress_bar() as progress:
        if how.ray is not None and stated.count >= WORTH_A_CLUSTER:
            from mnfpn_cli.sweep.ray.plan import plan_on

            planned = plan_on(how.ray, stated, limits, progress)
        else:
            planned = plan_space(stated, limits, progress)
    if planned.invalid and not planned.runs and not planned.cut:
        raise UsageError("\n".join(planned.invalid))
    return Chosen(choose(planned.runs, how.measure), planned, how.measure, command)
