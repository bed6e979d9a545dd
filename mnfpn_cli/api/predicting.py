"""Predict the times of runs that were not measured, from those that a store has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnfpn_cli.api.arguments import file_name, words
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.api.sweeping import space_of
from mnfpn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnfpn_cli.api.arguments import FileName
    from mnfpn_cli.documents.predict import PredictDocument
    from mnfpn_cli.space.axes import Space
    from mnfpn_cli.text import ReportProgress


def predict(
    store: FileName,
    space: Mapping[str, Any] | FileName,
    *,
    machine: str | None = None,
    progress: Progress = None,
) -> PredictDocument:
    """Predict the time of a pass of each run of a space, with a 90 % interval, from the measured runs of a store.

    A model is fitted for each device, runtime, dtype and batch, on all runs of the store that it has measured so.

    Args:
        store: an SQLite file or PostgreSQL URL.
        space: the choices of each key, as for `sweep`; one choice of each key is one run.
        machine: the kind of machine to predict for, as the store names it; this one where it is not given, or the only
            one that the store has.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Returns:
        The document; the runs that could not be predicted are in ``not_predicted``.

    Raises:
        UsageError: where an argument is wrong, no combination is a valid network, or the store has no measured run of
            the machine.
        MnfpnError: where no run can be predicted, as of too few measured ones, or SciPy is not installed.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> mnfpn.predict("none.db", {"size": ["320"]})
        Traceback (most recent call last):
        mnfpn_cli.errors.UsageError: store: must be a store, but there is no file 'none.db'
    """
    on = None if machine is None else words("machine", machine)[0]
    name, stated = file_name("store", store), space_of(space)
    with reporting(progress) as report:
        return predicted(name, stated, on, report)


def predicted(store: str, space: Space, machine: str | None, progress: ReportProgress) -> PredictDocument:
    """Predict the runs of a space.

    Args:
        store: the file or URL.
        space: the runs.
        machine: the kind of machine; None for this one, or the only one of the store.
        progress: is called with what is being done.

    Raises:
        UsageError: where no combination is a valid network, or the store has no measured run of the machine.
        MnfpnError: where no run can be predicted, the store cannot be read, or SciPy is not installed.
    """
    from mnfpn_cli.space.planned import Budget, plan_space
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.sweep.predict_document import predict_space
    from mnfpn_cli.sweep.predictions import check_installed
    from mnfpn_cli.sweep.start import this_machine

    check_installed()
    with open_store(store):
        pass  # fail before a space is planned, which can take a minute
    planned = plan_space(space, Budget(), progress)
    if planned.invalid and not planned.runs:
        raise UsageError("\n".join(planned.invalid))
    return predict_space(store, planned, machine, this_machine())
