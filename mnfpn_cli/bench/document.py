"""The document of `mnfpn bench`, from what was measured."""

from math import isfinite

from mnfpn_cli.bench.results import Benchmark, BenchRun, NotRun, RunKey, SizeCost
from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.documents.bench import (
    BenchDocument,
    CostRecord,
    FirstResult,
    GpuRecord,
    NotRunRecord,
    PartCost,
    ProfileRecord,
    RunConditions,
    RunProfile,
    RunRecord,
    SizeRecord,
)
from mnfpn_cli.external.inputs import input_record
from mnfpn_cli.external.origin import Origin
from mnfpn_cli.measure.statistics import latency_record
from mnfpn_cli.plan.cost import Cost
from mnfpn_cli.settings.measuring import BenchCase


def bench_document(result: Benchmark, origin: Origin) -> BenchDocument:
    """Make the document of a benchmark; ``origin`` is the network's."""
    profiles = tuple(_profile(one.cell, one.profile, result.case) for one in result.profiles)
    return BenchDocument(
        settings=origin.settings,
        model=origin.model,
        complete=result.complete,
        input=input_record(result.rows[0].cell.input),
        cost=_cost(result.costs[0]),
        sizes=tuple(_size(one) for one in result.costs),
        runs=tuple(_run(result, run) for run in result.runs),
        not_run=tuple(_not_run(row, result.case) for row in result.not_run),
        profiles=profiles or None,
        failures=result.failures,
        warnings=tuple(warning.record() for warning in result.warnings),
        environment=result.environment,
        weights=result.weights,
    )


def _size(one: SizeCost) -> SizeRecord:
    height, width = (None, None) if isinstance(one.size, str) else one.size
    return SizeRecord(height=height, width=width, cost=_cost(one))


def _cost(one: SizeCost) -> CostRecord:
    total, parts = one.cost.total, one.cost.parts
    return CostRecord(
        parameters=total.parameters,
        macs=total.macs,
        flops=total.flops,
        fvcore_total=one.fvcore.total if one.fvcore else None,
        fvcore_by_operator=dict(one.fvcore.by_operator) if one.fvcore else None,
        model_bytes=one.model_bytes,
        activation_bytes=one.activation_bytes,
        backbone=_part(parts.get("backbone")),
        pyramid=_part(parts.get("pyramid")),
        head=_part(parts.get("head")),
    )


def _part(cost: Cost | None) -> PartCost | None:
    return PartCost(parameters=cost.parameters, macs=cost.macs) if cost else None


def _run(result: Benchmark, run: BenchRun) -> RunRecord:
    difference = run.difference
    return RunRecord(
        **vars(_conditions(run.cell, result.case)),
        device_name=run.device_name,
        channels_last=run.cell.runtime == "channels-last",
        threads=run.threads,
        first_result_s=FirstResult(prepare=run.first.prepare_s, pass_=run.first.pass_s),
        warmup=run.warm_up.passes,
        warmup_settled=run.warm_up.settled,
        ended_by=run.ended,
        latency_s=latency_record(run.latency),
        enqueue_s=latency_record(run.enqueue) if run.enqueue else None,
        speed_up=result.speed_up(run),
        throughput_per_s=run.throughput_per_s,
        max_difference=difference if difference is not None and isfinite(difference) else None,
        peak_memory_bytes=run.peak_memory_bytes,
        added_memory_bytes=run.added_memory_bytes,
        gpu=_gpu(run.gpu),
        energy_j_per_image=None if run.energy_j is None else run.energy_j / run.cell.input.batch,
        failure=run.failure,
    )


def _not_run(row: NotRun, case: BenchCase) -> NotRunRecord:
    return NotRunRecord(**vars(_conditions(row.cell, case)), status=row.status, reason=row.reason)


def _profile(cell: RunKey, profile: ProfileRecord, case: BenchCase) -> RunProfile:
    return RunProfile(**vars(_conditions(cell, case)), **vars(profile))


def _conditions(cell: RunKey, case: BenchCase) -> RunConditions:
    return RunConditions(
        runtime=cell.runtime,
        device=cell.device,
        dtype=case.dtype,
        batch=cell.input.batch,
        input=input_record(cell.input),
        train=case.train,
        cold_cache=case.cold_cache,
    )


def _gpu(state: GpuState | None) -> GpuRecord | None:
    """Leave out the energy, which is that of a single reading."""
    if state is None or state == GpuState():
        return None
    return GpuRecord(**{name: getattr(state, name) for name in GpuRecord.model_fields})
