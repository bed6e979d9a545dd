"""The images or tensors that one pass of a network is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.settings.input import NetworkInput, Size

if TYPE_CHECKING:
    from mnfpn_cli.documents.inputs import InputRecord  # pydantic, which help need not pay for


@dataclass(frozen=True, slots=True)
class TensorInputs:
    """Tensors of any shapes and element types, in the order in which a network takes them."""

    specs: tuple[InputSpec, ...]

    @property
    def batch(self) -> int:
        """The first dimension of the first."""
        return self.specs[0].shape[0]

    @property
    def size(self) -> str:
        """All of them in words: ``1×128 int64, 1×4``."""
        return in_words(self)


Inputs = NetworkInput | TensorInputs


def specs_of(inputs: Inputs) -> tuple[InputSpec, ...]:
    """The tensors that a pass is given."""
    return (InputSpec(inputs.shape),) if isinstance(inputs, NetworkInput) else inputs.specs


def in_words(inputs: Inputs) -> str:
    """The shapes, and element types where they were said: ``1×3×600×900``."""
    return ", ".join(map(str, specs_of(inputs)))


def input_record(inputs: Inputs) -> InputRecord:
    """Say in a document what a pass takes."""
    from mnfpn_cli.documents.inputs import InputRecord, TensorInput

    if isinstance(inputs, NetworkInput):
        return InputRecord(batch=inputs.batch, channels=inputs.channels, **inputs.size._asdict(), shapes=None)
    shapes = tuple(TensorInput(shape=one.shape, dtype=one.dtype) for one in inputs.specs)
    return InputRecord(batch=inputs.batch, channels=None, height=None, width=None, shapes=shapes)


def inputs_of(record: InputRecord) -> Inputs:
    """Read from a document what a pass takes."""
    if record.channels and record.height and record.width:
        return NetworkInput(record.batch, record.channels, Size(record.height, record.width))
    return TensorInputs(tuple(InputSpec(one.shape, one.dtype) for one in record.shapes or ()))
