"""The sides of a comparison: each a network, and what executes it, made ready to be timed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from mnfpn_cli.bench.comparison import SideFacts
from mnfpn_cli.bench.group import Group, Progress, reference
from mnfpn_cli.bench.prepare import Ready, prepare
from mnfpn_cli.bench.sized import model_bytes
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.memory import check_fits
from mnfpn_cli.measure.runtime import load_runtime
from mnfpn_cli.measure.timers import timer_for
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


@contextmanager
def naming(name: str, side: Side) -> Iterator[None]:
    """Say whose error it is.

    Raises:
        MnfpnError: the same, with the name.
    """
    try:
        yield
    except MnfpnError as error:
        raise type(error)(f"{name} ({side.name}): {error}") from error


def side_group(side: Side, together: Together, device: torch.device) -> Group:
    """A side, built, where it fits and can run.

    Raises:
        UsageError: where it does not fit the memory of the device, or the weights are another network's.
        MnfpnError: where its runtime cannot run there.
    """
    input = network_input(side.settings, side.size, together.batch)
    reason = load_runtime(side.runtime).impossible(device, side.dtype, together.train)
    if reason is not None:
        raise MnfpnError(f"{side.runtime} on {device}: {reason}")
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
    plan = plan_network(side.settings)
    total = network_cost(plan, group.input.size).total
    figures = {
        "parameters": total.parameters,
        "macs": total.macs,
        "model_bytes": model_bytes(group.network, side.dtype),
        "activation_bytes": activation_bytes(plan, group.input, side.dtype),
    }
    return SideFacts(
        name=side.name,
        runtime=side.runtime,
        dtype=side.dtype,
        device=str(group.device),
        threads=torch.get_num_threads(),
        train=group.case.train,
        input=group.input,
        settings=side.settings,
        figures=figures,
        difference=ready.difference,
    )
