"""`mnfpn bench` as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.document import input_document
from mnfpn_cli.report.tables import Report, note, pairs, table
from mnfpn_cli.report.units import count, per_cent, scaled, seconds, size_in_bytes
from mnfpn_cli.report.weights import weights_document, weights_report

if TYPE_CHECKING:
    from rich.table import Table

    from mnfpn_cli.measure.bench import Benchmark, BenchRun
    from mnfpn_cli.plan.cost import Cost


def bench_tables(result: Benchmark) -> Report:
    """What the network costs, how fast it ran on each device, and on what that was measured."""
    return [
        _cost_table(result),
        *_pyramid_share(result),
        _memory_and_counts(result),
        *weights_report(result.weights),
        _run_table(result),
        *_memory_notes(result),
        _environment_table(result),
    ]


def _cost_table(result: Benchmark) -> Table:
    total = result.cost.total
    made = table("Cost of one image", "", ">Parameters", ">%", ">MACs", ">%", ">FLOPs")
    for name, cost in {**_parts(result), "total": total}.items():
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


def _parts(result: Benchmark) -> dict[str, Cost]:
    """The cost of each part that the network has."""
    cost = result.cost
    parts = {"backbone": cost.backbone, "pyramid": cost.pyramid, "head": cost.head}
    return {name: part for name, part in parts.items() if part.parameters}


def _pyramid_share(result: Benchmark) -> Report:
    cost = result.cost
    if not cost.pyramid.macs:
        return []
    macs = per_cent(cost.pyramid.macs, cost.total.macs)
    return [note(f"The pyramid takes {macs} % of the MACs; width_mult scales only the backbone.")]


def _memory_and_counts(result: Benchmark) -> Table:
    batch, total = result.case.input.batch, result.cost.total
    operators = ", ".join(f"{name} {scaled(number)}" for name, number in result.fvcore.by_operator.items())
    rows = [
        ("MACs", f"{count(total.macs)} (convolutions and dense layers)"),
        ("FLOPs", f"{count(total.flops)} (2 × MACs)"),
        ("fvcore total", f"{count(result.fvcore.total)} (fvcore's own count: {operators})"),
        ("model size", f"{size_in_bytes(result.runs[0].model_bytes)} in {result.case.dtype}"),
        ("activations", f"{size_in_bytes(result.activation_bytes)} at the fullest moment, batch {batch}"),
    ]
    return pairs("In full", rows)


def _run_table(result: Benchmark) -> Table:
    case = result.case
    batch, channels, height, width = case.input.shape
    layout = "channels last" if case.channels_last else "contiguous"
    title = f"Latency of a pass: input {batch}×{channels}×{height}×{width}, {case.dtype}, {layout}"
    made = table(title, "Device", ">Median", ">IQR", ">Min", ">Passes", ">Images/s", ">Peak memory")
    for run in result.runs:
        memory = "" if run.peak_memory_bytes is None else size_in_bytes(run.peak_memory_bytes)
        latency = run.latency
        made.add_row(
            _device(run),
            seconds(latency.median),
            seconds(latency.iqr),
            seconds(latency.min),
            count(len(latency.samples)),
            scaled(result.throughput_per_s(run)),
            memory,
        )
    return made


def _memory_notes(result: Benchmark) -> Report:
    """What peak memory means depends on the device."""
    kinds = {run.device.partition(":")[0] for run in result.runs if run.peak_memory_bytes is not None}
    meanings = {
        "cpu": "Peak memory on the CPU: the resident set of the whole process, Python and torch included.",
        "cuda": "Peak memory on CUDA: what torch's allocator handed out on the device.",
    }
    return [note(meaning, "dim") for kind, meaning in meanings.items() if kind in kinds]


def _device(run: BenchRun) -> str:
    if run.device == "cpu":
        return f"cpu, {run.threads} threads"
    return f"{run.device} ({run.device_name})" if run.device_name else run.device


def _environment_table(result: Benchmark) -> Table:
    machine = result.environment
    rows = [
        ("CPU", f"{machine.cpu}, {machine.cores} cores"),
        ("GPU", f"{machine.gpu}, driver {machine.driver}, CUDA {machine.cuda}" if machine.gpu else ""),
        ("memory", size_in_bytes(machine.memory_bytes)),
        ("software", f"torch {machine.torch}, Python {machine.python}, mnfpn {machine.mnfpn}"),
        ("system", machine.platform),
        ("date", machine.date),
    ]
    return pairs("Measured on", [row for row in rows if row[1]])


def bench_document(result: Benchmark) -> dict[str, Any]:
    """The benchmark under the keys that scripts rely on. Cost is for one image, whatever the batch."""
    total = result.cost.total
    return {
        "input": input_document(result.case.input),
        "cost": {
            "parameters": total.parameters,
            "macs": total.macs,
            "flops": total.flops,
            "fvcore_total": result.fvcore.total,
            "fvcore_by_operator": dict(result.fvcore.by_operator),
            "model_bytes": result.runs[0].model_bytes,
            "activation_bytes": result.activation_bytes,
            **{name: {"parameters": part.parameters, "macs": part.macs} for name, part in _parts(result).items()},
        },
        "runs": [_run(result, run) for run in result.runs],
        "failures": list(result.failures),
        "environment": asdict(result.environment),
        **weights_document(result.weights),
    }


def _run(result: Benchmark, run: BenchRun) -> dict[str, Any]:
    case, latency = result.case, run.latency
    return {
        "device": run.device,
        "device_name": run.device_name,
        "dtype": case.dtype,
        "batch": case.input.batch,
        "channels_last": case.channels_last,
        "threads": run.threads,
        "warmup": case.sampling.warmup,
        "latency_s": {
            "median": latency.median,
            "iqr": latency.iqr,
            "min": latency.min,
            "samples": list(latency.samples),
        },
        "throughput_per_s": result.throughput_per_s(run),
        "peak_memory_bytes": run.peak_memory_bytes,
    }
