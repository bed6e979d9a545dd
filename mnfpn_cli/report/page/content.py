"""The values of the page's template: counts, sweeps, environments, and warnings."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.report.units import count, size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.records import EnvironmentRecord
    from mnfpn_cli.documents.report import PageDocument, ReportedRun
    from mnfpn_cli.documents.sweep import MovedRecord, SweepRecord

FEW = 8
"""The most values of a setting that are listed."""


@dataclass(frozen=True, slots=True)
class SweepContent:
    """A sweep: its number, its start, how many runs were left out and why, as ``3 invalid``, and its command."""

    id: int
    started: str
    left_out: Sequence[str]
    command: str


@dataclass(frozen=True, slots=True)
class Environments:
    """A table of the machines and software that measured; each of ``rows`` has a text for each of ``columns``."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Content:
    """The values of the template.

    Attributes:
        runs: the number of runs.
        statuses: the number of runs of each status, those of 0 left out.
        frontier: the number of runs on any frontier.
        layers_timed: whether any run has its layers timed.
        sweeps: the sweeps of the runs.
        common: the settings of the one network of all runs; empty where they are of several.
        axes: a list of the values of each setting in which the runs differ.
        estimated: whether any score is an estimate with an error.
        predicted: whether the time of any run is predicted.
        environments: the machines that measured; no rows where none did.
        moved: the baseline runs that moved, in order of time.
        worst: the largest drift, up or down; 1 where no baseline run moved.
        warnings: the warnings of measurements by kind, each with the name of its run.
    """

    runs: int
    statuses: Mapping[str, int]
    frontier: int
    layers_timed: bool
    sweeps: Sequence[SweepContent]
    common: Mapping[str, str]
    axes: Mapping[str, str]
    estimated: bool
    predicted: bool
    environments: Environments
    moved: Sequence[MovedRecord]
    worst: float
    warnings: Mapping[str, Sequence[tuple[str, WarningRecord]]]


def page_content(page: PageDocument) -> Content:
    """Return the values of the template for a page."""
    return Content(
        runs=len(page.runs),
        statuses={status: number for status, number in page.counts if number},
        frontier=sum(len(frontier.runs) for frontier in page.frontier),
        layers_timed=any(one.profile for one in page.measurements.values()),
        sweeps=[_sweep(one) for one in page.sweeps],
        common=page.common,
        axes={key: _list(values) for key, values in page.differences.items()},
        estimated=any(one.score.error for one in page.runs if one.score),
        predicted=any(one.is_predicted for one in page.runs),
        environments=_environments(page),
        moved=page.baseline_moved,
        worst=max((one.drift for one in page.baseline_moved), key=lambda drift: abs(drift - 1), default=1.0),
        warnings=_warnings(page),
    )


def _sweep(sweep: SweepRecord) -> SweepContent:
    numbers = {"invalid": sum(one.runs for one in sweep.invalid), "over budget": sum(sweep.over_budget.values())}
    left_out = [f"{count(number)} {words}" for words, number in numbers.items() if number]
    return SweepContent(sweep.id, moment(sweep.started), left_out, sweep.command)


def moment(time: str) -> str:
    """Return a time in ISO 8601 to the second, with a space in place of the T."""
    return time.partition(".")[0].replace("T", " ")


def _list(values: Sequence[str]) -> str:
    """Return the values in order, at most `FEW` of them, then how many more there are."""
    different = sorted(values, key=_sort_key)
    more = len(different) - FEW
    return ", ".join(different[:FEW]) + (f" and {count(more)} more" if more > 0 else "")


def _sort_key(value: str) -> tuple[bool, list[float], str]:
    """Sort numbers, and sizes as ``64x128``, by value and before words."""
    numbers = re.fullmatch(r"(\d+(?:\.\d+)?)(?:x(\d+))?", value)
    return numbers is None, [float(one) for one in numbers.groups() if one] if numbers else [], value


def _environments(page: PageDocument) -> Environments:
    """Return a row for each machine with its software, and the number of its runs."""
    groups = defaultdict[tuple[tuple[str, str], ...], list["ReportedRun"]](list)
    for one in page.runs:
        if measured := page.measurements.get(one.key):
            groups[_machine(one.worker or "", measured.environment)].append(one)
    names = list(dict.fromkeys(name for group in groups for name, _ in group))
    rows = [_environment(dict(group), names, measured) for group, measured in groups.items()]
    return Environments([*names, "Measured", "Runs"], rows)


def _machine(worker: str, environment: EnvironmentRecord) -> tuple[tuple[str, str], ...]:
    """Return the columns of a machine and its software, with their texts."""
    gpu = (
        f"{environment.gpu_name}, driver {environment.driver}, CUDA {environment.cuda}" if environment.gpu_name else ""
    )
    columns = {
        "Worker": worker,
        "CPU": f"{environment.cpu}, {environment.cores} cores",
        "GPU": gpu,
        "Memory": size_in_bytes(environment.memory_bytes),
        "Software": f"torch {environment.torch}, Python {environment.python}, mnfpn {environment.mnfpn}",
        "System": environment.platform,
    }
    return tuple((name, text) for name, text in columns.items() if text)


def _environment(machine: Mapping[str, str], names: Sequence[str], measured: Sequence[ReportedRun]) -> list[str]:
    dates = sorted(one.finished[:16].replace("T", " ") for one in measured if one.finished)
    period = f"{dates[0]} to {dates[-1]} UTC" if dates[0] != dates[-1] else f"{dates[0]} UTC"
    return [*(machine.get(name, "") for name in names), period, count(len(measured))]


def _warnings(page: PageDocument) -> dict[str, list[tuple[str, WarningRecord]]]:
    kinds = defaultdict[str, list[tuple[str, WarningRecord]]](list)
    for one in page.runs:
        if measured := page.measurements.get(one.key):
            for warning in measured.warnings:
                kinds[warning.kind].append((one.name, warning))
    return dict(sorted(kinds.items()))
