"""External networks in a benchmark: their cost is observed in a pass, and a failure is a run that says so."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.results import Benchmark
from mnfpn_cli.bench.workload import ObservedWorkload, load_observed
from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import External, Inputs, TensorInputs
from mnfpn_cli.external.target import InputSpec, parse_target
from mnfpn_cli.plan.cost import Cost
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.measuring import BenchCase, Sampling

FILE = Path(__file__).parent / "others.py"
SIZE = Size(16, 32)
IMAGE = NetworkInput(1, 3, SIZE)
CASE = BenchCase(threads=1, sampling=Sampling(warmup=1, passes=3, min_time_s=0.0))
WORDS = TensorInputs((InputSpec((2, 5), "int64"), InputSpec((2, 5, 1), "float16")))


def loaded(name: str, *inputs: Inputs, arguments: tuple[str, ...] = (), seed: int = 0) -> list[ObservedWorkload]:
    """A network of the file."""
    return load_observed(External(parse_target(f"{FILE}:{name}", arguments)), inputs or (IMAGE,), seed)


def measured(workloads: list[ObservedWorkload], case: BenchCase = CASE) -> Benchmark:
    """Measure it on the CPU."""
    return benchmark(workloads, case, ["cpu"], lambda: "a CPU", lambda *_: None)


def test_the_cost_is_that_of_the_operations_of_a_pass() -> None:
    """By hand: two convolutions of 3×3 to maps of 8×16 and 4×8; activations as they are alive together."""
    (one,) = loaded("Levels")
    macs = 9 * (3 * 4 * 8 * 16 + 4 * 4 * 4 * 8)
    parameters = (9 * 3 * 4 + 4) + 2 * 4 + (9 * 4 * 4 + 4)
    assert one.cost().total == Cost(parameters, macs=macs)
    assert one.cost().parts == {}
    full, half = one.needed(IMAGE, "float32"), one.needed(IMAGE, "bfloat16")
    assert full.weights == 4 * (parameters + 8) + 8
    assert (half.weights - 8, half.activations) == ((full.weights - 8) / 2, full.activations / 2)
    assert full.activations >= 4 * (3 * 16 * 32 + 2 * 4 * 8 * 16)
    assert one.needed(one.input(3), "float32").activations == 3 * full.activations


def test_nothing_is_hidden_by_inference_mode() -> None:
    """A dense layer is one operation there, which has no formula."""
    macs = loaded("Words", WORDS)[0].cost().total.macs
    with torch.inference_mode():
        assert loaded("Words", WORDS)[0].cost().total.macs == macs == 10 * 8 * 4


def test_a_network_comes_in_float32_in_eval_mode_and_with_each_weight_once() -> None:
    """Whatever its constructor left it in."""
    (one,) = loaded("Tied", TensorInputs((InputSpec((1, 4)),)))
    assert {weight.dtype for weight in one.network.parameters()} == {torch.float32}
    assert not one.network.training
    assert one.needed(one.base, "float32").weights == 4 * 16


def test_the_seed_decides_the_weights_and_stays_in_the_constructor() -> None:
    """The state of torch's random numbers is unchanged."""
    before = torch.get_rng_state()
    first, again, other = (loaded("Levels", seed=seed)[0].network.get_parameter("fine.weight") for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_have_a_run_for_each_batch() -> None:
    """As of networks from settings; the cost is for one image, activations are for the first batch."""
    result = measured(loaded("Levels"), replace(CASE, batches=(3, 2)))
    assert [(len(run.latency.samples), run.key.input.batch) for run in result.measured] == [(3, 3), (3, 2)]
    (cost,), (one,) = result.costs, loaded("Levels")
    assert (cost.size, cost.cost) == (SIZE, one.cost())
    assert cost.activation_bytes == one.needed(one.input(3), "float32").activations
    assert cost.fvcore is not None
    assert cost.fvcore.by_operator["conv"] == cost.cost.total.macs


def test_tensors_are_one_run_with_their_own_batch() -> None:
    """The first dimension of the first; what was said of element types is in the name of the run."""
    (run,) = measured(loaded("Words", WORDS)).measured
    assert str(run.key) == "eager on cpu, batch 2, 2×5 int64, 2×5×1 float16"
    assert run.throughput_per_s == pytest.approx(2 / run.latency.median)


def test_a_network_that_fvcore_cannot_trace_is_timed_all_the_same() -> None:
    """Its count is then not known."""
    result = measured(loaded("Untraceable"))
    assert (len(result.measured), result.costs[0].fvcore) == (1, None)
    assert result.costs[0].cost.total.macs > 0


def test_a_size_at_which_it_fails_is_a_run_that_says_so() -> None:
    """By its error's first line; the other size is timed."""
    small = NetworkInput(1, 3, Size(16, 16))
    result = measured(loaded("Fails", small, IMAGE, arguments=("least=20",)))
    assert [(run.key.input.size, run.status) for run in result.runs] == [
        (SIZE, "measured"),
        (small.size, "failed"),
    ]
    assert result.failures == (
        "eager on cpu, batch 1, 16x16: running Fails failed: ValueError: no images of 16 pixels",
    )


def test_where_nothing_could_be_run_the_traceback_is_the_networks_own() -> None:
    """With the frame in which it failed."""
    with pytest.raises(MnfpnError, match="running Fails failed: ValueError: no images of 32 pixels") as caught:
        measured(loaded("Fails", arguments=("least=40",)))
    assert "others.py" in caught.value.details
    assert "in forward" in caught.value.details
    assert "bench.py" not in caught.value.details


@pytest.mark.parametrize(
    ("argument", "words"), [("ends=false", "ValueError: too often"), ("ends=true", "sys.exit(7) was called")]
)
def test_a_pass_that_fails_later_keeps_what_was_timed(argument: str, words: str) -> None:
    """Whether it raises or ends the process; fvcore's pass, the first and one of warm-up come before two timed ones."""
    (run,) = measured(loaded("Fails", arguments=("passes=5", argument))).measured
    assert (run.ended, len(run.latency.samples)) == ("failed", 2)
    assert run.failure == f"could not run eager on cpu at batch 1, 16x32, float32: {words}"


def test_an_input_that_does_not_fit_is_refused_by_the_parameter_that_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images by their size, tensors by their shapes."""
    monkeypatch.setattr(Cpu, "free_memory", lambda _: 1)
    with pytest.raises(MnfpnError, match=r"^size, batch: must fit the memory that cpu has free, .* 1 × 3 × 16x32"):
        measured(loaded("Levels"))
    with pytest.raises(MnfpnError, match=r"^input: must fit the memory that cpu has free, .* 2×5 int64, 2×5×1"):
        measured(loaded("Words", WORDS))


def test_fused_is_for_networks_from_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is not run where all were asked for, and a failure where it was named."""
    case = replace(CASE, runtimes=("eager", "fused"))
    result = measured(loaded("Levels"), case)
    assert [run.reason for run in result.not_run] == ["networks from settings only"]
    assert result.failures == ("fused on cpu, batch 1, 16x32: networks from settings only",)
    monkeypatch.setattr("mnfpn_cli.settings.measuring.runtime_names", lambda: ("eager", "fused"))
    assert measured(loaded("Levels"), case).failures == ()


def test_products_without_macs_are_named_in_a_warning() -> None:
    """Else a network would seem to need no arithmetic."""
    (warning,) = (one for one in measured(loaded("Bits")).warnings if one.kind == "uncounted")
    assert warning.cause == "not counted in MACs: aten::mv"
