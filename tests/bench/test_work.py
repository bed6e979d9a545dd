"""One run of a sweep, measured in this process: whatever comes of it is a document."""

import pytest

from mnfpn_cli.bench import bench as measuring
from mnfpn_cli.bench.bench import measure
from mnfpn_cli.bench.results import Benchmark
from mnfpn_cli.documents.worker import SamplingRecord, Work, WorkResult
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.made import benchmark, timed
from tests.sweep.works import work

TINY = NetworkSettings.model_validate({"stages": [[1, 8, 1, 2], [6, 8, 1, 2]]})


def test_a_run_is_measured_as_it_was_said() -> None:
    """Its passes, its layers, its input; and the document is the same when it is read back."""
    sampling = SamplingRecord(passes=6, warmup=1)
    result = measure(work(settings=TINY, height=32, width=48, threads=1, sampling=sampling, by_layer=True))
    assert (result.status, result.reason) == ("done", None)
    assert result.measured is not None
    run = result.measured.run
    assert (len(run.latency_s.samples), run.input.height, run.input.width, run.threads) == (6, 32, 48, 1)
    assert result.measured.profile is not None
    assert WorkResult.model_validate_json(result.model_dump_json()) == result


def test_a_training_step_is_timed_where_that_was_said() -> None:
    """And a runtime that cannot train is unavailable, with the reason."""
    tiny = {"settings": TINY, "height": 32, "width": 32, "threads": 1, "train": True}
    result = measure(work(**tiny, batch=2, sampling=SamplingRecord(passes=3, warmup=1)))
    assert result.status == "done"
    assert result.measured is not None
    assert result.measured.run.train
    fused = measure(work(**tiny, runtime="fused"))
    assert (fused.status, fused.measured) == ("unavailable", None)
    assert fused.reason == "inference only: it folds batch norm into convolutions"


def test_what_cannot_run_here_is_unavailable() -> None:
    """With the reason alone: the run knows where it was."""
    result = measure(work(settings=TINY, height=32, width=32, runtime="cuda-graph"))
    assert (result.status, result.reason, result.measured) == ("unavailable", "runs on CUDA alone", None)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (benchmark(timed([0.01] * 8, failure="out of memory", ended="failed")), "out of memory"),
        (benchmark(timed([0.01] * 8), complete=False), "it was interrupted"),
        (UsageError(Problem("`size`, `batch`", "must fit the memory")), "`size`, `batch`: must fit the memory"),
        (KeyboardInterrupt(), "it was interrupted"),
    ],
    ids=["half way", "interrupted", "refused", "at once"],
)
def test_what_was_not_measured_to_its_end_has_failed(
    monkeypatch: pytest.MonkeyPatch, made: Benchmark | BaseException, reason: str
) -> None:
    """With the reason; what was measured until then is not kept."""

    def ended(*_: object) -> Benchmark:
        if isinstance(made, BaseException):
            raise made
        return made

    monkeypatch.setattr(measuring, "benchmark", ended)
    assert measure(work()) == WorkResult(status="failed", reason=reason, measured=None)


def test_a_run_is_read_back_as_it_was() -> None:
    """Settings, size, sampling: a worker measures what was asked for."""
    whole = work(settings=TINY, threads=2, sampling=SamplingRecord(precision=0.02, min_time_s=1, max_time_s=5))
    assert Work.model_validate_json(whole.model_dump_json()) == whole


def test_what_was_not_said_of_sampling_has_its_default() -> None:
    """And what contradicts itself is refused as at the prompt."""
    assert SamplingRecord().sampling() == Sampling()
    assert SamplingRecord(passes=3, warmup=0).sampling().passes == 3
    with pytest.raises(UsageError, match=r"^max_time: must not be less than min_time"):
        SamplingRecord(min_time_s=2, max_time_s=1).sampling()
