"""One run on request: a measurement and a failure are both a response."""

import json
from typing import Any

import pytest

from mnfpn_cli import FORMAT_VERSION
from mnfpn_cli.bench import measure_run as measuring
from mnfpn_cli.bench.measure_run import measure_run
from mnfpn_cli.bench.results import Benchmark
from mnfpn_cli.devices import allocator
from mnfpn_cli.documents.read import parse_document
from mnfpn_cli.documents.worker import RunRequest, RunResponse, SamplingRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.made import benchmark, timed
from tests.sweep.works import work

TINY = NetworkSettings.model_validate({"stages": [[1, 8, 1, 2], [6, 8, 1, 2]]})


def test_a_run_is_measured_as_requested() -> None:
    """Its passes, its layers, its input; and the document is the same when it is read back."""
    sampling = SamplingRecord(passes=6, warmup=1)
    result = measure_run(work(settings=TINY, height=32, width=48, threads=1, sampling=sampling, by_layer=True))
    assert (result.status, result.reason) == ("done", None)
    assert result.measured is not None
    run = result.measured.run
    assert (len(run.latency_s.samples), run.input.height, run.input.width, run.threads) == (6, 32, 48, 1)
    assert result.measured.profile is not None
    assert parse_document(result.model_dump_json().encode(), RunResponse, "x", extra="forbid") == result


def test_a_training_step_is_timed_on_request() -> None:
    """And a runtime that cannot train is unavailable, with the reason."""
    tiny = {"settings": TINY, "height": 32, "width": 32, "threads": 1, "train": True}
    result = measure_run(work(**tiny, batch=2, sampling=SamplingRecord(passes=3, warmup=1)))
    assert result.status == "done"
    assert result.measured is not None
    assert result.measured.run.train
    fused = measure_run(work(**tiny, runtime="fused"))
    assert (fused.status, fused.measured) == ("unavailable", None)
    assert fused.reason == "inference only: it folds batch norm into convolutions"


def test_a_run_that_is_impossible_here_is_unavailable() -> None:
    """With the reason alone, without the name of the run."""
    result = measure_run(work(settings=TINY, height=32, width=32, runtime="cuda-graph"))
    assert (result.status, result.reason, result.measured) == ("unavailable", "runs on CUDA alone", None)


def test_a_machine_that_cannot_keep_memory_leaves_the_run_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a device that it does not have."""
    monkeypatch.setattr(allocator, "can_keep", lambda: False)
    result = measure_run(work(settings=TINY, height=32, width=32, allocator="keep"))
    assert (result.status, result.reason, result.measured) == ("unavailable", "needs Linux with glibc", None)


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
def test_a_run_that_ended_early_has_failed(
    monkeypatch: pytest.MonkeyPatch, made: Benchmark | BaseException, reason: str
) -> None:
    """With the reason; its samples are dropped."""

    def ended(*_: object) -> Benchmark:
        if isinstance(made, BaseException):
            raise made
        return made

    monkeypatch.setattr(measuring, "benchmark", ended)
    assert measure_run(work()) == work().respond("failed", reason)


def test_a_request_is_read_back_unchanged() -> None:
    """Settings, size and sampling."""
    whole = work(settings=TINY, threads=2, sampling=SamplingRecord(precision=0.02, min_time_s=1, max_time_s=5))
    assert parse_document(whole.model_dump_json().encode(), RunRequest, "x", extra="forbid") == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, f"must be of format_version {FORMAT_VERSION}, which this mnfpn reads, got 99"),
        (
            {"command": "worker response"},
            "must be a document of mnfpn worker request, got one of mnfpn worker resp",
        ),
        ({"caches": "cold"}, "caches: unknown key"),
        ({"settings": None}, "settings: must be there where there is no model, got null"),
    ],
    ids=["version", "response", "unknown key", "no settings"],
)
def test_a_request_that_is_not_understood_is_refused(changes: dict[str, Any], message: str) -> None:
    """Measuring something else than what was requested would be worse."""
    request = {**work().model_dump(mode="json"), **changes}
    with pytest.raises(UsageError, match=f"^x: {message}"):
        parse_document(json.dumps(request).encode(), RunRequest, "x", extra="forbid")


def test_null_sampling_has_defaults() -> None:
    """Values that contradict each other are refused as on the command line."""
    assert SamplingRecord().sampling() == Sampling()
    assert SamplingRecord(passes=3, warmup=0).sampling().passes == 3
    with pytest.raises(UsageError, match=r"^max_time: must not be less than min_time"):
        SamplingRecord(min_time_s=2, max_time_s=1).sampling()
