"""`mnfpn sweep`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.cli.groups import command_line, grouped
from mnfpn_cli.cli.measuring import SamplingOptions
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.paths import check_not_read
from mnfpn_cli.cli.space_options import BudgetOptions, SpaceOptions
from mnfpn_cli.cli.store_options import OptionalStoreOption
from mnfpn_cli.cli.sweep_options import SweepOptions
from mnfpn_cli.errors import UsageError

if TYPE_CHECKING:
    from mnfpn_cli.sweep.start import Chosen


WORTH_A_CLUSTER = 100_000
"""The number of runs from which a cluster plans them: fewer are planned faster here."""


@grouped
def sweep(
    *,
    store: OptionalStoreOption = None,
    options: SweepOptions,
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
    from mnfpn_cli.cli.sweep_measure import resume_sweeps, run_sweep
    from mnfpn_cli.cli.sweep_progress import expected_time, show_space

    options.check(space, budget, sampling, store)
    if options.resume:
        assert store is not None
        resume_sweeps(store, options, output)
        return
    lasting = replace(options, dry_run=False, again=False, retry_failed=False, ray=None)
    command = command_line("mnfpn sweep", space, budget, lasting, sampling)
    chosen = _choose(space, budget, options, command, output.output)
    measuring = options.measuring(sampling, budget.budget().latency_s)
    if store is None or options.dry_run:
        expected = expected_time(store, chosen, measuring, sampling.sampling(), options) if chosen.runs else None
        show_space(chosen, expected, output)
    else:
        run_sweep(store, chosen, measuring, options, output)


def _choose(
    space: SpaceOptions, budget: BudgetOptions, options: SweepOptions, command: str, output: Path | None
) -> "Chosen":
    """Plan the space, and choose the runs to measure.

    ``command``: the command line to record.

    Raises:
        UsageError: if no run is valid, or the output would replace a settings file that the space names.
    """
    from mnfpn_cli.cli.stderr import progress_bar
    from mnfpn_cli.space.frontier import choose
    from mnfpn_cli.space.planned import plan_space
    from mnfpn_cli.sweep.start import Chosen

    stated, limits = space.read(), budget.budget()
    if output is not None:
        check_not_read("--output", output, stated.files)
    with progress_bar() as progress:
        if options.ray is not None and stated.count >= WORTH_A_CLUSTER:
            from mnfpn_cli.sweep.ray.plan import plan_on

            planned = plan_on(options.ray, stated, limits, progress)
        else:
            planned = plan_space(stated, limits, progress)
    if planned.invalid and not planned.runs and not planned.cut:
        raise UsageError("\n".join(planned.invalid))
    return Chosen(choose(planned.runs, options.measure), planned, options.measure, command)
