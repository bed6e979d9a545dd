"""What an audit can find."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "unregistered",
    "shared",
    "never_called",
    "without_gradient",
    "miscounted",
    "layout",
    "same_stride",
    "stride_gap",
    "no_stride",
    "unequal_channels",
    "order",
    "size",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a network.

    Attributes:
        kind: of fault.
        paths: where: of modules, of parameters, or of levels.
        parameters: how many are concerned; for miscounted ones, the largest difference.
        message: what is wrong, in a sentence.
        remedy: what to do about it.
    """

    kind: Kind
    paths: tuple[str, ...]
    parameters: int
    message: str
    remedy: str
