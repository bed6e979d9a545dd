"""What the outputs of a runtime's first pass say of it: how far they are from eager float32's, and what is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.difference import largest_difference
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.input import DType
from mnfpn_cli.trace.observe import named_tensors

MOST_NAMES = 4
"""Outputs, or weights, that a message names."""

Named = Sequence[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the outputs of a first pass say.

    Attributes:
        difference: the largest relative one, infinite where there is nothing to compare and None where none was taken.
        doubts: what leaves them in doubt.
        failure: why the network is none to be timed, whatever the runtime.
    """

    difference: float | None
    doubts: tuple[Unsteady, ...] = ()
    failure: str | None = None


def named_outputs(network: nn.Module, outputs: Any, tensors: Sequence[Tensor]) -> Named:
    """The tensors in what a pass returned: of a network from settings by level, of others by place in it."""
    if isinstance(network, Network):
        names = [str(name) for name in network.outputs]
    else:
        names = [name or "0" for name, _ in named_tensors(outputs)]
    if len(names) != len(tensors):  # a runtime returned an object of its own
        names = [str(index) for index in range(len(tensors))]
    return list(zip(names, tensors, strict=True))


def weights_not_finite(network: nn.Module) -> list[str]:
    """The names of the tensors in its state that are not finite."""
    return _not_finite([(name, one) for name, one in network.state_dict().items() if isinstance(one, Tensor)])


def judge(found: Named, expected: Named | None, dtype: DType, weights: Sequence[str] = ()) -> Judged:
    """Hold what a runtime returned against what eager float32 returns, where that is known.

    Args:
        found: what the runtime returned.
        expected: what eager float32 returns.
        dtype: that the runtime computes in.
        weights: those that are not finite, before a runtime folds them into others.

    Raises:
        MnfpnError: where a runtime computes in float32, and makes what is not finite of a network that is.
    """
    if expected is None:
        return _judged_alone(_not_finite(found), dtype, weights)
    network = _not_finite(expected)
    if network:
        return Judged(inf, failure=_not_finite_at_all(network, weights))
    other = tuple(_other_shapes(found, expected))
    if other:
        return Judged(inf, other)
    broken = _not_finite([(name, tensor) for (_, tensor), (name, _) in zip(found, expected, strict=True)])
    if not broken:
        return Judged(largest_difference([tensor for _, tensor in found], [tensor for _, tensor in expected]))
    if dtype == "float32":
        raise MnfpnError(f"{_are(broken)} not finite, where eager float32's are: it does not compute this network")
    cause = f"{_are(broken)} not finite in {dtype}, where eager float32's are"
    return Judged(inf, (_overflow(cause),))


def _judged_alone(broken: Sequence[str], dtype: DType, weights: Sequence[str]) -> Judged:
    """Of outputs with nothing to compare them with, what is not finite: in a smaller dtype it may be an overflow."""
    if not broken:
        return Judged(None)
    if dtype == "float32":
        return Judged(None, failure=_not_finite_at_all(broken, weights))
    return Judged(None, (_overflow(f"{_are(broken)} not finite in {dtype}"),))


def _overflow(cause: str) -> Unsteady:
    return Unsteady("not_finite", cause, "another `dtype`, or other weights")


def _not_finite(outputs: Named) -> list[str]:
    return [name for name, tensor in outputs if not tensor.isfinite().all()]


def _are(names: Sequence[str]) -> str:
    return f"its output {names[0]} is" if len(names) == 1 else f"its outputs {_some(names)} are"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _not_finite_at_all(outputs: Sequence[str], weights: Sequence[str]) -> str:
    """Outputs that are not finite whatever the runtime, and the weights that explain it."""
    why = f", nor are its weights {_some(weights)}" if weights else ""
    return f"{_are(outputs)} not finite in float32{why}"


def _other_shapes(found: Named, expected: Named) -> Iterator[Unsteady]:
    """Outputs that cannot be compared: a detector that rounds otherwise finds other boxes."""
    helps = "nothing, where shapes depend on the numbers in an image; else another runtime"
    if len(found) != len(expected):
        yield Unsteady("other_shapes", f"it returns {len(found)} outputs, eager float32 {len(expected)}", helps)
        return
    for (_, tensor), (name, other) in zip(found, expected, strict=True):
        if tensor.shape != other.shape:
            cause = f"its output {name} is {_shape(tensor)}, eager float32's {_shape(other)}"
            yield Unsteady("other_shapes", cause, helps)
            return


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
