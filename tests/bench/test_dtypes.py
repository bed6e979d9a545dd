"""Several dtypes in one benchmark: timed in turn, judged by the same images, each with what it brings and costs."""

from itertools import count
from pathlib import Path

import pytest
import torch

from mnfpn_cli import api
from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.bench_document import bench_document
from mnfpn_cli.bench.judge import Judge, Reference
from mnfpn_cli.bench.prepare import run_eager_float32
from mnfpn_cli.bench.results import Benchmark, speed_up
from mnfpn_cli.bench.workload import PlannedWorkload
from mnfpn_cli.documents.bench import BenchDocument
from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.quantization.calibration import calibration_inputs
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.runtime import Job, Prepared
from mnfpn_cli.settings.input import DType, Size, choose_dtypes
from mnfpn_cli.settings.measuring import BenchCase, Sampling
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.quantization import QuantizationCase
from mnfpn_cli.trace.inputs import input_tensors
from tests.bench.made import benchmark as made
from tests.bench.made import key, missing, timed

SMALL = NetworkSettings.model_validate({"width_mult": 0.25, "pyramid": {"channels": 16}})
ORIGIN = FromSettings(SMALL)
WORKLOAD = PlannedWorkload(ORIGIN, Size(64, 64))
FEW = Sampling(warmup=1, passes=4, min_time_s=0.0)


def measured(*dtypes: DType, runtimes: tuple[str, ...] = ("eager",), **more: object) -> tuple[Benchmark, BenchDocument]:
    """The result of a small benchmark, and its document."""
    case = BenchCase(runtimes=runtimes, dtypes=dtypes, threads=1, sampling=FEW, **more)  # type: ignore[arg-type]
    result = benchmark([WORKLOAD], case, ["cpu"], lambda: "a CPU", lambda _doing, _share: None)
    return result, bench_document(result, ORIGIN)


def test_each_runtime_runs_in_each_dtype_the_first_dtype_first() -> None:
    """A network in float32 by all runtimes comes before the same in bfloat16; the first run is what others face."""
    _, document = measured("float32", "bfloat16", runtimes=("eager", "channels-last"))
    runs = [(run.runtime, run.dtype) for run in document.runs]
    assert runs == [(runtime, dtype) for dtype in ("float32", "bfloat16") for runtime in ("eager", "channels-last")]
    assert document.runs[0].speed_up == 1.0
    assert document.runs[0].speed_up_ci95 is None


def test_float32_is_what_others_are_judged_by_and_is_not_judged_itself() -> None:
    """A run in another dtype has the figures of its outputs, and of what its runtime executed."""
    _, document = measured("float32", "bfloat16")
    plain, rounded = document.runs
    assert (plain.quality, plain.graph, plain.verdict) == (None, None, None)
    assert rounded.quality is not None
    assert [one.name for one in rounded.quality.outputs] == ["p2", "p3", "p4", "p5"]
    assert all(5 < (one.snr_db or 0) < 60 for one in rounded.quality.outputs)
    assert not rounded.quality.real
    assert not rounded.quality.trained
    assert rounded.graph is not None
    assert rounded.graph.share == 1.0
    assert rounded.verdict
    assert "bfloat16" in rounded.verdict


def test_a_dtype_that_a_runtime_lacks_is_a_failure_only_where_it_runs_in_no_other() -> None:
    """Of several dtypes a runtime need not have them all, but a runtime that was named must run."""
    several, _ = measured("float32", "int8")
    assert [run.key.dtype for run in several.not_run] == ["int8"]
    assert several.failures == ()
    alone = made(timed([1.0] * 6), missing(key("openvino")))
    assert len(alone.failures) == 1


