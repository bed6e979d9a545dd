"""What a runtime returns is held against eager float32: what cannot be compared is told, with its output and reason."""

from collections.abc import Sequence
from math import inf, nan

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.bench.outputs import Named, judge, named_outputs
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.runtime import Job
from mnfpn_cli.network.build import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.models import NetworkSettings


def job(dtype: DType = "float32", weight: float = 1.0) -> Job:
    """Of a network with one weight."""
    network = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(network.weight, weight)
    return Job(network, None, (), torch.device("cpu"), dtype)


def named(*values: Sequence[float]) -> Named:
    """Outputs with these numbers, called p2, p3, ...."""
    return [(f"p{level}", torch.tensor(numbers)) for level, numbers in enumerate(values, start=2)]


FINE, BROKEN, OTHER = named([1.0, 2.0], [4.0]), named([1.0, nan], [4.0]), named([1.0], [4.0])

CASES: dict[str, tuple[Named, Named | None, Job, float | None, str]] = {
    "alike": (FINE, FINE, job(), 0.0, ""),
    "different": (FINE, named([1.0, 2.0], [5.0]), job(), 0.2, ""),
    "nothing to compare with": (FINE, None, job(), None, ""),
    "eager itself": (BROKEN, None, job(), None, "its output p2 is not finite"),
    "its weights": (BROKEN, None, job(weight=nan), None, "its output p2 is not finite, nor are the weights weight"),
    "the network": (BROKEN, BROKEN, job(), inf, "its output p2 is not finite"),
    "the network alone": (FINE, named([inf, 1.0], [nan]), job(), inf, "its outputs p2, p3 are not finite"),
    "overflow": (
        BROKEN,
        FINE,
        job("float16"),
        inf,
        "its output p2 is not finite in float16, where eager float32's are",
    ),
    "shapes": (OTHER, FINE, job(), inf, "its output p2 is 1, eager float32's 2"),
    "fewer": (FINE[:1], FINE, job(), inf, "it returns 1 outputs, eager float32 2"),
    "none of both": ([], [], job(), 0.0, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_compared_is_told(name: str) -> None:
    """Which output it is, and whether the network, its weights or the dtype is why."""
    found, expected, made, difference, doubt = CASES[name]
    judged = judge(found, expected, made)
    assert judged.difference == pytest.approx(difference)
    assert [one.cause for one in judged.doubts] == [doubt] * bool(doubt)


def test_a_runtime_that_alone_makes_what_is_not_finite_fails() -> None:
    """In float32 nothing excuses it: what it computes is not this network, so that its time is none of it."""
    with pytest.raises(MnfpnError, match=r"^its output p2 is not finite, where eager float32's are: it does not comp"):
        judge(BROKEN, FINE, job())


def test_outputs_are_called_as_the_network_calls_them() -> None:
    """Levels of a network from settings, keys of others; positions where a runtime returns an object of its own."""
    ours = build_meta(plan_network(NetworkSettings()))
    maps: list[Tensor] = [torch.zeros(1)] * 4
    assert [name for name, _ in named_outputs(ours, maps, maps)] == ["p2", "p3", "p4", "p5"]
    other = nn.Identity()
    assert [name for name, _ in named_outputs(other, {"boxes": maps[:2]}, maps[:2])] == ["boxes.0", "boxes.1"]
    assert [name for name, _ in named_outputs(other, maps[0], maps[:1])] == ["0"]
    assert [name for name, _ in named_outputs(other, object(), maps[:2])] == ["0", "1"]
