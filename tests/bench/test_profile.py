"""Profiles of a benchmark: the time of each layer, and its floor."""

from dataclasses import replace

import pytest

from mnfpn_cli.bench import profile
from mnfpn_cli.bench.bench import benchmark
from mnfpn_cli.bench.results import Benchmark
from mnfpn_cli.bench.workload import PlannedWorkload, load_observed
from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.devices.timers import Timing
from mnfpn_cli.errors import UnavailableError
from mnfpn_cli.external.origin import External, FromSettings
from mnfpn_cli.external.target import parse_target
from mnfpn_cli.measure import module_times
from mnfpn_cli.plan.advice import Advice
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import Peaks
from mnfpn_cli.runtimes import channels_last
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.measuring import BenchCase
from tests.bench.test_bench import CASE, SETTINGS, SIZE

PEAKS = Peaks(macs_per_s=1e9, bytes_per_s=1e9)


@pytest.fixture(autouse=True)
def _known_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "peaks", lambda *_: PEAKS)


def measure(case: BenchCase) -> Benchmark:
    """Measure the small network."""
    return benchmark([PlannedWorkload(FromSettings(SETTINGS), SIZE)], case, ["cpu"], lambda: "a CPU", lambda *_: None)


def test_nothing_is_profiled_that_was_not_asked_for() -> None:
    """It takes as long as the benchmark itself."""
    assert measure(CASE).profiles == ()


def test_layers_are_timed_beside_their_macs() -> None:
    """Every layer of the plan; the whole batch's MACs."""
    (made,) = measure(replace(CASE, by_layer=True)).profiles
    assert made.profile.undisturbed_s is not None
    assert sum(layer.seconds or 0 for layer in made.profile.layers) > 0
    macs = network_cost(plan_network(SETTINGS), SIZE).total.macs
    assert sum(layer.macs for layer in made.profile.layers) == 3 * macs
    assert made.profile.roofline is None


def test_the_floor_is_compared_with_the_time_of_its_run() -> None:
    """Without timing layers, where only the roofline is asked for."""
    result = measure(replace(CASE, roofline=True, runtimes=("channels-last", "fused", "eager")))
    assert [one.key.runtime for one in result.profiles] == ["channels-last", "fused", "eager"]
    made = result.profiles[0]
    assert made.profile.measured_s == result.measured[0].latency.median
    assert made.profile.undisturbed_s is None
    assert made.profile.roofline is not None
    assert (made.profile.roofline.macs_per_s, made.profile.roofline.bytes_per_s) == (1e9, 1e9)


def test_every_input_has_a_profile_of_its_own() -> None:
    """Where time goes depends on the batch."""
    result = measure(replace(CASE, by_layer=True, batches=(1, 2)))
    assert [one.key.input.batch for one in result.profiles] == [1, 2]


def test_ctrl_c_while_layers_are_timed_keeps_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are done by then."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module_times, "time_modules", interrupted)
    result = measure(replace(CASE, by_layer=True))
    assert (result.complete, len(result.measured), result.profiles) == (False, 1, ())


def test_a_profile_that_fails_keeps_the_runs_and_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each run, with the reason."""

    def fails(*_: object) -> None:
        raise RuntimeError("the driver has gone\nmore")

    monkeypatch.setattr(profile, "peaks", fails)
    result = measure(replace(CASE, roofline=True, runtimes=("eager", "channels-last")))
    assert (len(result.measured), result.profiles) == (2, ())
    where = "batch 3, 33x47"
    assert result.failures == tuple(
        f"{name} on cpu, {where}, by layer: could not run {name} on cpu at {where}, float32, layer by layer: "
        "the driver has gone"
        for name in ("eager", "channels-last")
    )


@pytest.mark.parametrize(("enqueue_s", "waits"), [(0.009, True), (0.005, False)])
def test_a_pass_that_waits_for_the_host_is_given_no_advice(
    enqueue_s: float, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less work in a layer would make it no faster."""
    advice = Advice("stem", 0.5, ("width_mult=0.75",), 1.5)
    monkeypatch.setattr(profile, "best_advice", lambda *_: advice)
    monkeypatch.setattr(Cpu, "timer", lambda _cpu: lambda run: (run(), Timing(0.01, enqueue_s))[1])
    (made,) = measure(replace(CASE, by_layer=True)).profiles
    given = made.profile.advice.option if made.profile.advice else None
    assert (made.profile.launch_bound, given) == (waits, None if waits else "`set` width_mult=0.75")


@pytest.mark.parametrize(
    ("part", "beginning"),
    [
        ("head p3", "the head on p3 takes 34 %"),
        ("head", "the head takes 34 %"),
        ("smooth p3", "smoothing p3 takes 34 %"),
        ("stages.3", "stage stages.3 takes 34 %"),
    ],
)
def test_a_sentence_about_a_part_says_which_level_it_is_at(part: str, beginning: str) -> None:
    """The head of a detector runs at each."""
    sentence = profile.advice_record(Advice(part, 0.34, ("head.depth=2",), 1.3)).sentence
    rest = " of the time: `set` head.depth=2 would make the network about 1.3 × faster"
    assert sentence == beginning + rest


def test_an_external_network_has_no_profile_and_a_reason() -> None:
    """There is no plan to compare the times of its layers with; its runs stay."""
    others = load_observed(External(parse_target("tests.bench.others:Levels")), [NetworkInput(1, 3, SIZE)], 0)
    result = benchmark(others, replace(CASE, by_layer=True), ["cpu"], lambda: "a CPU", lambda *_: None)
    assert [one.reason for one in result.no_profiles] == [
        "only a network from settings has a plan to compare times with"
    ]
    assert (result.profiles, len(result.measured)) == ((), 1)


def test_a_runtime_that_cannot_tell_its_layers_apart_is_a_warning_beside_one_that_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a failure where none can: then nothing of what was asked for is there."""

    def refuse(*_: object) -> None:
        raise UnavailableError("it replays kernels")

    monkeypatch.setattr(channels_last, "time_layers", refuse)
    case = replace(CASE, by_layer=True, runtimes=("eager", "channels-last"))
    result = measure(case)
    assert [one.key.runtime for one in result.profiles] == ["eager"]
    assert result.failures == ()
    (warned,) = (one for one in result.warnings if one.kind == "no_layers")
    assert warned.cause == "channels-last on cpu, batch 3, 33x47: no times of layers, it replays kernels"
    alone = measure(replace(case, runtimes=("channels-last",)))
    assert alone.failures == ("channels-last on cpu, batch 3, 33x47, by layer: it replays kernels",)
    assert not [one for one in alone.warnings if one.kind == "no_layers"]


def test_layers_that_a_runtime_joined_give_no_advice() -> None:
    """What less work in one of them would save is not known."""
    (made,) = measure(replace(CASE, by_layer=True, runtimes=("fused",))).profiles
    assert any(layer.joined for layer in made.profile.layers)
    assert made.profile.advice is None
    macs = network_cost(plan_network(SETTINGS), SIZE).total.macs
    assert sum(layer.macs for layer in made.profile.layers) == 3 * macs
    assert sum(operator.macs for operator in made.profile.operators) == 3 * macs
