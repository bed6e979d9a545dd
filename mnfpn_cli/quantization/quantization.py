"""How a network is quantised to int8: what every quantiser takes, whichever library it is of."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Passes = Sequence[tuple[Tensor, ...]]
"""The inputs of passes: for each pass the tensors of a network, on the CPU, floating-point ones in float32."""


@dataclass(frozen=True)
class Quantization:
    """Static quantisation to int8: weights per output channel, activations by the ranges seen in calibration passes.

    Attributes:
        passes: the inputs of the calibration passes; each has the shapes of the pass that is timed or exported.
        keep_float: paths of the convolutions and dense layers that stay in float32, as `named_modules` has them.
    """

    passes: Passes
    keep_float: frozenset[str] = frozenset()
