"""Predict the times of runs that were not measured: a model for each kind of run that a store has measured."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from statistics import median
from typing import NamedTuple

from mnfpn_cli.documents.records import LatencyModelRecord, PredictionRecord
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.predict.model import LatencyModel, Prediction, Sample
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.measuring import Allocator
from mnfpn_cli.space.planned import Planned
from mnfpn_cli.space.runs import ANY_DEVICE, Execution
from mnfpn_cli.store.rows import BaselineTiming, StoredRun
from mnfpn_cli.sweep.drift import drifts_of
from mnfpn_cli.sweep.frontier import CorrectedRun, TimingGroup, timed_runs
from mnfpn_cli.text import counted, percent

GOOD = 0.1
"""The relative error that `LatencyModelRecord.within_10` counts to."""

GOOD_SHARE = 0.8
"""The share of errors within `GOOD` below which a warning says that predictions are poor."""


def check_installed() -> None:
    """Check that what models are fitted with is installed.

    Raises:
        MnfpnError: where it is not.
    """
    if find_spec("scipy") is None:
        raise MnfpnError("predictions need SciPy, which is not installed: pip install 'mnfpn[predict]'")


class Kind(NamedTuple):
    """What the runs of one model have in common.

    Attributes:
        machine: the machine or GPU that measured them.
        device: the device that they used.
        runtime: what executes them.
        dtype: the element type that they compute in.
        batch: images in a batch.
        threads: CPU threads that were asked for; None for torch's choice.
        train: whether a pass is a training step.
        allocator: what happens to memory that a pass frees.
    """

    machine: str
    device: str
    runtime: str
    dtype: DType
    batch: int
    threads: int | None
    train: bool
    allocator: Allocator

    @property
    def group(self) -> TimingGroup:
        """The runs whose times are comparable with theirs."""
        return TimingGroup(self.machine, self.device, self.batch, self.train)

    def fits(self, execution: Execution) -> bool:
        """Return whether a run with this execution is of this kind, apart from its machine and device."""
        own = Execution(
            self.runtime, execution.device, self.dtype, self.batch, self.threads, self.train, self.allocator
        )
        return own == execution


@dataclass
class Learned:
    """The measured runs of one kind, and the model of them.

    Attributes:
        kind: what they have in common.
        samples: the runs.
        machines: the kinds of machine that sweeps planned them for.
        devices: the devices that were asked for, and the one that they used.
    """

    kind: Kind
    samples: list[Sample] = field(default_factory=list)
    machines: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    _model: LatencyModel | MnfpnError | None = None

    def add(self, timed: CorrectedRun) -> None:
        """Add a measured run."""
        self.samples.append(sample_of(timed))
        self.machines |= {timed.run.target_machine}
        self.devices |= {timed.run.device, timed.run.execution.device}

    @property
    def model(self) -> LatencyModel:
        """The model, fitted when it is first used.

        Raises:
            MnfpnError: where there are too few runs; it says how many more are needed.
        """
        if self._model is None:
            try:
                self._model = LatencyModel.fit(self.samples)
            except MnfpnError as error:
                self._model = error
        if isinstance(self._model, MnfpnError):
            raise self._model
        return self._model

    @property
    def record(self) -> LatencyModelRecord:
        """The record of the model, with its cross-validated errors.

        Raises:
            MnfpnError: as `model`.
        """
        errors, kind = [abs(one) for one in self.model.errors], self.kind
        return LatencyModelRecord(
            **kind._asdict(),
            learned_from=len(self.samples),
            median_error=median(errors),
            within_10=sum(one <= GOOD for one in errors) / len(errors),
        )


def sample_of(timed: CorrectedRun) -> Sample:
    """Return a measured run as a model learns from it, its times corrected for drift."""
    profile = timed.run.profile
    layers = (
        {(one.path, one.part): one.seconds / timed.drift for one in profile.layers if one.seconds} if profile else {}
    )
    return Sample(timed.run.planned, timed.seconds, layers or None)


class Predicted(NamedTuple):
    """The predicted time of a run, and the kind of runs that it was learned from."""

    prediction: Prediction
    kind: Kind

    @property
    def record(self) -> PredictionRecord:
        """The record of the prediction."""
        return PredictionRecord(**self.prediction._asdict())


@dataclass(frozen=True)
class Predictions:
    """Predicted times of runs.

    Attributes:
        found: the predictions, by the index of the run.
        models: the models that made them.
        missing: the number of runs that could not be predicted, by reason.
    """

    found: Mapping[int, Predicted]
    models: tuple[LatencyModelRecord, ...]
    missing: Mapping[str, int]

    @property
    def warnings(self) -> list[str]:
        """A sentence for each model that predicts badly, and for runs that lie beyond it or could not be predicted."""
        lines = [f"{counted(number, 'run')} could not be predicted: {why}" for why, number in self.missing.items()]
        lines += [
            f"times of {one.runtime} on {one.device} are badly predicted: {percent(one.within_10, '.0f')} of the "
            f"{counted(one.learned_from, 'measured run')} within 10 % of their times, each predicted from the others"
            for one in self.models
            if one.within_10 < GOOD_SHARE
        ]
        beyond = [one.prediction.extrapolated for one in self.found.values() if one.prediction.extrapolated]
        if beyond:
            most = max(sorted(set(beyond)), key=beyond.count)
            are = "lies" if len(beyond) == 1 else "lie"
            lines.append(
                f"{counted(len(beyond), 'predicted run')} {are} outside of what was measured, most often: {most}"
            )
        return lines


class Predictor:
    """Predicts the times of runs from the measured runs of a store."""

    def __init__(self, runs: Iterable[StoredRun], baselines: Sequence[BaselineTiming]) -> None:
        """Group the measured runs among ``runs`` by kind; ``baselines``: of their sweeps, to correct for drift."""
        done = [one for one in runs if one.measured]
        kinds = dict[Kind, Learned]()
        for timed in timed_runs(done, drifts_of(done, baselines)):
            kind = kind_of_run(timed.run)
            kinds.setdefault(kind, Learned(kind)).add(timed)
        self.kinds: Mapping[Kind, Learned] = kinds

    @property
    def machines(self) -> list[str]:
        """The kinds of machine that the store has measured runs of."""
        return sorted({machine for one in self.kinds.values() for machine in one.machines})

    def of(self, execution: Execution, machine: str) -> Learned | None:
        """Return what was learned of runs with this execution; None where none was measured.

        Args:
            execution: that of a run to predict. On ``auto``, it is what ran on ``auto``, or else on the only device.
            machine: the kind of machine, as a sweep plans runs for it.
        """
        able = [one for one in self.kinds.values() if one.kind.fits(execution) and machine in one.machines]
        exact = [one for one in able if execution.device in one.devices]
        if not exact and execution.device == ANY_DEVICE and len({one.kind.device for one in able}) == 1:
            exact = able
        return max(exact, key=lambda one: len(one.samples), default=None)

    def predict(self, runs: Sequence[tuple[Planned, str]]) -> Predictions:
        """Predict the times of runs, each with the kind of machine that it is for."""
        grouped, missing = defaultdict[Kind, list[int]](list), defaultdict[str, int](int)
        known = dict[tuple[Execution, str], Learned | None]()
        for index, (planned, machine) in enumerate(runs):
            asked = (planned.run.execution, machine)
            if asked not in known:
                known[asked] = self.of(*asked)
            learned = known[asked]
            if learned is None:
                missing[f"no run was measured with {asked[0]}"] += 1
            else:
                grouped[learned.kind].append(index)
        found, models = dict[int, Predicted](), list[LatencyModelRecord]()
        for kind, indices in grouped.items():
            learned = self.kinds[kind]
            try:
                predictions = learned.model.predict([runs[index][0] for index in indices])
            except MnfpnError as error:
                missing[f"{kind.runtime} on {kind.device}: {error.message}"] += len(indices)
                continue
            models.append(learned.record)
            found |= {
                index: Predicted(prediction, kind) for index, prediction in zip(indices, predictions, strict=True)
            }
        return Predictions(found, tuple(models), missing)

    def machine(self, asked: str | None, here: str) -> str:
        """Return the kind of machine to predict for.

        Args:
            asked: the one that the user named; None for this machine, or the only one of the store.
            here: the kind of this machine.

        Raises:
            UsageError: where the store has no measured run of it, or none is named and there are several.
            MnfpnError: where the store has no measured run.
        """
        known = self.machines
        if not known:
            raise MnfpnError(Problem("`store`", "has no measured run to predict others from"))
        if asked is not None:
            if asked in known:
                return asked
            rule = f"must be a machine that the store has measured runs of ({'; '.join(known)})"
            raise UsageError(Problem("`machine`", rule, f"'{asked}'"))
        if here in known:
            return here
        if len(known) == 1:
            return known[0]
        rule = f"must be given: the store has no measured run of this machine, {here}, but of {'; '.join(known)}"
        raise UsageError(Problem("`machine`", rule))


def models_of(runs: Iterable[StoredRun], baselines: Sequence[BaselineTiming]) -> tuple[LatencyModelRecord, ...]:
    """Return the records of the models that measured runs allow; kinds with too few runs have none."""
    records = []
    for learned in Predictor(runs, baselines).kinds.values():
        with suppress(MnfpnError):
            records.append(learned.record)
    return tuple(records)


def kind_of_run(run: StoredRun) -> Kind:
    """Return the kind of a measured run."""
    execution = run.execution
    return Kind(
        run.machine,
        run.device,
        execution.runtime,
        execution.dtype,
        execution.batch,
        execution.threads,
        execution.train,
        execution.allocator,
    )


def predict_stored(
    runs: Sequence[StoredRun], known: Sequence[StoredRun], baselines: Sequence[BaselineTiming]
) -> tuple[dict[str, Predicted], Predictions]:
    """Predict the runs of a store that are pending.

    Args:
        runs: the runs to predict; those that are not pending are left out.
        known: the runs to learn from; those that are not measured are left out.
        baselines: all baseline timings of the store.

    Returns:
        The predictions by key, and the same with their models and what is missing.

    Raises:
        MnfpnError: where no pending run can be predicted; it says how many more measured runs are needed.
    """
    check_installed()
    pending = [one for one in runs if one.status == "pending"]
    predictions = Predictor(known, baselines).predict([(one.planned, one.target_machine) for one in pending])
    if pending and not predictions.found:
        raise MnfpnError(*(Problem("`predict`", reason) for reason in predictions.missing))
    return {pending[index].key: one for index, one in predictions.found.items()}, predictions


def for_its_kind(run: StoredRun, predicted: Predicted) -> StoredRun:
    """Return a pending run for the machine and on the device that its prediction is of."""
    planned = run.planned
    execution = replace(planned.run.execution, device=predicted.kind.device)
    at = Planned(replace(planned.run, execution=execution), planned.figures)
    return replace(run, planned=at, target_machine=predicted.kind.machine)
