"""`mnfpn bench` as tables: the cost of a network, its runs side by side, and the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.documents.bench import NotRunRecord
from mnfpn_cli.external.origin import describe_inputs, recorded_inputs
from mnfpn_cli.report.terminal.across import across_table
from mnfpn_cli.report.terminal.export import weights_report
from mnfpn_cli.report.terminal.noise import noise_tables
from mnfpn_cli.report.terminal.precision import precision_report
from mnfpn_cli.report.terminal.profile import layers_tables
from mnfpn_cli.report.terminal.tables import Report, note, pairs, phrases, recorded_warning, table
from mnfpn_cli.report.terminal.waits import waits_tables
from mnfpn_cli.report.units import (
    count,
    half_width_text,
    per_cent,
    scaled,
    seconds,
    seconds_range,
    share,
    size_in_bytes,
    times,
    tiny,
)
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR
from mnfpn_cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnfpn_cli.documents.bench import (
        BenchDocument,
        CostRecord,
        PartCost,
        PostprocessRecord,
        RunConditions,
        RunProfile,
        RunRecord,
        SizeRecord,
    )
    from mnfpn_cli.documents.records import Ended, EnvironmentRecord, InputRecord
    from mnfpn_cli.report.terminal.tables import Table
    from mnfpn_cli.settings.measuring import Allocator

ENDED: dict[Ended, str] = {
    "precision": "precise enough",
    "noise": "noise floor reached",
    "max_time": "`max_time`",
    "passes": "`passes`",
    "min_time": "`min_time`",
    "interrupted": "an interrupt",
    "failed": "a failure",
}
"""What ended a measurement, in words."""


def bench_tables(document: BenchDocument) -> Report:
    """What the network costs, how fast it ran, where the time went, and on what machine."""
    report: Report = []
    for size in document.sizes:
        report += _cost_report(size, document)
    report += [*weights_report(document.weights), *latency_report(document)]
    for run in document.profiles or ():
        report += layers_tables(f"Where the time goes: {_profiled(run)}", run)
        report += waits_tables(f"What it waits for: {_profiled(run)}", run.waits, document.environment.allocator)
    report += _across_report(document)
    for noise in document.noise or ():
        where = f", {_inputs(noise.input)}" if len(document.noise or ()) > 1 else ""
        report += noise_tables(f"Which layers lose it in int8{where}", noise)
    report.append(environment_table(document.environment))
    if not document.complete:
        report.append(note("Interrupted: the measurement is incomplete.", "bold yellow"))
    return report


def _across_report(document: BenchDocument) -> Report:
    """For each device and input: the parts across the runs whose layers were timed, where there are several."""
    report: Report = []
    groups: dict[tuple[str, int, str], list[RunProfile]] = {}
    for run in document.profiles or ():
        if run.undisturbed_s is not None:
            groups.setdefault((run.device, run.batch, _size(run)), []).append(run)
    for (device, batch, size), runs in groups.items():
        dtypes = len({run.dtype for run in runs}) > 1
        named = {f"{run.runtime}, {run.dtype}" if dtypes else run.runtime: run for run in runs}
        if len(named) > 1:
            report += across_table(f"Parts across runtimes: {device}, batch {batch}, {size}", named)
    return report


def _profiled(run: RunProfile) -> str:
    return f"{run.runtime} on {run.device}, batch {run.batch}, {_size(run)}"


def latency_report(document: BenchDocument) -> Report:
    """The runs side by side, the spread of their samples, the runs without a measurement, and the warnings."""
    name = _namer(document)
    return [
        _latency_table(document, name),
        *(note(f"{name(run)}: {run.failure}.", "bold red") for run in document.runs if run.failure),
        *_column_notes(document),
        *_memory_report(document.runs, name),
        *precision_report(document.runs, name),
        _spread_table(document.runs, name),
        *_spread_notes(document, name),
        *_postprocess_report(document, name),
        *_not_run_table(document, name),
        *map(recorded_warning, document.warnings),
    ]


def _size(run: RunConditions) -> str:
    """The size of images as ``600x900``, or the shapes of tensors."""
    return _inputs(run.input)


def _inputs(input: InputRecord) -> str:
    return str(recorded_inputs(input).size)


def _namer(document: BenchDocument) -> Callable[[RunConditions], str]:
    """Return a function that names a run by its runtime, and by what else differs between the runs."""
    runs = document.all_runs
    several_devices = len({run.device for run in runs}) > 1
    several_sizes = len({_size(run) for run in runs}) > 1
    several_batches = len({run.batch for run in runs}) > 1
    several_dtypes = len({run.dtype for run in runs}) > 1

    def name(run: RunConditions) -> str:
        parts = [run.runtime]
        parts += [run.dtype] if several_dtypes else []
        parts += [run.device] if several_devices else []
        parts += [_size(run)] if several_sizes else []
        parts += [f"batch {run.batch}"] if several_batches else []
        return ", ".join(parts)

    return name


def _title(document: BenchDocument) -> str:
    """What all runs have in common."""
    runs, first = document.all_runs, document.runs[0]
    parts = [f"input {describe_inputs(recorded_inputs(first.input))}"] if len({run.input for run in runs}) == 1 else []
    parts += [first.dtype] if len({run.dtype for run in runs}) == 1 else []
    if len({run.device for run in runs}) == 1:
        gpu = next((run.gpu_name for run in document.runs if run.gpu_name), None)
        parts += [f"{first.device} ({gpu})"] if gpu else [f"{first.device}, {counted(first.threads, 'thread')}"]
    parts += ["cold caches"] if first.cold_cache else []
    return f"{'Time of a training step' if first.train else 'Latency of a pass'}: {', '.join(parts)}"


def _latency_table(document: BenchDocument, name: Callable[[RunConditions], str]) -> Table:
    runs = document.all_runs
    columns: dict[str, Callable[[RunRecord], str]] = {
        ">Median": lambda run: seconds(run.latency_s.median),
    }
    if len({(run.runtime, run.dtype) for run in runs}) > 1:
        columns[f">× {document.runs[0].runtime}"] = lambda run: times(run.speed_up)
        columns[">±95 %"] = lambda run: half_width_text(run.speed_up, run.speed_up_ci95)
    else:
        columns[">±95 %"] = lambda run: half_width_text(run.latency_s.median, run.latency_s.ci95)
    one = "input" if document.input.shapes else "image"
    columns[f">{one.capitalize()}s/s"] = lambda run: scaled(run.throughput_per_s)
    if any(run.energy_j_per_image is not None for run in document.runs):
        columns[f">J/{one}"] = lambda run: scaled(run.energy_j_per_image) if run.energy_j_per_image else ""
    if not any(run.isolated for run in runs if not isinstance(run, NotRunRecord)):
        columns[">Added"] = lambda run: _bytes(run.added_memory_bytes)
    columns[">First"] = lambda run: seconds(run.first_result_s.prepare + run.first_result_s.pass_)
    if any(run.comparable is not None for run in document.runs):
        columns[">Differs"] = lambda run: difference(run.comparable, run.max_difference)
    made = table(_title(document), "Runtime", *columns)
    several_dtypes = len({run.dtype for run in runs}) > 1
    for run in runs:
        if several_dtypes and isinstance(run, NotRunRecord) and run.status == "unavailable":
            continue  # no runtime has every dtype: the reasons have a table of their own
        figures = [_reason_in_short(run)] if isinstance(run, NotRunRecord) else [cell(run) for cell in columns.values()]
        made.add_row(phrases(name(run)), *figures)
    return made


def _bytes(number: int | None) -> str:
    return "" if number is None else size_in_bytes(number)


def _memory_report(runs: Sequence[RunRecord], name: Callable[[RunConditions], str]) -> Report:
    """The memory of each run's own process; nothing where runs share one."""
    own = [run for run in runs if run.isolated]
    if not own:
        return []
    driver = any(run.driver_memory_bytes is not None for run in own)
    made = table("Memory of each run's own process", "Runtime", ">Peak", ">Added", ">In passes", *[">Driver"] * driver)
    for run in own:
        figures = (run.peak_memory_bytes, run.added_memory_bytes, run.passes_memory_bytes)
        made.add_row(phrases(name(run)), *map(_bytes, figures), *[_bytes(run.driver_memory_bytes)] * driver)
    cpu = "the resident set, Python and torch included" if own[0].device == "cpu" else "what torch's allocator gave out"
    text = f"Peak: from preparing on, {cpu}. Added: that peak less what was in use before. In passes: while timed."
    text += " Driver: what the process takes on its GPU after the passes, cached memory and context included." * driver
    return [made, note(text, "dim")]


