"""Make the document of `mnfpn predict`: the predicted times of the runs of a space."""

from collections.abc import Sequence

from mnfpn_cli.documents.predict import NotPredicted, PredictDocument, PredictedRun
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.space.frontier import by_macs
from mnfpn_cli.space.planned import PlannedSpace, planned_run
from mnfpn_cli.space.runs import identities, names_of
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import read_baselines
from mnfpn_cli.sweep.drift import drifts_of
from mnfpn_cli.sweep.frontier import timed_runs
from mnfpn_cli.sweep.predictions import Predictor, kind_of_run
from mnfpn_cli.sweep.start import invalid_runs


def predict_space(name: str, space: PlannedSpace, machine: str | None, here: str) -> PredictDocument:
    """Predict the times of the runs of a space from the measured runs of a store.

    Args:
        name: the file or URL of the store.
        space: the runs.
        machine: the kind of machine to predict for; None for this one, or the only one of the store.
        here: the kind of this machine.

    Raises:
        UsageError: where the store has no measured run of the machine.
        MnfpnError: where no run can be predicted, or the store cannot be read.
    """
    with open_store(name) as store:
        location, known, baselines = store.location, read_runs(store, status="done"), read_baselines(store)
    predictor = Predictor(known, baselines)
    on = predictor.machine(machine, here)
    runs = by_macs(space.runs)
    predictions = predictor.predict([(one, on) for one in runs])
    if not predictions.found:
        raise MnfpnError(*(Problem("`store`", reason) for reason in predictions.missing))
    measured = {
        (one.run.planned.run.network, kind_of_run(one.run)): one.seconds
        for one in timed_runs(known, drifts_of(known, baselines))
        if one.run.target_machine == on
    }
    found = [(runs[index], predicted) for index, predicted in sorted(predictions.found.items())]
    named = identities([one.run for one, _ in found])
    return PredictDocument(
        settings=None,
        model=None,
        store=location,
        machine=on,
        models=predictions.models,
        runs=tuple(
            PredictedRun(
                **dict(planned_run(planned).model_copy(update={"device": predicted.kind.device})),
                identity=identity,
                name=name,
                size=str(planned.run.size),
                prediction=predicted.record,
                measured_s=measured.get((planned.run.network, predicted.kind)),
            )
            for (planned, predicted), identity, name in zip(found, named, names_of(named), strict=True)
        ),
        not_predicted=tuple(NotPredicted(runs=number, reason=why) for why, number in predictions.missing.items()),
        invalid=invalid_runs(space.invalid),
        warnings=(*_elsewhere(on, here, machine), *predictions.warnings),
    )


def _elsewhere(machine: str, here: str, asked: str | None) -> Sequence[str]:
    """Say that times are of another machine, where nobody asked for one."""
    if asked is not None or machine == here:
        return ()
    return (
        f"the store has measured runs of {machine} alone: times are predicted for it, not for this machine, {here}",
    )
