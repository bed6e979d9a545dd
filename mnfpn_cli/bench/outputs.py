"""Compare the outputs of a runtime with those of eager float32."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor, nn

from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.input import DType
from mnfpn_cli.trace.observe import named_tensors

MOST_NAMES = 4
"""The most outputs, or weights, that a message names."""

NamedTensors = Sequence[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """The result of comparing outputs.

    Attributes:
        difference: the largest relative difference; infinite where outputs cannot be compared, None where there is
            nothing to compare with.
        warnings: reasons to trust the outputs less.
        failure: why the network itself, whatever the runtime, returns nothing worth timing; None where it does not.
    """

    difference: float | None
    warnings: tuple[WarningRecord, ...] = ()
    failure: str | None = None


def named_outputs(network: nn.Module, outputs: Any, tensors: Sequence[Tensor]) -> NamedTensors:
    """Name the tensors that a pass returned.

    A network from settings names its levels; tensors of an external network are named by their keys and positions.
    """
    if isinstance(network, Network):
        names = [str(name) for name in network.outputs]
    else:
        names = [name or "0" for name, _ in named_tensors(outputs)]
    if len(names) != len(tensors):  # a runtime returned an object of its own
        names = [str(index) for index in range(len(tensors))]
    return list(zip(names, tensors, strict=True))


def weights_not_finite(network: nn.Module) -> list[str]:
    """Return the names of the parameters and buffers that are not finite."""
    state = network.state_dict().items()
    return _not_finite([(name, tensor) for name, tensor in state if isinstance(tensor, Tensor)])


def check_outputs(
    outputs: NamedTensors, expected: NamedTensors | None, dtype: DType, bad_weights: Sequence[str] = ()
) -> OutputComparison:
    """Compare the outputs of a runtime with those of eager float32.

    Args:
        outputs: what the runtime returned.
        expected: what eager float32 returned; None where that is not known.
        dtype: the element type that the runtime computes in.
        bad_weights: names of the weights that are not finite.

    Raises:
        MnfpnError: where a runtime in float32 returns values that are not finite, and eager float32 does not.
    """
    if expected is None:
        return _check_alone(_not_finite(outputs), dtype, bad_weights)
    expected_not_finite = _not_finite(expected)
    if expected_not_finite:
        return OutputComparison(inf, failure=_network_failure(expected_not_finite, bad_weights))
    shape_warnings = tuple(_shape_warnings(outputs, expected))
    if shape_warnings:
        return OutputComparison(inf, shape_warnings)
    tensors = [tensor for _, tensor in outputs]
    not_finite = _not_finite([(name, tensor) for tensor, (name, _) in zip(tensors, expected, strict=True)])
    if not not_finite:
        return OutputComparison(largest_difference(tensors, [tensor for _, tensor in expected]))
    if dtype == "float32":
        raise MnfpnError(f"{_are(not_finite)} not finite, where eager float32's are: it does not compute this network")
    return OutputComparison(inf, (_overflow(f"{_are(not_finite)} not finite in {dtype}, where eager float32's are"),))


def _check_alone(not_finite: Sequence[str], dtype: DType, bad_weights: Sequence[str]) -> OutputComparison:
    """Check outputs that have nothing to be compared with; a dtype smaller than float32 may overflow."""
    if not not_finite:
        return OutputComparison(None)
    if dtype == "float32":
        return OutputComparison(None, failure=_network_failure(not_finite, bad_weights))
    return OutputComparison(None, (_overflow(f"{_are(not_finite)} not finite in {dtype}"),))


def _overflow(cause: str) -> WarningRecord:
    return WarningRecord(kind="not_finite", cause=cause, helps="another `dtype`, or other weights")


def _not_finite(tensors: NamedTensors) -> list[str]:
    return [name for name, tensor in tensors if not tensor.isfinite().all()]


def _network_failure(outputs: Sequence[str], bad_weights: Sequence[str]) -> str:
    """Name the outputs that are not finite in eager float32, and the weights that explain it."""
    weights = f", nor are its weights {_first_names(bad_weights)}" if bad_weights else ""
    return f"{_are(outputs)} not finite in float32{weights}"


def _are(outputs: Sequence[str]) -> str:
    return f"its output {outputs[0]} is" if len(outputs) == 1 else f"its outputs {_first_names(outputs)} are"


def _first_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _shape_warnings(outputs: NamedTensors, expected: NamedTensors) -> Iterator[WarningRecord]:
    """Warn of the first output whose shape differs: a detector that rounds differently returns other boxes."""
    helps = "nothing, where shapes depend on the values in an image; else another runtime"
    if len(outputs) != len(expected):
        cause = f"it returns {len(outputs)} outputs, eager float32 {len(expected)}"
        yield WarningRecord(kind="other_shapes", cause=cause, helps=helps)
        return
    for (_, tensor), (name, other) in zip(outputs, expected, strict=True):
        if tensor.shape != other.shape:
            cause = f"its output {name} is {_shape(tensor)}, eager float32's {_shape(other)}"
            yield WarningRecord(kind="other_shapes", cause=cause, helps=helps)
            return


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
