"""Outputs of a runtime are compared with eager float32; a warning names each that cannot be, with the reason."""

from collections.abc import Sequence
from math import inf, nan

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.bench.outputs import NamedTensors, check_outputs, named_outputs, weights_not_finite
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.network.network import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings


def named(*values: Sequence[float]) -> NamedTensors:
    """Outputs with these numbers, called p2, p3, ...."""
    return [(f"p{level}", torch.tensor(numbers)) for level, numbers in enumerate(values, start=2)]


FINE, BROKEN, OTHER = named([1.0, 2.0], [4.0]), named([1.0, nan], [4.0]), named([1.0], [4.0])

NOT_FINITE = "its output p2 is not finite"
IN_HALF = f"{NOT_FINITE} in float16, where eager float32's are"

WARNINGS: dict[str, tuple[NamedTensors, NamedTensors | None, DType, float | None, str]] = {
    "alike": (FINE, FINE, "float32", 0.0, ""),
    "different": (FINE, named([1.0, 2.0], [5.0]), "float32", 0.2, ""),
    "nothing to compare with": (FINE, None, "float32", None, ""),
    "overflow": (BROKEN, FINE, "float16", inf, IN_HALF),
    "perhaps an overflow": (BROKEN, None, "float16", None, f"{NOT_FINITE} in float16"),
    "shapes": (OTHER, FINE, "float32", inf, "its output p2 is 1, eager float32's 2"),
    "fewer": (FINE[:1], FINE, "float32", inf, "it returns 1 outputs, eager float32 2"),
    "none of both": ([], [], "float32", 0.0, ""),
}


FAILURES: dict[str, tuple[NamedTensors, NamedTensors | None, DType, float | None, str]] = {
    "eager itself": (BROKEN, None, "float32", None, f"{NOT_FINITE} in float32"),
    "the network": (BROKEN, BROKEN, "float32", inf, f"{NOT_FINITE} in float32"),
    "the network alone": (
        FINE,
        named([inf, 1.0], [nan]),
        "float32",
        inf,
        "its outputs p2, p3 are not finite in float32",
    ),
    "in any dtype": (BROKEN, BROKEN, "float16", inf, f"{NOT_FINITE} in float32"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_an_output_that_cannot_be_compared_is_warned_of(name: str) -> None:
    """Which output it is, and whether its shape or the dtype is why."""
    found, expected, dtype, difference, cause = WARNINGS[name]
    check = check_outputs(found, expected, dtype)
    assert check.difference == pytest.approx(difference)
    assert [one.cause for one in check.warnings] == [cause] * bool(cause)
    assert check.failure is None


@pytest.mark.parametrize("name", FAILURES)
def test_a_network_that_is_not_finite_in_float32_has_failed(name: str) -> None:
    """Whatever the runtime and the dtype; the failure names the outputs."""
    found, expected, dtype, difference, failure = FAILURES[name]
    check = check_outputs(found, expected, dtype)
    assert (check.difference, check.failure, check.warnings) == (difference, failure, ())


def test_weights_that_are_not_finite_are_named() -> None:
    """Four of them at most."""
    layers = [nn.Linear(1, 1) for _ in range(4)]
    for layer in layers[:3]:
        nn.init.constant_(layer.weight, nan)
        nn.init.constant_(layer.bias, inf)
    weights = weights_not_finite(nn.Sequential(*layers))
    assert weights == [f"{index}.{name}" for index in range(3) for name in ("weight", "bias")]
    assert check_outputs(BROKEN, None, "float32", weights).failure == (
        f"{NOT_FINITE} in float32, nor are its weights 0.weight, 0.bias, 1.weight, 1.bias and 2 more"
    )


def test_a_runtime_whose_outputs_alone_are_not_finite_fails() -> None:
    """In float32 it does not compute this network, so that its time means nothing."""
    with pytest.raises(MnfpnError, match=r"^its output p2 is not finite, where eager float32's are: it does not comp"):
        check_outputs(BROKEN, FINE, "float32")


def test_outputs_have_the_names_that_the_network_gives_them() -> None:
    """Those of the settings, keys of an external network, positions where a runtime returns an object of its own."""
    ours = build_meta(plan_network(NetworkSettings()))
    maps: list[Tensor] = [torch.zeros(1)] * 4
    assert [name for name, _ in named_outputs(ours, maps, maps)] == ["p2", "p3", "p4", "p5"]
    detector = NetworkSettings.model_validate({"head": {"kind": "fcos"}})
    names = [name for name, _ in named_outputs(build_meta(plan_network(detector)), maps[:3], maps[:3])]
    assert names == ["cls_logits", "bbox_regression", "bbox_ctrness"]
    detector = NetworkSettings.model_validate({"head": {"kind": "fcos"}})
    names = [name for name, _ in named_outputs(build_meta(plan_network(detector)), maps[:3], maps[:3])]
    assert names == ["cls_logits", "bbox_regression", "bbox_ctrness"]
    other = nn.Identity()
    assert [name for name, _ in named_outputs(other, {"boxes": maps[:2]}, maps[:2])] == ["boxes.0", "boxes.1"]
    assert [name for name, _ in named_outputs(other, maps[0], maps[:1])] == ["0"]
    assert [name for name, _ in named_outputs(other, object(), maps[:2])] == ["0", "1"]
