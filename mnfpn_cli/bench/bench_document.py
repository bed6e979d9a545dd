"""The document of a benchmark, made of its result."""

from math import isfinite

from mnfpn_cli.bench.inventory import BY_ONEDNN
from mnfpn_cli.bench.postprocess import postprocess_record
from mnfpn_cli.bench.results import Benchmark, MeasuredRun, NotRun, ProfiledRun, RunKey, SizeCost, speed_up
from mnfpn_cli.bench.verdict import PrecisionResult, precision_verdict
from mnfpn_cli.devices.instructions import this_processor
from mnfpn_cli.devices.nvml import GpuState
from mnfpn_cli.documents.bench import (
    BenchDocument,
    CostRecord,
    FirstResult,
    GpuRecord,
    NotRunRecord,
    PartCost,
    RunConditions,
    RunProfile,
    RunRecord,
    SizeRecord,
)
from mnfpn_cli.documents.quality import GraphRecord, OperatorRecord
from mnfpn_cli.external.origin import Origin, input_record
from mnfpn_cli.measure.statistics import latency_record
from mnfpn_cli.plan.cost import Cost
from mnfpn_cli.runtimes.runtime import ExecutedGraph
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.measuring import BenchCase


def bench_document(result: Benchmark, origin: Origin) -> BenchDocument:
    """Make the document of a benchmark; ``origin`` is where its network comes from."""
    positions = {run.key: position for position, run in enumerate(result.runs)}
    return BenchDocument(
        settings=origin.settings,
        model=origin.model,
        complete=result.complete,
        input=input_record(result.runs[0].key.input),
        cost=_cost(result.costs[0]),
        sizes=tuple(map(_size, result.costs)),
        runs=tuple(_run(result, run, positions[run.key]) for run in result.measured),
        not_run=tuple(_not_run(run, positions[run.key], result.case) for run in result.not_run),
        postprocess=tuple(map(postprocess_record, result.postprocess)) or None,
        profiles=tuple(_profile(one, result.case) for one in result.profiles) or None,
        noise=result.noise or None,
        failures=result.failures,
        warnings=result.warnings,
        environment=result.environment,
        weights=result.weights,
    )


def _size(cost: SizeCost) -> SizeRecord:
    height, width = (None, None) if isinstance(cost.size, str) else cost.size
    return SizeRecord(height=height, width=width, cost=_cost(cost))


def _cost(cost: SizeCost) -> CostRecord:
    total, parts, fvcore = cost.cost.total, cost.cost.parts, cost.fvcore
    return CostRecord(
        parameters=total.parameters,
        macs=total.macs,
        flops=total.flops,
        fvcore_total=fvcore.total if fvcore else None,
        fvcore_by_operator=dict(fvcore.by_operator) if fvcore else None,
        model_bytes=cost.model_bytes,
        activation_bytes=cost.activation_bytes,
        backbone=_part(parts.get("backbone")),
        pyramid=_part(parts.get("pyramid")),
        head=_part(parts.get("head")),
    )


def _part(cost: Cost | None) -> PartCost | None:
    return PartCost(parameters=cost.parameters, macs=cost.macs) if cost else None


