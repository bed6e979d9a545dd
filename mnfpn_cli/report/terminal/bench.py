"""`mnfpn bench` as tables: cost, times, how sure they are, and what they were measured on."""

from __future__ import annotations

from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from mnfpn_cli.external.inputs import in_words
from mnfpn_cli.report.terminal.export import weights_report
from mnfpn_cli.report.terminal.layers import layers_tables
from mnfpn_cli.report.terminal.tables import Report, note, pairs, phrases, table, warning
from mnfpn_cli.report.units import count, per_cent, scaled, seconds, seconds_range, share, size_in_bytes, times, tiny
from mnfpn_cli.settings.input import NetworkInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnfpn_cli.bench.flops import FvcoreCount
    from mnfpn_cli.bench.results import Benchmark, BenchRun, NotRun, RunKey, SizeCost
    from mnfpn_cli.documents.measurement import Ended, EnvironmentRecord
    from mnfpn_cli.measure.statistics import Latency
    from mnfpn_cli.report.terminal.tables import Table

ENDED: dict[Ended, str] = {
    "precision": "precise enough",
    "noise": "noise floor reached",
    "max_time": "--max-time",
    "runs": "--runs",
    "min_time": "--min-time",
    "interrupted": "an interrupt",
    "failed": "a failure",
}
"""What ended a measurement, in words."""


def runs_report(result: Benchmark) -> Report:
    """The rows side by side, the spread of their samples, what was not run, and what makes the figures uncertain."""
    name = cell_names(result)
    return [
        _latency_table(result, name),
        *_meanings(result),
        _spread_table(result.runs, name),
        *_spread_notes(result, name),
        *_not_run_table(result, name),
        *(warning(f"{one.cause}. What helps: {one.helps}.") for one in result.warnings),
    ]


def cell_names(result: Benchmark) -> Callable[[RunKey], str]:
    """How to name a row: by its runtime, and by what else differs between rows."""
    cells = [row.cell for row in result.rows]
    several_devices = len({cell.device for cell in cells}) > 1
    several_sizes = len({cell.input.size for cell in cells}) > 1
    several_batches = len({cell.input.batch for cell in cells}) > 1

    def name(cell: RunKey) -> str:
        parts = [cell.runtime]
        parts += [cell.device] if several_devices else []
        parts += [str(cell.input.size)] if several_sizes else []
        parts += [f"batch {cell.input.batch}"] if several_batches else []
        return ", ".join(parts)

    return name


def _title(result: Benchmark) -> str:
    """What all rows have in common."""
    cells, case = [row.cell for row in result.rows], result.case
    inputs, devices = {cell.input for cell in cells}, {cell.device for cell in cells}
    parts = [f"input {in_words(cells[0].input)}"] if len(inputs) == 1 else []
    parts += [case.dtype]
    threads = {run.threads for run in result.runs}
    if len(devices) == 1:
        gpu = {run.device_name for run in result.runs} - {None}
        parts += [f"{cells[0].device} ({gpu.pop()})"] if gpu else [f"{cells[0].device}, {_threads(threads.pop())}"]
    parts += ["cold caches"] if case.cold_cache else []
    return f"{'Time of a training step' if case.train else 'Latency of a pass'}: {', '.join(parts)}"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _latency_table(result: Benchmark, name: Callable[[RunKey], str]) -> Table:
    columns: dict[str, Callable[[BenchRun], str]] = {
        ">Median": lambda run: seconds(run.latency.median),
        ">±95 %": lambda run: half_width(run.latency),
    }
    if len(result.case.runtimes) > 1:
        columns[f">× {result.runs[0].cell.runtime}"] = lambda run: times(result.speed_up(run))
    one = "image" if isinstance(result.rows[0].cell.input, NetworkInput) else "input"
    columns[f">{one.capitalize()}s/s"] = lambda run: scaled(run.throughput_per_s)
    if any(run.energy_j is not None for run in result.runs):
        columns[f">J/{one}"] = lambda run: scaled(run.energy_j / run.cell.input.batch) if run.energy_j else ""
    columns[">Memory"] = lambda run: "" if run.added_memory_bytes is None else size_in_bytes(run.added_memory_bytes)
    columns[">First"] = lambda run: seconds(run.first.seconds)
    if any(run.difference is not None for run in result.runs):
        columns[">Differs"] = _differs
    made = table(_title(result), "Runtime", *columns)
    for row in result.rows:
        figures = [show(row) for show in columns.values()] if row.status == "measured" else [_why_in_a_word(row)]
        made.add_row(phrases(name(row.cell)), *figures)
    return made


