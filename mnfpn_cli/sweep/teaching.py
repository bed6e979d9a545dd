"""Choose the runs of a sweep that teach a model most, until it can predict the others."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from mnfpn_cli.predict.choose import is_enough, next_runs
from mnfpn_cli.predict.model import LEAST_SAMPLES, LatencyModel
from mnfpn_cli.space.runs import Execution
from mnfpn_cli.store.rows import BaselineTiming, StoredRun
from mnfpn_cli.sweep.drift import drifts_of
from mnfpn_cli.sweep.frontier import timed_runs
from mnfpn_cli.sweep.predictions import sample_of

IN_TURN = 5
"""Runs of one kind that are measured before a model is fitted again."""


@dataclass
class Teacher:
    """Chooses which pending runs of a sweep are measured next.

    Attributes:
        most: the most runs of the sweep to measure, those included that are measured already; None for no limit.
        known: measured runs of other sweeps, to learn from as well.
    """

    most: int | None
    known: Sequence[StoredRun] = ()
    _learned: set[tuple[Execution, str]] = field(default_factory=set)

    def next(
        self, runs: Mapping[str, StoredRun], left_out: Container[str], baselines: Sequence[BaselineTiming]
    ) -> list[str]:
        """Return the keys of the next runs; none where the models are good enough, or enough runs are measured.

        Args:
            runs: the runs of the sweep by key, in its order.
            left_out: keys of runs that are not measured, whatever they would teach.
            baselines: the baseline runs of the sweep so far.
        """
        left = self.left(runs)
        pending = defaultdict[tuple[Execution, str], list[StoredRun]](list)
        for one in runs.values():
            if one.status == "pending" and one.key not in left_out:
                pending[one.execution, one.target_machine].append(one)
        open_kinds = {kind: some for kind, some in pending.items() if kind not in self._learned}
        measured = {one.key: one for one in (*self.known, *runs.values()) if one.measured}
        drifts = drifts_of(list(measured.values()), baselines)
        chosen = list[str]()
        for index, ((execution, machine), of_kind) in enumerate(open_kinds.items()):
            same = [one for one in measured.values() if one.execution == execution and one.target_machine == machine]
            samples = [sample_of(one) for one in timed_runs(same, drifts)]
            if len(samples) >= LEAST_SAMPLES and is_enough(LatencyModel.fit(samples)):
                self._learned.add((execution, machine))
                continue
            fair = -(-(left - len(chosen)) // (len(open_kinds) - index))
            count = min(max(IN_TURN, LEAST_SAMPLES - len(samples)), fair)
            by_run = {one.planned.run: one.key for one in of_kind}
            chosen += [by_run[one.run] for one in next_runs([one.planned for one in of_kind], samples, count)]
        return chosen

    def left(self, runs: Mapping[str, StoredRun]) -> int:
        """Return how many more runs of a sweep may be measured."""
        pending = sum(one.status == "pending" for one in runs.values())
        return pending if self.most is None else min(pending, max(0, self.most - (len(runs) - pending)))
