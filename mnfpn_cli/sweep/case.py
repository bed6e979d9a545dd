"""What a sweep measures, how, and with which workers: the parameters of Python and the command line alike."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mnfpn_cli.documents.sweep import MeasuringRecord, ScoringRecord
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.space.runs import Run
from mnfpn_cli.store.sweeps import Remeasure
from mnfpn_cli.sweep.pool import Pool, local_pool
from mnfpn_cli.sweep.start import this_machine

ON_RAY = "Ray, "
"""The first words of the machine of runs on a cluster."""


@dataclass(frozen=True, slots=True)
class Workers:
    """What measures the runs: this machine, or a Ray cluster.

    Attributes:
        ray: the address of the cluster; None for this machine.
        accelerator: the kind of GPUs of the cluster to use; None for all.
    """

    ray: str | None = None
    accelerator: str | None = None

    @property
    def machine(self) -> str:
        """The kind of machine; only times of one kind are compared."""
        return this_machine() if self.ray is None else f"{ON_RAY}{self.accelerator or 'any machine'}"

    @contextmanager
    def pool(self, runs: Sequence[Run]) -> Iterator[Pool]:
        """Yield the workers that measure some runs.

        Raises:
            MnfpnError: where the cluster cannot be reached, or none of its machines can measure the runs.
        """
        if self.ray is None:
            with local_pool() as local:
                yield local
            return
        from mnfpn_cli.sweep.ray.pool import ray_pool

        with ray_pool(self.ray, {one.execution.device for one in runs}, self.accelerator) as pool:
            yield pool


@dataclass(frozen=True, slots=True)
class SweepCase:
    """Which runs to measure, and how: the parameters of a sweep besides its space, its budget and its store.

    Attributes:
        measure: which of the runs within the budget: all, none, or a number of them.
        predict: whether the sweep itself chooses among all runs, so that the others can be predicted.
        dry_run: whether only to plan the space, and to estimate the time.
        resume: whether to measure the runs that earlier sweeps left, instead of those of a space.
        again: whether to measure runs that the store has results of, too.
        retry_failed: whether to measure runs that failed before, too.
        by_layer: whether to time each layer too.
        sampling: when a measurement is warm, and when it ends.
        baseline_every: the number of runs after which the baseline run is repeated; None for the usual one.
        run_timeout: the time after which a run is stopped, in seconds; None for the usual one.
        score_command: the command that trains the networks of the chosen runs; None for none.
        score_timeout: the time after which a training is stopped, in seconds; None for the usual one.
        ray: the address of a cluster, which measures the runs and plans a large space; None for this machine.
        accelerator: the kind of GPUs of the cluster to use; None for all.
    """

    measure: str = "all"
    predict: bool = False
    dry_run: bool = False
    resume: bool = False
    again: bool = False
    retry_failed: bool = False
    by_layer: bool = False
    sampling: SamplingRecord = field(default_factory=SamplingRecord)
    baseline_every: int | None = None
    run_timeout: float | None = None
    score_command: str | None = None
    score_timeout: float | None = None
    ray: str | None = None
    accelerator: str | None = None

    @property
    def remeasure(self) -> Remeasure:
        """Which runs are measured again."""
        return Remeasure(self.again, self.retry_failed, self.by_layer)

    @property
    def scoring(self) -> ScoringRecord | None:
        """How networks are trained; None for not at all."""
        if self.score_command is None:
            return None
        limit = {} if self.score_timeout is None else {"timeout_s": self.score_timeout}
        return ScoringRecord(command=self.score_command, **limit)

    @property
    def workers(self) -> Workers:
        """What measures the runs."""
        return Workers(self.ray, self.accelerator)

    def measuring(self, latency_s: float | None) -> MeasuringRecord:
        """Return how the runs are measured; ``latency_s`` is the limit of the budget."""
        by_layer = self.by_layer or self.predict  # the times of layers teach more than those of passes
        measuring = MeasuringRecord(sampling=self.sampling, by_layer=by_layer, max_latency_s=latency_s)
        return self.changed(measuring)

    def changed(self, measuring: MeasuringRecord) -> MeasuringRecord:
        """Return these options of measuring, with the changes that are given here."""
        every = measuring.baseline_every if self.baseline_every is None else self.baseline_every
        timeout_s = measuring.timeout_s if self.run_timeout is None else self.run_timeout
        return measuring.model_copy(update={"baseline_every": every, "timeout_s": timeout_s})