def _differs(run: BenchRun) -> str:
    if run.difference is None:
        return ""
    return tiny(run.difference) if isfinite(run.difference) else "not comparable"


def _why_in_a_word(row: NotRun) -> str:
    """The reason itself has a table of its own."""
    if row.reason.startswith("out of memory"):
        return "out of memory"
    return {"unavailable": "not run", "too_large": "too large", "failed": "failed"}[row.status]


def half_width(latency: Latency) -> str:
    """How far the farther end of the median's interval is from it, over it; nothing where there is no interval."""
    if not latency.interval:
        return ""
    return share(max(latency.interval.high - latency.median, latency.median - latency.interval.low) / latency.median)


def _meanings(result: Benchmark) -> Report:
    """What the columns mean that need saying."""
    kinds = {run.cell.device.partition(":")[0] for run in result.runs if run.added_memory_bytes is not None}
    meanings = {
        "cpu": "Memory on the CPU: what the resident set of the process grew by, from preparing to warm.",
        "cuda": "Memory on CUDA: what torch's allocator handed out from preparing to warm.",
    }
    lines = [meaning for kind, meaning in meanings.items() if kind in kinds]
    if any(run.difference is not None for run in result.runs):
        lines.append("Differs: the largest difference from eager float32, relative to each output's largest value.")
    lines.append("First: the time to the first result, preparing included.")
    return [note(line, "dim") for line in lines]


def _spread_table(runs: Iterable[BenchRun], name: Callable[[RunKey], str]) -> Table:
    runs = list(runs)
    columns: dict[str, Callable[[BenchRun], str]] = {
        ">Passes": lambda run: count(len(run.latency.samples)),
        ">Min": lambda run: seconds(run.latency.min),
        ">95 % interval": lambda run: seconds_range(*run.latency.interval) if run.latency.interval else "",
        ">Quartiles": lambda run: seconds_range(*run.latency.quartiles),
        ">MAD": lambda run: seconds(run.latency.mad),
    }
    for rank in (90, 99):
        if any(run.latency.percentile(rank) is not None for run in runs):
            columns[f">p{rank}"] = partial(_percentile, rank)
    if any(run.enqueue_share is not None for run in runs):
        columns[">Queueing"] = lambda run: share(run.enqueue_share) if run.enqueue_share is not None else ""
    if any(run.latency.outliers for run in runs):
        columns[">Outliers"] = lambda run: count(len(run.latency.outliers)) if run.latency.outliers else ""
    made = table("Samples", "Runtime", *columns)
    for run in runs:
        made.add_row(phrases(name(run.cell)), *(show(run) for show in columns.values()))
    return made


def _percentile(per_cent: int, run: BenchRun) -> str:
    value = run.latency.percentile(per_cent)
    return "" if value is None else seconds(value)


def _spread_notes(result: Benchmark, name: Callable[[RunKey], str]) -> Report:
    """What ended each measurement, and which percentiles its samples do not support."""
    by_end: dict[Ended, list[str]] = {}
    for run in result.runs:
        by_end.setdefault(run.ended, []).append(name(run.cell))
    several = len(by_end) > 1
    ends = [ENDED[end] + (f" ({'; '.join(names)})" if several else "") for end, names in by_end.items()]
    warm = ", ".join(f"{run.warm_up.passes}" for run in result.runs)
    lines = [f"Ended by: {', '.join(ends)}. Passes of warm-up: {warm}."]
    samples = min(len(run.latency.samples) for run in result.runs)
    if samples < LEAST_FOR_P99:
        missing = "p90 needs 64 samples and p99 662" if samples < LEAST_FOR_P90 else "p99 needs 662 samples"
        lines.append(f"{missing}; the fewest here are {samples} (--runs 662).")
    if samples < LEAST_FOR_INTERVAL:
        lines.append(f"A 95 % interval needs {LEAST_FOR_INTERVAL} samples.")
    return [note(line, "dim") for line in lines]


