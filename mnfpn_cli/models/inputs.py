"""What one pass of a network is given: a batch of images, or tensors of shapes that were said one by one."""

from dataclasses import dataclass

from mnfpn_cli.models.target import InputSpec
from mnfpn_cli.settings.input import NetworkInput


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