def difference(comparable: bool | None, largest: float | None) -> str:
    """The largest relative difference from eager float32; empty where outputs were not compared."""
    if comparable is None:
        return ""
    return "not comparable" if largest is None else tiny(largest)


def _reason_in_short(run: NotRunRecord) -> str:
    """One word or three: the reason itself has a table of its own."""
    if run.reason.startswith("out of memory"):
        return "out of memory"
    return {"unavailable": "not run", "too_large": "too large", "failed": "failed"}[run.status]


def _column_notes(document: BenchDocument) -> Report:
    """What the columns mean that need an explanation."""
    shared = [run for run in document.runs if run.added_memory_bytes is not None and not run.isolated]
    kinds = {run.device.partition(":")[0] for run in shared}
    meanings = {
        "cpu": "Added memory on the CPU: what the resident set of the process grew by, from preparing to warm.",
        "cuda": "Added memory on CUDA: what torch's allocator handed out from preparing to warm.",
    }
    lines = [meaning for kind, meaning in meanings.items() if kind in kinds]
    if any(run.comparable is not None for run in document.runs):
        lines.append("Differs: the largest difference from eager float32, relative to each output's largest value.")
    lines.append("First: the time to the first result, preparing included.")
    return [note(line, "dim") for line in lines]


def _spread_table(runs: Sequence[RunRecord], name: Callable[[RunConditions], str]) -> Table:
    columns: dict[str, Callable[[RunRecord], str]] = {
        ">Passes": lambda run: count(len(run.latency_s.samples)),
        ">Min": lambda run: seconds(run.latency_s.min),
        ">95 % interval": lambda run: seconds_range(*run.latency_s.ci95) if run.latency_s.ci95 else "",
        ">Quartiles": lambda run: seconds_range(*run.latency_s.quartiles),
        ">MAD": lambda run: seconds(run.latency_s.mad),
    }
    if any(run.latency_s.p90 is not None for run in runs):
        columns[">p90"] = lambda run: "" if run.latency_s.p90 is None else seconds(run.latency_s.p90)
    if any(run.latency_s.p99 is not None for run in runs):
        columns[">p99"] = lambda run: "" if run.latency_s.p99 is None else seconds(run.latency_s.p99)
    if any(run.enqueue_s for run in runs):
        columns[">Queueing"] = lambda run: share(run.enqueue_s.median / run.latency_s.median) if run.enqueue_s else ""
    if any(run.latency_s.outliers for run in runs):
        columns[">Outliers"] = lambda run: count(len(run.latency_s.outliers)) if run.latency_s.outliers else ""
    made = table("Samples", "Runtime", *columns)
    for run in runs:
        made.add_row(phrases(name(run)), *(cell(run) for cell in columns.values()))
    return made