LEAST_FOR_INTERVAL, LEAST_FOR_P90, LEAST_FOR_P99 = 6, 64, 662


def _not_run_table(result: Benchmark, name: Callable[[RunKey], str]) -> Report:
    if not result.not_run:
        return []
    made = table("Not run", "Runtime", "Why")
    for row in result.not_run:
        made.add_row(phrases(name(row.cell)), note(row.reason))  # markup would swallow what stands in brackets
    return [made]


def bench_tables(result: Benchmark) -> Report:
    """What the network costs, how fast it ran, and on what that was measured."""
    report: Report = []
    for one in result.costs:
        report += cost_report(one, result)
    incomplete = [] if result.complete else [note("Interrupted: the measurement is incomplete.", "bold yellow")]
    return [
        *report,
        *weights_report(result.weights),
        *runs_report(result),
        *(item for one in result.profiles for item in layers_tables(f"Where the time goes: {one.cell}", one.profile)),
        environment_table(result.environment),
        *incomplete,
    ]


def cost_report(one: SizeCost, result: Benchmark) -> Report:
    """What the network costs at one size."""
    return [_cost_table(one, several=len(result.costs) > 1), *_pyramid_share(one), _in_full(one, result)]


def _cost_table(one: SizeCost, several: bool) -> Table:
    total = one.cost.total
    title = "Cost of one pass" if isinstance(one.size, str) else "Cost of one image"
    title += f", {one.size}" if several else ""
    made = table(title, "", ">Parameters", ">%", ">MACs", ">%", ">FLOPs")
    for name, cost in {**one.cost.parts, "total": total}.items():
        if name == "total":
            made.add_section()
        made.add_row(
            name,
            count(cost.parameters),
            per_cent(cost.parameters, total.parameters),
            scaled(cost.macs),
            per_cent(cost.macs, total.macs),
            scaled(cost.flops),
        )
    return made


def _pyramid_share(one: SizeCost) -> Report:
    pyramid = one.cost.parts.get("pyramid")
    if pyramid is None:
        return []
    macs = per_cent(pyramid.macs, one.cost.total.macs)
    return [note(f"The pyramid takes {macs} % of the MACs; width_mult scales only the backbone.")]


def _in_full(one: SizeCost, result: Benchmark) -> Table:
    batch, total = result.rows[0].cell.input.batch, one.cost.total
    products = "convolutions and dense layers" if one.cost.parts else "convolutions and all other matrix products"
    rows = [
        ("MACs", f"{count(total.macs)} ({products})"),
        ("FLOPs", f"{count(total.flops)} (2 × MACs)"),
        ("fvcore total", _fvcore(one.fvcore)),
        ("model size", f"{size_in_bytes(one.model_bytes)} in {result.case.dtype}"),
        ("activations", f"{size_in_bytes(one.activation_bytes)} at the peak, batch {batch}"),
    ]
    return pairs("In full", rows)


def _fvcore(counted: FvcoreCount | None) -> str:
    if counted is None:
        return "fvcore cannot count this network"
    operators = ", ".join(f"{name} {scaled(number)}" for name, number in counted.by_operator.items())
    return f"{count(counted.total)} (fvcore's own count: {operators})"


def environment_table(machine: EnvironmentRecord) -> Table:
    """Hardware, software and time of a measurement."""
    rows = [
        ("CPU", f"{machine.cpu}, {machine.cores} cores"),
        ("GPU", _gpu(machine) if machine.gpu else ""),
        ("memory", size_in_bytes(machine.memory_bytes)),
        ("software", f"torch {machine.torch}, Python {machine.python}, mnfpn {machine.mnfpn}"),
        ("system", machine.platform),
        ("date", machine.date),
    ]
    return pairs("Measured on", [row for row in rows if row[1]])


def _gpu(machine: EnvironmentRecord) -> str:
    tf32 = "with TF32" if machine.tf32 else "without TF32"
    return f"{machine.gpu}, driver {machine.driver}, CUDA {machine.cuda}, convolutions in float32 {tf32}"
