"""`mnfpn sweep`."""

from dataclasses import replace
from typing import TYPE_CHECKING

from mnfpn_cli.cli.groups import command_line, grouped
from mnfpn_cli.cli.interrupts import stopping
from mnfpn_cli.cli.measuring import SamplingOptions
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.paths import check_not_read
from mnfpn_cli.cli.space_options import BudgetOptions, SpaceOptions
from mnfpn_cli.cli.store_options import OptionalStoreOption
from mnfpn_cli.cli.sweep_options import SweepOptions
from mnfpn_cli.errors import INTERRUPTED, MnfpnError
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnfpn_cli.documents.sweep import ExpectedRecord
    from mnfpn_cli.sweep.run import SweepCallbacks, SweepOutcome
    from mnfpn_cli.sweep.start import Chosen


class SweepInterruptedError(MnfpnError):
    """A signal ended a sweep between two runs."""

    exit_code = INTERRUPTED


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
        mnfpn sweep --space space.json --measure 30 --predict --store runs.db
        mnfpn sweep --resume --store runs.db
    """
    from mnfpn_cli.cli.output import warn
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.sweep.run import SweepCallbacks, defer_sweep, expected_time, plan_sweep, resume_sweeps, run_sweep

    options.check(space, budget, sampling, store)
    workers, changes, remeasure = options.workers(), options.changes(), options.remeasure()
    if options.resume:
        assert store is not None
        _measure(lambda callbacks: resume_sweeps(store, workers, options.retry_failed, changes, callbacks), output)
        return
    lasting = replace(options, dry_run=False, again=False, retry_failed=False, ray=None)
    command = command_line("mnfpn sweep", space, budget, lasting, sampling)
    stated, limits = space.read(), budget.budget()
    if output.output is not None:
        check_not_read("--output", output.output, stated.files)
    with progress_bar() as progress:
        chosen = plan_sweep(
            stated,
            limits,
            options.measure,
            command,
            options.ray,
            progress,
            options.scoring(),
            options.predict,
        )
    measuring = options.measuring(sampling, limits.latency_s)
    if store is None or options.dry_run:
        timed = (chosen, measuring, sampling.sampling(), workers, remeasure)
        _show_space(chosen, expected_time(store, *timed) if chosen.runs else None, output)
    elif options.measure == "none":
        _show_space(defer_sweep(store, chosen, measuring, workers, remeasure, SweepCallbacks(note=warn)), None, output)
    else:
        _measure(lambda callbacks: run_sweep(store, chosen, measuring, workers, remeasure, callbacks), output)


def _show_space(chosen: "Chosen", expected: "ExpectedRecord | None", output: OutputOptions) -> None:
    """Print the runs of a space, and which of them would be measured."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.sweep import space_report
    from mnfpn_cli.sweep.start import space_document

    document = space_document(chosen, expected)
    emit(space_report(document), document, output)


def _measure(run: "Callable[[SweepCallbacks], SweepOutcome]", output: OutputOptions) -> None:
    """Measure sweeps, and print their result.

    Raises:
        SweepInterruptedError: if a signal ended them.
        MnfpnError: if runs failed, or none was measured; or if the store or the machines fail.
    """
    from mnfpn_cli.api.sweeping import outcome_document
    from mnfpn_cli.cli.output import emit, warn
    from mnfpn_cli.cli.sweep_progress import sweep_bar, training_bar
    from mnfpn_cli.report.terminal.sweep import swept_report
    from mnfpn_cli.sweep.run import SweepCallbacks

    printed = set[str]()
    outcome = run(SweepCallbacks(lambda runs: sweep_bar(runs, printed), stopping, warn, training_bar))
    document = outcome_document(outcome)
    emit(swept_report(document), document, output)
    if outcome.stopped:
        left = counted(outcome.left, "run") + (f", {counted(outcome.to_train, 'training')}" if outcome.to_train else "")
        raise SweepInterruptedError(f"interrupted: {left} left; resume with: {outcome.resume}")
    if outcome.failures:
        raise MnfpnError("\n".join(outcome.failures))
