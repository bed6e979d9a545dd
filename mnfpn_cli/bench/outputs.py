"""What the outputs of a runtime's first pass say of it: how far they are from eager float32's, and what is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.inspection.observe import named_tensors
from mnfpn_cli.measure.difference import largest_difference
from mnfpn_cli.measure.runtime import Job
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.network.network import Network

MOST_NAMES = 4
"""Outputs, or weights, that a message names."""

Named = Sequence[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Judged:
    """The largest relative difference, infinite where there is nothing to compare and None where none was taken."""

    difference: float | None
    doubts: tuple[Unsteady, ...] = ()


def named_outputs(network: nn.Module, outputs: Any, tensors: Sequence[Tensor]) -> Named:
    """The tensors in what a pass returned: of a network from settings by level, of others by place in it."""
    if isinstance(network, Network):
        names = [str(name) for name in network.outputs]
    else:
        names = [name or "0" for name, _ in named_tensors(outputs)]
    if len(names) != len(tensors):  # a runtime returned an object of its own
        names = [str(index) for index in range(len(tensors))]
    return list(zip(names, tensors, strict=True))


def judge(found: Named, expected: Named | None, job: Job) -> Judged:
    """Hold what a runtime returned against what eager float32 returns, where that is known.

    Raises:
        MnfpnError: where a runtime computes in float32, and makes what is not finite of a network that is.
    """
    if expected is None:
        return Judged(None, tuple(_not_finite_at_all(_not_finite(found), job)))
    network = _not_finite(expected)
    if network:
        return Judged(inf, tuple(_not_finite_at_all(network, job)))
    other = tuple(_other_shapes(found, expected))
    if other:
        return Judged(inf, other)
    broken = _not_finite([(name, tensor) for (_, tensor), (name, _) in zip(found, expected, strict=True)])
    if not broken:
        return Judged(largest_difference([tensor for _, tensor in found], [tensor for _, tensor in expected]))
    if job.dtype == "float32":
        raise MnfpnError(f"{_are(broken)} not finite, where eager float32's are: it does not compute this network")
    cause = f"{_are(broken)} not finite in {job.dtype}, where eager float32's are"
    return Judged(inf, (Unsteady("not_finite", cause, "another --dtype, or other weights"),))


def _not_finite(outputs: Named) -> list[str]:
    return [name for name, tensor in outputs if not tensor.isfinite().all()]


def _are(names: Sequence[str]) -> str:
    return f"its output {names[0]} is" if len(names) == 1 else f"its outputs {_some(names)} are"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _not_finite_at_all(outputs: Sequence[str], job: Job) -> Iterator[Unsteady]:
    """Outputs that are not finite whatever the runtime, and the weights that explain it."""
    if outputs:
        state = [(name, one) for name, one in job.network.state_dict().items() if isinstance(one, Tensor)]
        weights = _not_finite(state)
        why = f", nor are the weights {_some(weights)}" if weights else ""
        yield Unsteady("not_finite", f"{_are(outputs)} not finite{why}", "other weights")


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
