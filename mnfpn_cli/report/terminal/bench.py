"""`mnfpn bench` as tables: runs side by side, and where the time of one goes."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from mnfpn_cli.documents.bench import PartTime, ProfileRecord, RooflineRecord
from mnfpn_cli.external.origin import describe_inputs
from mnfpn_cli.report.terminal.export import weights_report
from mnfpn_cli.report.terminal.tables import Report, note, pairs, phrases, table, warning
from mnfpn_cli.report.units import count, per_cent, scaled, seconds, seconds_range, share, size_in_bytes, times, tiny
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnfpn_cli.bench.results import Benchmark, MeasuredRun, NotRun, RunKey, SizeCost
    from mnfpn_cli.bench.workload import FvcoreCount
    from mnfpn_cli.documents.bench import Bound
    from mnfpn_cli.documents.records import Ended, EnvironmentRecord
    from mnfpn_cli.measure.statistics import Latency
    from mnfpn_cli.report.terminal.tables import Table

REST = "rest"
REST_SHOWN = 0.001
"""The share of the time from which on what runs between the layers has a row."""
REST_EXPLAINED = 0.01
MOST_APART = 0.25
"""By how much a pass may take longer or shorter, when its layers are timed, than when it was timed itself."""


def layers_tables(title: str, profile: ProfileRecord) -> Report:
    """A row for each part of the network, what its marks and its floors mean, and the advice."""
    report: Report = [_table(title, profile)]
    if profile.undisturbed_s is not None and profile.marked_s is not None:
        report += _time_notes(profile, profile.undisturbed_s, profile.marked_s)
        report += _disagreement(profile.undisturbed_s, profile.measured_s)
    if profile.roofline:
        report += _floor_notes(profile.roofline, profile.measured_s)
    if profile.advice:
        sentence = profile.advice.sentence
        report.append(note(f"{sentence[0].upper()}{sentence[1:]}."))
    return report


def _table(title: str, profile: ProfileRecord) -> Table:
    total = _total(profile)
    timed = (">Time", ">%", ">MACs", ">%", ">MACs/s") if profile.undisturbed_s else (">MACs", ">%")
    floors = (">Floor", "Bound") if profile.roofline else ()
    reached = (">Reached %",) if profile.roofline and profile.undisturbed_s else ()
    made = table(title, "Part", *timed, *floors, *reached)
    for part in profile.parts:
        if part.macs or part.bytes or (part.seconds or 0) >= REST_SHOWN * (total.seconds or 0):
            made.add_row(part.part, *_keys(part, total, profile))
    made.add_section()
    made.add_row(total.part, *_keys(total, total, profile))
    return made


def _total(profile: ProfileRecord) -> PartTime:
    """All parts together; what bounds most of the floor is known of the layers."""
    parts, floors = profile.parts, defaultdict["Bound", float](float)
    for layer in profile.layers:
        if layer.bound:
            floors[layer.bound] += layer.floor_s or 0.0
    return PartTime(
        part="total",
        seconds=sum(one.seconds or 0.0 for one in parts),
        macs=sum(one.macs for one in parts),
        bytes=sum(one.bytes for one in parts),
        floor_s=sum(one.floor_s or 0.0 for one in parts),
        bound=max(floors, key=lambda bound: floors[bound], default=None),
    )


def _keys(part: PartTime, total: PartTime, profile: ProfileRecord) -> list[str]:
    took, floor = part.seconds or 0.0, part.floor_s or 0.0
    keys = [scaled(part.macs) if part.macs else "", per_cent(part.macs, total.macs)]
    if profile.undisturbed_s:
        rate = scaled(part.macs / took) if part.macs and took else ""
        keys = [seconds(took), per_cent(took, total.seconds or 0.0), *keys, rate]
    if profile.roofline:
        keys += [seconds(floor) if floor else "", part.bound or ""]
        keys += [per_cent(floor, took)] if profile.undisturbed_s else []
    return keys


def _time_notes(profile: ProfileRecord, undisturbed: float, marked: float) -> Report:
    layers = sum(one.seconds or 0.0 for one in profile.layers)
    text = f"The layers add up to {seconds(layers)}; a pass took {seconds(undisturbed)} undisturbed"
    cost = f"{seconds(marked)} while they were timed ({percent(marked / undisturbed - 1, '+.1f')})."
    waits = "the time that the host needs to queue it. Less work in a layer would make it no faster."
    bound = profile.launch_bound
    notes: Report = [note(f"{text}, {waits}", "yellow") if bound else note(f"{text}, {cost}", "dim")]
    rest = sum(one.seconds or 0.0 for one in profile.layers if one.part == REST)
    if rest >= REST_EXPLAINED * layers:
        notes.append(note("rest: what runs between the layers; on a CPU, giving back the memory of maps.", "dim"))
    return notes


def _disagreement(undisturbed: float, measured: float) -> Report:
    """That the layers were timed on a machine in another state than the run was."""
    if abs(undisturbed / measured - 1) <= MOST_APART:
        return []
    passes = f"a pass took {seconds(measured)} before, and {seconds(undisturbed)} while layers were timed"
    return [warning(f"{passes}: the shares are not those of the latency above.")]


def _floor_notes(roof: RooflineRecord, measured: float) -> Report:
    rates = f"{scaled(roof.macs_per_s, 'MAC/s')} (large matrix product)"
    rates += f" and {scaled(roof.bytes_per_s, 'B/s')} (large copy, read plus written)"
    text = (
        f"This device does {rates}: the network's floor is {seconds(roof.floor_s)}. "
        f"A pass took {seconds(measured)}: {per_cent(roof.floor_s, measured)} % of what the device can do."
    )
    meaning = (
        "Floors: direct convolution, layer by layer, maps in memory. Winograd, joined layers and caches can beat it."
    )
    return [note(text), note(meaning, "dim")]


ENDED: dict[Ended, str] = {
    "precision": "precise enough",
    "noise": "noise floor reached",
    "max_time": "--max-time",
    "passes": "--passes",
    "min_time": "--min-time",
    "interrupted": "an interrupt",
    "failed": "a failure",
}
"""What ended a measurement, in words."""


def runs_report(result: Benchmark) -> Report:
    """The rows side by side, the spread of their samples, what was not run, and what makes the figures uncertain."""
    name = key_names(result)
    return [
        _latency_table(result, name),
        *_meanings(result),
        _spread_table(result.measured, name),
        *_spread_notes(result, name),
        *_not_run_table(result, name),
        *(warning(f"{one.cause}. What helps: {one.helps}.") for one in result.warnings),
    ]


def key_names(result: Benchmark) -> Callable[[RunKey], str]:
    """How to name a row: by its runtime, and by what else differs between rows."""
    keys = [row.key for row in result.runs]
    several_devices = len({key.device for key in keys}) > 1
    several_sizes = len({key.input.size for key in keys}) > 1
    several_batches = len({key.input.batch for key in keys}) > 1

    def name(key: RunKey) -> str:
        parts = [key.runtime]
        parts += [key.device] if several_devices else []
        parts += [str(key.input.size)] if several_sizes else []
        parts += [f"batch {key.input.batch}"] if several_batches else []
        return ", ".join(parts)

    return name


def _title(result: Benchmark) -> str:
    """What all rows have in common."""
    keys, case = [row.key for row in result.runs], result.case
    inputs, devices = {key.input for key in keys}, {key.device for key in keys}
    parts = [f"input {describe_inputs(keys[0].input)}"] if len(inputs) == 1 else []
    parts += [case.dtype]
    threads = {run.threads for run in result.measured}
    if len(devices) == 1:
        gpu = {run.device_name for run in result.measured} - {None}
        parts += [f"{keys[0].device} ({gpu.pop()})"] if gpu else [f"{keys[0].device}, {_threads(threads.pop())}"]
    parts += ["cold caches"] if case.cold_cache else []
    return f"{'Time of a training step' if case.train else 'Latency of a pass'}: {', '.join(parts)}"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _latency_table(result: Benchmark, name: Callable[[RunKey], str]) -> Table:
    columns: dict[str, Callable[[MeasuredRun], str]] = {
        ">Median": lambda run: seconds(run.latency.median),
        ">±95 %": lambda run: half_width(run.latency),
    }
    if len(result.case.runtimes) > 1:
        columns[f">× {result.measured[0].key.runtime}"] = lambda run: times(result.speed_up(run))
    one = "image" if isinstance(result.runs[0].key.input, NetworkInput) else "input"
    columns[f">{one.capitalize()}s/s"] = lambda run: scaled(run.throughput_per_s)
    if any(run.energy_j is not None for run in result.measured):
        columns[f">J/{one}"] = lambda run: scaled(run.energy_j / run.key.input.batch) if run.energy_j else ""
    columns[">Memory"] = lambda run: "" if run.added_memory_bytes is None else size_in_bytes(run.added_memory_bytes)
    columns[">First"] = lambda run: seconds(run.first.seconds)
    if any(run.difference is not None for run in result.measured):
        columns[">Differs"] = _differs
    made = table(_title(result), "Runtime", *columns)
    for row in result.runs:
        figures = [show(row) for show in columns.values()] if row.status == "measured" else [_why_in_a_word(row)]
        made.add_row(phrases(name(row.key)), *figures)
    return made


def _differs(run: MeasuredRun) -> str:
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
    kinds = {run.key.device.partition(":")[0] for run in result.measured if run.added_memory_bytes is not None}
    meanings = {
        "cpu": "Memory on the CPU: what the resident set of the process grew by, from preparing to warm.",
        "cuda": "Memory on CUDA: what torch's allocator handed out from preparing to warm.",
    }
    lines = [meaning for kind, meaning in meanings.items() if kind in kinds]
    if any(run.difference is not None for run in result.measured):
        lines.append("Differs: the largest difference from eager float32, relative to each output's largest value.")
    lines.append("First: the time to the first result, preparing included.")
    return [note(line, "dim") for line in lines]


def _spread_table(runs: Iterable[MeasuredRun], name: Callable[[RunKey], str]) -> Table:
    runs = list(runs)
    columns: dict[str, Callable[[MeasuredRun], str]] = {
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
        made.add_row(phrases(name(run.key)), *(show(run) for show in columns.values()))
    return made


def _percentile(per_cent: int, run: MeasuredRun) -> str:
    value = run.latency.percentile(per_cent)
    return "" if value is None else seconds(value)


def _spread_notes(result: Benchmark, name: Callable[[RunKey], str]) -> Report:
    """What ended each measurement, and which percentiles its samples do not support."""
    by_end: dict[Ended, list[str]] = {}
    for run in result.measured:
        by_end.setdefault(run.ended, []).append(name(run.key))
    several = len(by_end) > 1
    ends = [ENDED[end] + (f" ({'; '.join(names)})" if several else "") for end, names in by_end.items()]
    warm = ", ".join(f"{run.warm_up.passes}" for run in result.measured)
    lines = [f"Ended by: {', '.join(ends)}. Passes of warm-up: {warm}."]
    samples = min(len(run.latency.samples) for run in result.measured)
    if samples < LEAST_FOR_P99:
        missing = "p90 needs 64 samples and p99 662" if samples < LEAST_FOR_P90 else "p99 needs 662 samples"
        lines.append(f"{missing}; the fewest here are {samples} (--passes 662).")
    if samples < LEAST_FOR_INTERVAL:
        lines.append(f"A 95 % interval needs {LEAST_FOR_INTERVAL} samples.")
    return [note(line, "dim") for line in lines]


LEAST_FOR_INTERVAL, LEAST_FOR_P90, LEAST_FOR_P99 = 6, 64, 662


def _not_run_table(result: Benchmark, name: Callable[[RunKey], str]) -> Report:
    if not result.not_run:
        return []
    made = table("Not run", "Runtime", "Why")
    for row in result.not_run:
        made.add_row(phrases(name(row.key)), note(row.reason))  # markup would swallow what stands in brackets
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
        *(item for one in result.profiles for item in layers_tables(f"Where the time goes: {one.key}", one.profile)),
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
    batch, total = result.runs[0].key.input.batch, one.cost.total
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