def _spread_notes(document: BenchDocument, name: Callable[[RunConditions], str]) -> Report:
    """What ended each measurement, and which percentiles have too few samples."""
    by_end: dict[Ended, list[str]] = {}
    for run in document.runs:
        by_end.setdefault(run.ended_by, []).append(name(run))
    several = len(by_end) > 1
    ends = [ENDED[end] + (f" ({'; '.join(names)})" if several else "") for end, names in by_end.items()]
    warmup = ", ".join(f"{run.warmup}" for run in document.runs)
    lines = [f"Ended by: {', '.join(ends)}. Passes of warm-up: {warmup}."]
    samples = min(len(run.latency_s.samples) for run in document.runs)
    if samples < LEAST_FOR_P99:
        missing = "p90 needs 64 samples and p99 662" if samples < LEAST_FOR_P90 else "p99 needs 662 samples"
        lines.append(f"{missing}; the fewest here are {samples} (`passes` 662).")
    if samples < LEAST_FOR_INTERVAL:
        lines.append(f"A 95 % interval needs {LEAST_FOR_INTERVAL} samples.")
    return [note(line, "dim") for line in lines]


LEAST_FOR_INTERVAL, LEAST_FOR_P90, LEAST_FOR_P99 = 6, 64, 662


def _postprocess_report(document: BenchDocument, name: Callable[[RunConditions], str]) -> Report:
    """How long it takes to turn outputs into boxes, and its share of both together by each runtime."""
    if not document.postprocess:
        return []
    made = table("From outputs to boxes", "Runtime", ">Network", ">Postprocessing", ">Share", ">Together")
    for run in document.runs:
        if record := postprocess_of(run, document):
            network, boxes = run.latency_s.median, record.latency_s.median
            both = network + boxes
            made.add_row(phrases(name(run)), seconds(network), seconds(boxes), share(boxes / both), seconds(both))
    found = ", ".join(counted(record.boxes, "box") for record in document.postprocess)
    text = (
        f"Postprocessing: of {document.postprocess[0].measured_on}, {found}. Its time depends on what is in an image."
    )
    return [made, note(text, "dim")]


def postprocess_of(run: RunRecord | NotRunRecord, document: BenchDocument) -> PostprocessRecord | None:
    """The postprocessing of a run's outputs; None where it was not measured."""
    records = document.postprocess or ()
    return next((one for one in records if (one.device, one.input) == (run.device, run.input)), None)


