"""One run of a sweep, measured in this process."""

from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.candidate import PlannedCandidate
from mnfpn_cli.bench.document import bench_document
from mnfpn_cli.bench.results import Benchmark
from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.work import Measured, Work, WorkResult
from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import BenchCase

INTERRUPTED = "it was interrupted"


def measure(work: Work) -> WorkResult:
    """Measure a run; why that could not be done is the result's reason."""
    try:
        origin = FromSettings(work.settings)
        return _result(_benchmark(work, origin), origin)
    except UnavailableError as error:  # where it cannot run is known: it is the run
        return WorkResult(status="unavailable", reason=error.problems[0].rule, measured=None)
    except MnfpnError as error:
        return _failed(error.message)
    except KeyboardInterrupt:
        return _failed(INTERRUPTED)


def _benchmark(work: Work, origin: FromSettings) -> Benchmark:
    case = BenchCase(
        batches=(work.batch,),
        runtimes=(work.runtime,),
        dtype=work.dtype,
        threads=work.threads,
        train=work.train,
        by_layer=work.by_layer,
        sampling=work.sampling.sampling(),
    )
    network = PlannedCandidate(origin, Size(work.height, work.width))
    with reading_cpu_name() as cpu_name:
        return benchmark([network], case, [work.device], cpu_name, lambda _doing, _share: None)


def _result(result: Benchmark, origin: FromSettings) -> WorkResult:
    document = bench_document(result, origin)
    (run,) = document.runs
    if run.failure is not None or not document.complete:
        return _failed(run.failure or INTERRUPTED)
    measured = Measured(
        run=run,
        warnings=document.warnings,
        environment=document.environment,
        profile=next(iter(document.profiles or ()), None),
    )
    return WorkResult(status="done", reason="\n".join(document.failures) or None, measured=measured)


def _failed(reason: str) -> WorkResult:
    return WorkResult(status="failed", reason=reason, measured=None)
