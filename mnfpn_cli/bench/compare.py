"""Two networks timed in turn, A B B A, in one process, until the interval of their ratio is narrow enough."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from mnfpn_cli.bench.bench import conditions
from mnfpn_cli.bench.group import Group, Progress, reference, watch
from mnfpn_cli.bench.prepare import ExplainingTimer, Ready, prepare
from mnfpn_cli.bench.verdicts import ComparedSide, Comparison, Pair
from mnfpn_cli.bench.workload import BenchWorkload, model_bytes
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.documents.records import Ended, EnvironmentRecord
from mnfpn_cli.errors import MnfpnError, Problem, within
from mnfpn_cli.external.guard import output_to_stderr
from mnfpn_cli.measure.engine import RatioRule, TimedRun, rest_between, rewarm, take_samples
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.measure.memory import check_needed
from mnfpn_cli.measure.statistics import Latency, paired_ratio
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.runtimes.runtime import unavailable_reason
from mnfpn_cli.settings.input import DType, NetworkInput
from mnfpn_cli.settings.measuring import BenchCase, Sampling


@dataclass(frozen=True)
class Side:
    """A network for inputs of one size, and what executes it; ``name`` is how it was asked for."""

    name: str
    workload: BenchWorkload
    runtime: str
    dtype: DType


@dataclass(frozen=True)
class Together:
    """What both sides have in common: where and on how many images they run, and when it is enough."""

    batch: int
    device_name: str
    threads: int | None
    train: bool
    margin: float
    sampling: Sampling


def side_group(side: Side, together: Together, device: torch.device) -> Group:
    """A side, built, where it fits and can run.

    Raises:
        UsageError: where it does not fit the memory of the device, or the weights are another network's.
        MnfpnError: where its runtime cannot run there, or a network of others fails.
    """
    workload = side.workload
    input = workload.input(together.batch)
    reason = unavailable_reason(side.runtime, workload.origin, device, side.dtype, together.train)
    if reason is not None:
        raise MnfpnError(Problem(f"{side.runtime} on {device}", reason))
    check_needed(workload.needed(input, side.dtype), input, side.dtype, device)
    network, _ = workload.build()
    case = BenchCase(
        (together.batch,),
        (side.runtime,),
        False,
        side.dtype,
        together.threads,
        together.train,
        sampling=together.sampling,
    )
    return Group(workload, network, input, device, case)


def make_ready(group: Group, progress: Progress) -> Ready:
    """Prepare a side, run it once, and warm it up.

    Raises:
        MnfpnError: where that cannot be done.
    """
    (runtime,) = group.case.runtimes
    expected = reference(group, progress)
    progress(f"preparing {runtime}", 0.0)
    timer, passes = device_of(group.device).timer(), group.case.sampling.warmup
    return prepare(runtime, group.job(group.case.dtype), timer, passes, expected, group.doing(runtime))


def side_facts(side: Side, group: Group, ready: Ready) -> ComparedSide:
    """What a side is and costs."""
    workload = side.workload
    total = workload.cost().total
    figures = {
        "parameters": total.parameters,
        "macs": total.macs,
        "model_bytes": model_bytes(group.network, side.dtype),
        "activation_bytes": workload.needed(group.input, side.dtype).activations,
    }
    return ComparedSide(
        name=side.name,
        runtime=side.runtime,
        dtype=side.dtype,
        device=str(group.device),
        threads=torch.get_num_threads(),
        train=group.case.train,
        input=group.input,
        origin=workload.origin,
        figures=figures,
        difference=ready.difference,
    )


def compare_networks(
    a: Side, b: Side, together: Together, cpu_name: Callable[[], str], progress: Progress
) -> tuple[Comparison, EnvironmentRecord]:
    """Time two networks in turn, and say which is faster. What they print goes to standard error.

    On Ctrl-C during the timed passes, or where a side fails in one, the verdict is on what was measured by then, and
    marked incomplete.

    Raises:
        UsageError: where the input cannot fit the memory of the device, or is none of a network's.
        MnfpnError: where there is no such device, or a side cannot be run on it.
        KeyboardInterrupt: where it was interrupted before anything was timed.
    """
    (device,) = choose_devices([together.device_name])
    with output_to_stderr():
        return _compare(a, b, together, device, cpu_name, progress)


def _compare(
    a: Side, b: Side, together: Together, device: torch.device, cpu_name: Callable[[], str], progress: Progress
) -> tuple[Comparison, EnvironmentRecord]:
    sides, groups, ready = {"A": a, "B": b}, list[Group](), list[Ready]()
    for name, side in sides.items():
        with within(f"{name} ({side.name})"):
            groups.append(side_group(side, together, device))
    environment = read_environment(cpu_name())
    with conditions(device, groups[0].case):
        for (name, side), group in zip(sides.items(), groups, strict=True):
            with within(f"{name} ({side.name})"):
                ready.append(make_ready(group, progress))
        subjects, ended, unsteady = _time(groups, ready, together, progress)
        facts = [side_facts(*each) for each in zip((a, b), groups, ready, strict=True)]
    pair = _pair(_run_name(facts), subjects, ended, together.margin)
    return Comparison(
        facts[0],
        facts[1],
        (pair,),
        together.margin,
        (*unsteady, *_doubts(facts, ready)),
        complete=ended not in ("interrupted", "failed"),
        failure=_failure([subject.failure or one.failure for subject, one in zip(subjects, ready, strict=True)]),
    ), environment


def _time(
    groups: Sequence[Group], ready: Sequence[Ready], together: Together, progress: Progress
) -> tuple[list[TimedRun], Ended, tuple[Unsteady, ...]]:
    timer = device_of(groups[0].device).timer()
    subjects = [
        TimedRun(one.run, ExplainingTimer(timer, group.doing(group.case.runtimes[0])))
        for group, one in zip(groups, ready, strict=True)
    ]
    watched = watch(groups[0].device)
    rule = RatioRule(together.sampling, lambda share: progress("timing A B B A", share))
    rest = rest_between(groups[0].device.type, [name for group in groups for name in group.case.runtimes])
    rewarm(subjects, groups[0].device.type)
    ended = take_samples(subjects, rule, watched.look, rest)
    if all(subject.samples for subject in subjects):
        return subjects, ended, watched.unsteady()
    failure = _failure([subject.failure for subject in subjects])
    raise MnfpnError(failure) if failure else KeyboardInterrupt


def _failure(failures: Sequence[str | None]) -> str | None:
    """Whose passes failed, and why."""
    failed = [f"{name}: {failure}" for name, failure in zip("AB", failures, strict=True) if failure]
    return "\n".join(failed) or None


def _doubts(facts: Sequence[ComparedSide], ready: Sequence[Ready]) -> Iterator[Unsteady]:
    """What makes a verdict less sure than it looks; a drift and a load meet both sides, and are in no ratio."""
    sizes = list(dict.fromkeys(str(side.input.size) for side in facts))
    if len(sizes) > 1:
        images = all(isinstance(side.input, NetworkInput) for side in facts)
        cause = f"A takes {'images of ' * images}{sizes[0]}, B {'of ' * images}{sizes[1]}"
        yield Unsteady("sizes", cause, "`size`, which both then take" if images else "inputs of the same shapes")
    for name, one in zip("AB", ready, strict=True):
        if one.warm_up.settled is False:
            cause = f"{name}: {one.warm_up.passes} passes of warm-up never became steady"
            yield Unsteady("not_settled", cause, "a longer `warmup`, or an idle machine")
        yield from (replace(doubt, cause=f"{name}: {doubt.cause}") for doubt in one.doubts)


def _run_name(facts: Sequence[ComparedSide]) -> str:
    """What both sides did, in words."""
    one = facts[0]
    sizes = " against ".join(dict.fromkeys(str(side.input.size) for side in facts))
    return f"batch {one.input.batch} on {one.device}, {sizes}{', training' * one.train}"


def _pair(name: str, subjects: Sequence[TimedRun], ended: Ended, margin: float) -> Pair:
    a, b = (tuple(subject.samples) for subject in subjects)
    ratio = paired_ratio(a, b)
    return Pair(name, Latency(a), Latency(b), ratio, ratio.verdict(margin) if ratio else "inconclusive", ended)