def _run(result: Benchmark, run: MeasuredRun, position: int) -> RunRecord:
    difference, faster = run.difference, speed_up(result.first(run), run)
    graph = graph_record(run.graph, run.key.dtype, run.keep_float) if run.graph else None
    return RunRecord(
        **vars(_conditions(run.key, result.case)),
        position=position,
        gpu_name=run.gpu_name,
        channels_last=run.key.runtime == "channels-last",
        threads=run.threads,
        first_result_s=FirstResult(prepare=run.first.prepare_s, pass_=run.first.pass_s),
        warmup=run.warm_up.passes,
        warmup_settled=run.warm_up.settled,
        ended_by=run.ended,
        latency_s=latency_record(run.latency),
        enqueue_s=latency_record(run.enqueue) if run.enqueue else None,
        speed_up=faster.value,
        speed_up_ci95=tuple(faster.interval) if faster.interval else None,
        throughput_per_s=run.throughput_per_s,
        comparable=None if difference is None else isfinite(difference),
        max_difference=difference if difference is not None and isfinite(difference) else None,
        quality=run.quality,
        graph=graph,
        verdict=_verdict(result, run, graph),
        file_bytes=run.file_bytes,
        peak_memory_bytes=run.peak_memory_bytes,
        added_memory_bytes=run.added_memory_bytes,
        isolated=run.own_process is not None,
        passes_memory_bytes=run.own_process.passes_memory_bytes if run.own_process else None,
        driver_memory_bytes=run.own_process.driver_memory_bytes if run.own_process else None,
        turn_s=run.own_process.turn_s if run.own_process else None,
        page_faults=run.page_faults,
        gpu=_gpu(run.gpu),
        energy_j_per_image=None if run.energy_j is None else run.energy_j / run.key.input.batch,
        failure=run.failure,
    )


def _verdict(result: Benchmark, run: MeasuredRun, graph: GraphRecord | None) -> str | None:
    """Return what a dtype brings and costs beside the same runtime in float32; None in float32 and in training."""
    if run.key.dtype == "float32" or result.case.train:
        return None
    base = result.in_float32(run)
    same_runtime = base is run or base.key.runtime == run.key.runtime
    return precision_verdict(
        PrecisionResult(
            dtype=run.key.dtype,
            reference="float32" if same_runtime else f"{base.key.runtime} in {base.key.dtype}",
            speed_up=None if base is run else speed_up(base, run),
            comparable=None if run.difference is None else isfinite(run.difference),
            quality=run.quality,
            graph=graph,
            emulated=_why_emulated(run.key),
        )
    )


def _why_emulated(key: RunKey) -> str | None:
    """Return why the CPU emulates the dtype of a run; None where it does not, and on other devices."""
    if key.device != "cpu":
        return None
    return this_processor().why_emulated(key.dtype, capped=key.runtime in BY_ONEDNN)


def graph_record(graph: ExecutedGraph, dtype: DType, keep_float: frozenset[str] = frozenset()) -> GraphRecord:
    """Make the record of what a runtime executed where it was asked for a dtype, but for some layers in float32."""
    others = [one for one in graph.operators if one.dtype != dtype]
    kept = [one for one in others if one.name.partition("/")[0] in keep_float]  # a later call of a layer is path/2
    macs = sum(one.macs for one in graph.operators)
    return GraphRecord(
        share=graph.share_in(dtype),
        fallbacks=tuple(
            OperatorRecord(name=one.name, dtype=one.dtype, macs=one.macs) for one in others if one not in kept
        ),
        kept_share=sum(one.macs for one in kept) / macs if macs else 0.0,
        conversions=graph.conversions,
    )


def _not_run(run: NotRun, position: int, case: BenchCase) -> NotRunRecord:
    return NotRunRecord(**vars(_conditions(run.key, case)), position=position, status=run.status, reason=run.reason)


def _profile(run: ProfiledRun, case: BenchCase) -> RunProfile:
    return RunProfile(**vars(_conditions(run.key, case)), **vars(run.profile))


def _conditions(key: RunKey, case: BenchCase) -> RunConditions:
    return RunConditions(
        runtime=key.runtime,
        device=key.device,
        dtype=key.dtype,
        batch=key.input.batch,
        input=input_record(key.input),
        train=case.train,
        cold_cache=case.cold_cache,
    )


def _gpu(state: GpuState | None) -> GpuRecord | None:
    """Make the record of a GPU, without its energy counter, whose value alone has no meaning."""
    if state is None or state == GpuState():
        return None
    return GpuRecord(**{name: getattr(state, name) for name in GpuRecord.model_fields})
