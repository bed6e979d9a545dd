"""`mnfpn bench` as JSON, under the keys that scripts rely on."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.documents import input_document
from mnfpn_cli.report.terminal.layers import layers_document

if TYPE_CHECKING:
    from mnfpn_cli.bench.results import Benchmark, BenchRun, Cell, NotRun, SizeCost
    from mnfpn_cli.measure.statistics import Latency


def bench_document(result: Benchmark) -> dict[str, Any]:
    """The benchmark; ``input`` and ``cost`` are those of the first size and batch, ``sizes`` has the cost of each.

    Cost is for one image, whatever the batch, but for ``activation_bytes``; of tensors of given shapes for all of them.
    """
    return {
        "complete": result.complete,
        "input": input_document(result.rows[0].cell.input),
        "cost": _cost(result.costs[0]),
        "sizes": [_size(one) for one in result.costs],
        "runs": [run_document(result, run) for run in result.runs],
        "not_run": [_not_run(result, row) for row in result.not_run],
        **_profiles(result),
        "failures": list(result.failures),
        "warnings": [asdict(warning) for warning in result.warnings],
        "environment": asdict(result.environment),
        **({"weights": result.weights.model_dump(mode="json")} if result.weights else {}),
    }


def _profiles(result: Benchmark) -> dict[str, Any]:
    """Where the time goes, where that was asked for."""
    made = [{**_cell(result, one.cell), **layers_document(one.profile)} for one in result.profiles]
    return {"profiles": made} if made else {}


def _size(one: SizeCost) -> dict[str, Any]:
    height, width = (None, None) if isinstance(one.size, str) else one.size
    return {"height": height, "width": width, "cost": _cost(one)}


def _cost(one: SizeCost) -> dict[str, Any]:
    total = one.cost.total
    return {
        "parameters": total.parameters,
        "macs": total.macs,
        "flops": total.flops,
        "fvcore_total": one.fvcore.total if one.fvcore else None,
        "fvcore_by_operator": dict(one.fvcore.by_operator) if one.fvcore else None,
        "model_bytes": one.model_bytes,
        "activation_bytes": one.activation_bytes,
        **{name: {"parameters": part.parameters, "macs": part.macs} for name, part in one.cost.parts.items()},
    }


def run_document(result: Benchmark, run: BenchRun) -> dict[str, Any]:
    """One row; what could not be read is absent or null."""
    return {
        **_cell(result, run.cell),
        "device_name": run.device_name,
        "channels_last": run.cell.runtime == "channels-last",
        "threads": run.threads,
        "first_result_s": {"prepare": run.first.prepare_s, "pass": run.first.pass_s},
        "warmup": run.warm_up.passes,
        "warmup_settled": run.warm_up.settled,
        "ended_by": run.ended,
        "latency_s": latency_document(run.latency),
        **({"enqueue_s": latency_document(run.enqueue)} if run.enqueue else {}),
        "speed_up": result.speed_up(run),
        "throughput_per_s": run.throughput_per_s,
        "max_difference": run.difference if run.difference is not None and isfinite(run.difference) else None,
        "peak_memory_bytes": run.peak_memory_bytes,
        "added_memory_bytes": run.added_memory_bytes,
        **_gpu(run),
        "failure": run.failure,
    }


def latency_document(latency: Latency) -> dict[str, Any]:
    """Statistics of samples, in seconds, and the samples themselves; null where they are too few for one."""
    return {
        "median": latency.median,
        "ci95": list(latency.interval) if latency.interval else None,
        "quartiles": list(latency.quartiles),
        "iqr": latency.iqr,
        "min": latency.min,
        "mad": latency.mad,
        "p90": latency.percentile(90),
        "p99": latency.percentile(99),
        "outliers": list(latency.outliers),
        "samples": list(latency.samples),
    }


def _gpu(run: BenchRun) -> dict[str, Any]:
    """What could be read of the GPU; nothing where nothing could."""
    state = {key: value for key, value in asdict(run.gpu).items() if value is not None} if run.gpu else {}
    energy = {} if run.energy_j is None else {"energy_j_per_image": run.energy_j / run.cell.input.batch}
    return {**({"gpu": state} if state else {}), **energy}


def _not_run(result: Benchmark, row: NotRun) -> dict[str, Any]:
    return {**_cell(result, row.cell), "status": row.status, "reason": row.reason}


def _cell(result: Benchmark, cell: Cell) -> dict[str, Any]:
    return {
        "runtime": cell.runtime,
        "device": cell.device,
        "dtype": result.case.dtype,
        "batch": cell.input.batch,
        "input": input_document(cell.input),
        "train": result.case.train,
        "cold_cache": result.case.cold_cache,
    }
