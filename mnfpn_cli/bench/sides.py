"""The sides of a comparison: each a network, and what executes it, made ready to be timed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mnfpn_cli.bench.candidate import Candidate, model_bytes
from mnfpn_cli.bench.comparison import SideFacts
from mnfpn_cli.bench.group import Group, Progress, reference
from mnfpn_cli.bench.prepare import Ready, prepare
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.memory import check_needed
from mnfpn_cli.measure.runtime import why_not
from mnfpn_cli.measure.timers import timer_for
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.measuring import BenchCase, Sampling


@dataclass(frozen=True)
class Side:
    """A network for inputs of one size, and what executes it; ``name`` is how it was asked for."""

    name: str
    candidate: Candidate
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


@contextmanager
def naming(name: str, side: Side) -> Iterator[None]:
    """Say whose error it is.

    Raises:
        MnfpnError: the same, with the name.
    """
    try:
        yield
    except MnfpnError as error:
        named = type(error)(f"{name} ({side.name}): {error}")
        named.details = error.details
        raise named from error


def side_group(side: Side, together: Together, device: torch.device) -> Group:
    """A side, built, where it fits and can run.

    Raises:
        UsageError: where it does not fit the memory of the device, or the weights are another network's.
        MnfpnError: where its runtime cannot run there, or a network of others fails.
    """
    candidate = side.candidate
    input = candidate.input(together.batch)
    reason = why_not(side.runtime, candidate.settings, device, side.dtype, together.train)
    if reason is not None:
        raise MnfpnError(f"{side.runtime} on {device}: {reason}")
    check_needed(candidate.needed(input, side.dtype), input, side.dtype, device)
    network, _ = candidate.build()
    case = BenchCase(
        (together.batch,),
        (side.runtime,),
        False,
        side.dtype,
        together.threads,
        together.train,
        sampling=together.sampling,
    )
    return Group(candidate, network, input, device, case)


def make_ready(group: Group, progress: Progress) -> Ready:
    """Prepare a side, run it once, and warm it up.

    Raises:
        MnfpnError: where that cannot be done.
    """
    (runtime,) = group.case.runtimes
    expected = reference(group, progress)
    progress(f"preparing {runtime}", 0.0)
    timer, passes = timer_for(group.device), group.case.sampling.warmup
    return prepare(runtime, group.job(group.case.dtype), timer, passes, expected, group.doing(runtime))


def side_facts(side: Side, group: Group, ready: Ready) -> SideFacts:
    """What a side is and costs."""
    candidate = side.candidate
    total = candidate.cost().total
    figures = {
        "parameters": total.parameters,
        "macs": total.macs,
        "model_bytes": model_bytes(group.network, side.dtype),
        "activation_bytes": candidate.needed(group.input, side.dtype).activations,
    }
    return SideFacts(
        name=side.name,
        runtime=side.runtime,
        dtype=side.dtype,
        device=str(group.device),
        threads=torch.get_num_threads(),
        train=group.case.train,
        input=group.input,
        settings=candidate.settings,
        target=candidate.target,
        figures=figures,
        difference=ready.difference,
    )
