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
    from mnfpn_cli.sweep.run import SweepOutcome


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
    from mnfpn_cli.api.sweeping import outcome_document, swept
    from mnfpn_cli.cli.output import emit, warn
    from mnfpn_cli.cli.sweep_progress import sweep_bar, training_bar
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.documents.sweep import PlannedDocument
    from mnfpn_cli.report.terminal.sweep import sweep_tables
    from mnfpn_cli.sweep.run import SweepCallbacks

    options.check(space, budget, sampling, store)
    lasting = replace(options, dry_run=False, again=False, retry_failed=False, ray=None)
    command = command_line("mnfpn sweep", space, budget, lasting, sampling)
    stated, limits = space.read(), budget.budget()
    if output.output is not None:
        check_not_read("--output", output.output, stated.files)
    printed = set[str]()
    callbacks = SweepCallbacks(lambda runs: sweep_bar(runs, printed), stopping, warn, training_bar)
    found = swept(store, stated, limits, options.case(sampling), command, progress_bar, callbacks)
    document = found if isinstance(found, PlannedDocument) else outcome_document(found)
    emit(sweep_tables(document), document, output)
    if not isinstance(found, PlannedDocument):
        _check(found)


def _check(outcome: "SweepOutcome") -> None:
    """Check that sweeps ended well.

    Raises:
        SweepInterruptedError: if a signal ended them.
        MnfpnError: if runs failed, or none was measured.
    """
    if outcome.stopped:
        left = counted(outcome.left, "run") + (f", {counted(outcome.to_train, 'training')}" if outcome.to_train else "")
        raise SweepInterruptedError(f"interrupted: {left} left; resume with: {outcome.resume}")
    if outcome.failures:
        raise MnfpnError("\n".join(outcome.failures))
