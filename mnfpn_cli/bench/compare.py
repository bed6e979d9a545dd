"""Two networks timed in turn, A B B A, in one process, until the interval of their ratio is narrow enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mnfpn_cli.bench.bench import conditions
from mnfpn_cli.bench.comparison import Comparison, Pair, SideFacts
from mnfpn_cli.bench.group import Group, Progress, reference
from mnfpn_cli.bench.prepare import ExplainingTimer, Ready, prepare
from mnfpn_cli.bench.sized import model_bytes
from mnfpn_cli.bench.watch import watch
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.devices import choose_devices
from mnfpn_cli.measure.ended import Ended
from mnfpn_cli.measure.engine import Subject, rest_between, take_samples
from mnfpn_cli.measure.environment import Environment, read_environment
from mnfpn_cli.measure.memory import check_fits
from mnfpn_cli.measure.ratio import paired_ratio
from mnfpn_cli.measure.rules import NarrowRatio
from mnfpn_cli.measure.runtime import load_runtime
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.measure.timers import timer_for
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.memory import activation_bytes
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import DType, Size, network_input
from mnfpn_cli.settings.measuring import BenchCase, Sampling
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.weights.load import build_with_weights


@dataclass(frozen=True)
class Side:
    """A network for a size of images, and what executes it; ``name`` is how it was asked for."""

    name: str
    settings: NetworkSettings
    size: Size
    runtime: str
    dtype: DType
    weights: Path | None = None


@dataclass(frozen=True)
class Together:
    """What both sides have in common: where and on how many images they run, and when it is enough."""

    batch: int
    device_name: str
    threads: int | None
    train: bool
    margin: float
    sampling: Sampling
    seed: int = 0


def compare_networks(
    a: Side, b: Side, together: Together, cpu_name: Callable[[], str], progress: Progress
) -> tuple[Comparison, Environment]:
    """Time two networks in turn, and say which is faster.

    On Ctrl-C during the timed passes the verdict is on what was measured by then, and marked incomplete.

    Raises:
        UsageError: where the input cannot fit the memory of the device, or is none of a network's.
        MnfpnError: where there is no such device, or a side cannot be run on it.
        KeyboardInterrupt: where it was interrupted before anything was timed.
    """
    (device,) = choose_devices([together.device_name])
    groups = [_group(side, together, device) for side in (a, b)]
    environment = read_environment(cpu_name())
    with conditions(device, groups[0].case):
        ready = [_make_ready(group, progress) for group in groups]
        subjects, ended, unsteady = _time(groups, ready, together, progress)
    facts_a, facts_b = _facts(a, groups[0], ready[0]), _facts(b, groups[1], ready[1])
    sizes = " against ".join(dict.fromkeys(str(side.size) for side in (a, b)))
    pair = _pair(f"batch {together.batch} on {device}, {sizes}", subjects, ended, together.margin)
    comparison = Comparison(facts_a, facts_b, (pair,), together.margin, unsteady, complete=ended != "interrupted")
    return comparison, environment


def _group(side: Side, together: Together, device: torch.device) -> Group:
    """One side, built, where it fits and can run."""
    input = network_input(side.settings, side.size, together.batch)
    reason = load_runtime(side.runtime).impossible(device, side.dtype, together.train)
    if reason is not None:
        raise MnfpnError(f"{side.name}: {side.runtime} on {device}: {reason}")
    check_fits(plan_network(side.settings), input, side.dtype, device)
    network, _ = build_with_weights(side.settings, together.seed, side.weights)
    case = BenchCase(
        (together.batch,),
        (side.runtime,),
        False,
        side.dtype,
        together.threads,
        together.train,
        sampling=together.sampling,
    )
    return Group(network, side.settings, input, device, case)


def _make_ready(group: Group, progress: Progress) -> Ready:
    (runtime,) = group.case.runtimes
    expected = reference(group, progress)
    progress(f"preparing {runtime}", 0.0)
    timer, passes = timer_for(group.device), group.case.sampling.warmup
    return prepare(runtime, group.job(group.case.dtype), timer, passes, expected, group.doing(runtime))


def _time(
    groups: Sequence[Group], ready: Sequence[Ready], together: Together, progress: Progress
) -> tuple[list[Subject], Ended, tuple[Unsteady, ...]]:
    timer = timer_for(groups[0].device)
    subjects = [
        Subject(one.run, ExplainingTimer(timer, group.doing(group.case.runtimes[0])))
        for group, one in zip(groups, ready, strict=True)
    ]
    watched = watch(groups[0].device)
    rule = NarrowRatio(together.sampling, lambda share: progress("timing A B B A", share))
    ended = take_samples(subjects, rule, watched.look, rest_between(groups[0].case.runtimes != groups[1].case.runtimes))
    for subject in subjects:
        if subject.failure:
            raise MnfpnError(subject.failure)
    if not all(subject.samples for subject in subjects):
        raise KeyboardInterrupt
    return subjects, ended, watched.unsteady()


def _pair(name: str, subjects: Sequence[Subject], ended: Ended, margin: float) -> Pair:
    a, b = (tuple(subject.samples) for subject in subjects)
    ratio = paired_ratio(a, b)
    return Pair(name, Latency(a), Latency(b), ratio, ratio.verdict(margin) if ratio else "inconclusive", ended)


def _facts(side: Side, group: Group, ready: Ready) -> SideFacts:
    plan = plan_network(side.settings)
    total = network_cost(plan, group.input.size).total
    figures = {
        "parameters": total.parameters,
        "macs": total.macs,
        "model_bytes": model_bytes(group.network, side.dtype),
        "activation_bytes": activation_bytes(plan, group.input, side.dtype),
    }
    return SideFacts(side.name, side.runtime, side.dtype, side.settings, figures, ready.difference)
