"""Requests of runs: a run of a group as a request for another process, and the group that such a request asks for."""

from dataclasses import asdict
from pathlib import Path

from mnfpn_cli.bench.group import Group
from mnfpn_cli.bench.results import RunKey
from mnfpn_cli.bench.workload import BenchWorkload, bench_workloads
from mnfpn_cli.documents.worker import CheckpointRequest, QuantizationRequest, RunRequest, SamplingRecord
from mnfpn_cli.external.origin import FromSettings, Origin, Workload, input_record, recorded_inputs, recorded_origin
from mnfpn_cli.settings.measuring import LITERT, BenchCase
from mnfpn_cli.settings.quantization import QuantizationCase
from mnfpn_cli.weights.file import WeightsFile


def request_of(group: Group, key: RunKey) -> RunRequest:
    """Return the request of a run of a group."""
    return run_request(group.workload.origin, group.workload.seed, group.case, key)


def run_request(origin: Origin, seed: int, case: BenchCase, key: RunKey) -> RunRequest:
    """Return the request of a run.

    Only the warm-up of the case's sampling is part of it: whoever gives the turns decides when the passes end.

    Args:
        origin: where its network comes from.
        seed: of random weights.
        case: how it is prepared and timed.
        key: what it runs on what.
    """
    weights = origin.weights if isinstance(origin, FromSettings) else None
    quantization, calibration = case.quantization, case.quantization.calibration
    return RunRequest(
        settings=origin.settings,
        model=origin.model,
        input=input_record(key.input),
        weights=CheckpointRequest(**{**vars(weights), "path": str(weights.path)}) if weights else None,
        seed=seed,
        runtime=key.runtime,
        device=key.device,
        dtype=key.dtype,
        threads=case.threads,
        train=case.train,
        allocator=case.allocator,
        cold_cache=case.cold_cache,
        tflite=str(case.tflite) if key.runtime == LITERT else None,
        quantization=QuantizationRequest(
            **{**asdict(quantization), "calibration": str(calibration) if calibration else None}
        ),
        sampling=SamplingRecord(warmup=case.sampling.warmup),
        by_layer=case.by_layer,
        roofline=case.roofline,
    )


def requested_workload(request: RunRequest) -> BenchWorkload:
    """Return the workload of a request; the code of an external network runs now.

    Raises:
        UsageError: where a target is no network, or takes another number of inputs.
        ModelError: where its code fails.
    """
    (workload,) = bench_workloads([Workload(requested_origin(request), recorded_inputs(request.input))], request.seed)
    return workload


def requested_origin(request: RunRequest) -> Origin:
    """Return where the network of a request comes from."""
    weights = request.weights
    if request.settings is not None:
        file = WeightsFile(Path(weights.path), weights.key, weights.partial) if weights else None
        return FromSettings(request.settings, file)
    return recorded_origin(None, request.model)


def requested_case(request: RunRequest) -> BenchCase:
    """Return the case of a request, which has one run."""
    asked = request.quantization
    return BenchCase(
        batches=(request.input.batch,),
        runtimes=(request.runtime,),
        dtypes=(request.dtype,),
        threads=request.threads,
        allocator=request.allocator,
        train=request.train,
        cold_cache=request.cold_cache,
        by_layer=request.by_layer,
        roofline=request.roofline,
        tflite=Path(request.tflite) if request.tflite else None,
        quantization=QuantizationCase(
            Path(asked.calibration) if asked.calibration else None, asked.keep_float, asked.mean, asked.std
        ),
        sampling=request.sampling.sampling(),
    )