def _not_run_table(document: BenchDocument, name: Callable[[RunConditions], str]) -> Report:
    if not document.not_run:
        return []
    made = table("Not run", "Runtime", "Why")
    for run in document.not_run:
        made.add_row(phrases(name(run)), note(run.reason))
    return [made]


def _cost_report(size: SizeRecord, document: BenchDocument) -> Report:
    """What the network costs at one size."""
    cost = size.cost
    report: Report = [_cost_table(size, several=len(document.sizes) > 1)]
    if document.settings and document.settings.pyramid:
        scales = "the pyramid as well" if document.settings.pyramid.scaled else "only the backbone"
        report.append(note(f"{_largest_parts(cost)}; width_mult scales {scales}."))
    return [*report, _cost_in_full(cost, document)]


def _parts(cost: CostRecord) -> dict[str, PartCost]:
    """The parts that a network from settings has, by name."""
    parts = {"backbone": cost.backbone, "pyramid": cost.pyramid, "head": cost.head}
    return {name: part for name, part in parts.items() if part}


def _largest_parts(cost: CostRecord) -> str:
    """The shares of the MACs: the largest part, and the smaller ones without the backbone."""
    parts = sorted(_parts(cost).items(), key=lambda item: item[1].macs, reverse=True)
    (largest, first), *others = ((name, per_cent(part.macs, cost.macs)) for name, part in parts)
    smaller = "".join(f", the {name} {share} %" for name, share in others if name != "backbone" and share)
    return f"The {largest} takes {first} % of the MACs{smaller}"


def _cost_table(size: SizeRecord, *, several: bool) -> Table:
    """A row for each part and one for all; ``several``: whether there are tables of other sizes."""
    cost = size.cost
    title = "Cost of one image" if size.height else "Cost of one pass"
    title += f", {size.height}x{size.width}" if several and size.height else ""
    made = table(title, "", ">Parameters", ">%", ">MACs", ">%", ">FLOPs")
    for name, part in _parts(cost).items():
        made.add_row(name, *_cost_cells(part, cost))
    made.add_section()
    made.add_row("total", *_cost_cells(cost, cost))
    return made


def _cost_cells(part: PartCost | CostRecord, whole: CostRecord) -> list[str]:
    return [
        count(part.parameters),
        per_cent(part.parameters, whole.parameters),
        scaled(part.macs),
        per_cent(part.macs, whole.macs),
        scaled(2 * part.macs),
    ]


def _cost_in_full(cost: CostRecord, document: BenchDocument) -> Table:
    products = "convolutions and dense layers" if cost.backbone else "convolutions and all other matrix products"
    rows = [
        ("MACs", f"{count(cost.macs)} ({products})"),
        ("FLOPs", f"{count(cost.flops)} (2 × MACs)"),
        ("fvcore total", _fvcore(cost)),
        ("model size", f"{size_in_bytes(cost.model_bytes)} in {document.all_runs[0].dtype}"),
        ("activations", f"{size_in_bytes(cost.activation_bytes)} at the peak, batch {document.input.batch}"),
    ]
    return pairs("In full", rows)


def _fvcore(cost: CostRecord) -> str:
    if cost.fvcore_total is None:
        return "fvcore cannot count this network"
    operators = ", ".join(f"{name} {scaled(number)}" for name, number in (cost.fvcore_by_operator or {}).items())
    return f"{count(cost.fvcore_total)} (fvcore's own count: {operators})"


def allocator_row(allocator: Allocator) -> list[tuple[str, str]]:
    """The row for an allocator; none for what the C library does by default."""
    return [("allocator", allocator)] if allocator != DEFAULT_ALLOCATOR else []


def environment_table(machine: EnvironmentRecord) -> Table:
    """Hardware, software and time of a measurement."""
    rows = [
        ("CPU", machine.cpu if machine.cores is None else f"{machine.cpu}, {counted(machine.cores, 'core')}"),
        ("GPU", _gpu(machine) if machine.gpu_name else ""),
        ("memory", size_in_bytes(machine.memory_bytes)),
        *allocator_row(machine.allocator),
        ("software", f"torch {machine.torch}, Python {machine.python}, mnfpn {machine.mnfpn}"),
        ("system", machine.platform),
        ("date", machine.date),
    ]
    return pairs("Measured on", [row for row in rows if row[1]])


def _gpu(machine: EnvironmentRecord) -> str:
    tf32 = "with TF32" if machine.tf32 else "without TF32"
    return f"{machine.gpu_name}, driver {machine.driver}, CUDA {machine.cuda}, convolutions in float32 {tf32}"
