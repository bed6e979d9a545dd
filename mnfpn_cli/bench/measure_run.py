"""Measure one run on request, as a worker of a sweep does."""

from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.bench_document import bench_document
from mnfpn_cli.bench.request import requested_case, requested_origin, requested_workload
from mnfpn_cli.bench.results import Benchmark
from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.worker import Measured, RunRequest, RunResponse
from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.external.origin import Origin

INTERRUPTED = "it was interrupted"


def measure_run(request: RunRequest) -> RunResponse:
    """Measure a run. A run that fails or cannot run here is a response with a reason, not an error."""
    try:
        return _response(request, _benchmark(request), requested_origin(request))
    except UnavailableError as error:  # the reason alone: whoever asks knows which run it is
        return request.respond("unavailable", error.problems[0].rule)
    except MnfpnError as error:
        return request.respond("failed", error.message)
    except KeyboardInterrupt:
        return request.respond("failed", INTERRUPTED)


def _benchmark(request: RunRequest) -> Benchmark:
    workload, case = requested_workload(request), requested_case(request)
    with reading_cpu_name() as cpu_name:
        return benchmark([workload], case, [request.device], cpu_name, lambda _doing, _share: None)


def _response(request: RunRequest, result: Benchmark, origin: Origin) -> RunResponse:
    """Return what was measured; a run that ended early has failed."""
    document = bench_document(result, origin)
    (run,) = document.runs
    if run.failure is not None or not document.complete:
        return request.respond("failed", run.failure or INTERRUPTED)
    measured = Measured(
        run=run,
        warnings=document.warnings,
        environment=document.environment,
        profile=next((one.model_copy(update={"operators": ()}) for one in document.profiles or ()), None),
    )
    return request.respond("done", "\n".join(document.failures) or None, measured)