def test_a_ratio_has_the_interval_of_runs_in_turn() -> None:
    """Whatever slows the machine for longer than two rounds slows both runs, and cancels out."""
    slow, fast = [3.0, 3.0, 6.0, 6.0, 9.0, 9.0] * 4, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0] * 4
    base, run = timed(slow), timed(fast, key("fused"))
    ratio = speed_up(base, run)
    assert ratio.value == pytest.approx(3.0)
    assert ratio.interval == pytest.approx((3.0, 3.0))
    assert speed_up(base, base).interval is None


def test_judging_leaves_the_inputs_of_the_timed_pass_as_they_were() -> None:
    """The passes that are timed read the same values before and after."""
    inputs = WORKLOAD.input(1)
    images = calibration_inputs(QuantizationCase(), None, inputs, lambda _doing, _share: None)

    def job(dtype: DType) -> Job:
        built, _ = ORIGIN.build(0)
        return Job(built, True, input_tensors(inputs), torch.device("cpu"), dtype)

    with torch.inference_mode():
        reference = run_eager_float32(job("float32"), images.judge)
        prepared = eager.prepare(job("bfloat16"))
        before = [tensor.clone() for tensor in prepared.inputs]
        record = Judge(ORIGIN, inputs, images, reference.judged).judge(prepared, calibrated=False)
    assert record is not None
    assert record.images == len(images.judge)
    assert all(torch.equal(x, y) for x, y in zip(prepared.inputs, before, strict=True))


def test_a_runtime_that_returns_nonsense_has_noise_as_loud_as_the_signal() -> None:
    """Outputs of zeros are 0 dB, and their cosine is 0."""
    inputs = WORKLOAD.input(1)
    images = calibration_inputs(QuantizationCase(), None, inputs, lambda _doing, _share: None)
    with torch.inference_mode():
        network, _ = ORIGIN.build(0)
        job = Job(network, True, input_tensors(inputs), torch.device("cpu"), "float32")
        reference: Reference = run_eager_float32(job, images.judge)
        zeros = [torch.zeros_like(tensor) for _, tensor in reference.outputs]
        record = Judge(ORIGIN, inputs, images, reference.judged).judge(
            Prepared(lambda: zeros, job.inputs), calibrated=False
        )
    assert record is not None
    assert [one.cosine for one in record.outputs] == [0.0] * 4
    assert [one.snr_db for one in record.outputs] == pytest.approx([0.0] * 4)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"dtype": "int8", "train": True}, "`dtype` int8: cannot be used with `train`"),
        ({"keep_float": "stem"}, "`keep_float`: requires `dtype` int8"),
        ({"calibration": "photos"}, "`calibration`: requires another `dtype` than float32"),
        ({"dtype": ["float32", "int9"]}, "`dtype`: must be one of float32, bfloat16, float16, int8, got 'int9'"),
    ],
)
def test_what_has_no_effect_or_no_meaning_is_refused(given: dict[str, object], where: str) -> None:
    """No option is ignored in silence."""
    with pytest.raises(UsageError) as raised:
        api.bench(SMALL, size=64, device="cpu", passes=2, warmup=1, **given)  # type: ignore[arg-type]
    assert where in raised.value.message


def test_an_unknown_layer_ends_the_command_before_anything_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is none of the network's is a mistake of the user, not the failure of a run."""
    prepared = count()
    monkeypatch.setattr(eager, "prepare", lambda _: next(prepared))
    with pytest.raises(UsageError, match="keep_float"):
        measured("float32", "int8", quantization=QuantizationCase(keep_float=("stem.convv",)))
    assert next(prepared) == 0


def test_a_folder_without_images_ends_the_command(tmp_path: Path) -> None:
    """Calibration images are looked for before anything is timed."""
    with pytest.raises(UsageError):
        measured("float32", "bfloat16", quantization=QuantizationCase(calibration=tmp_path))


def test_names_of_dtypes_are_read_as_those_of_runtimes() -> None:
    """Several by commas, each once, in order."""
    assert choose_dtypes(["int8,float32", "int8"]) == ("int8", "float32")
