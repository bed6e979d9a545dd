"""What goes into a network, as documents have it: images, tensors, checkpoints."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mnfpn_cli.documents.base import Cells, Count, Pixels, Positive, Record, Word


class ImageSize(Record):
    """The size of an image."""

    height: Pixels = Field(description="Height of the image.")
    width: Pixels = Field(description="Width of the image.")


class ImageInput(Record):
    """A batch of images, (batch, channels, height, width)."""

    batch: Count = Field(description="Images in the batch.")
    channels: Count = Field(description="Channels of an image.")
    height: Pixels = Field(description="Height of an image.")
    width: Pixels = Field(description="Width of an image.")


class MapSize(Record):
    """The size of a feature map."""

    height: Cells = Field(description="Height of the map.")
    width: Cells = Field(description="Width of the map.")


class TensorInput(Record):
    """A tensor that a network takes."""

    shape: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(description="Its shape, batch included.")
    dtype: Word | None = Field(description="Its element type; null where none was given, which is float32.")


class InputRecord(Record):
    """What one pass takes: a batch of images, or tensors of given shapes."""

    batch: Positive = Field(description="Images in the batch; of tensors, the first dimension of the first.")
    channels: Positive | None = Field(description="Channels of an image; null for tensors.")
    height: Pixels | None = Field(description="Height of an image; null for tensors.")
    width: Pixels | None = Field(description="Width of an image; null for tensors.")
    shapes: tuple[TensorInput, ...] | None = Field(description="The tensors; null for images.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if None in (self.channels, self.height, self.width) and not self.shapes:
            raise PydanticCustomError("input", "must have channels, height and width, or shapes")
        return self


class WeightsRecord(Record):
    """A checkpoint in a network: which tensors it gave, and which not."""

    file: str = Field(description="Name of the file.")
    layout: str = Field(description="Whose names of tensors it uses, as torchvision or mnfpn.")
    matched: Count = Field(description="Tensors of the network that the file gave.")
    ignored: tuple[str, ...] = Field(description="Keys of the file that the network has no use for.")
    missing: tuple[str, ...] = Field(description="Keys of the network that the file does not have.")
    overridden: tuple[str, ...] = Field(
        description="Keys of the file for a layer that is shared here, whose values differ from the last one's."
    )
    settings_differ: tuple[str, ...] = Field(
        description="Keys in which the settings that the file carries are not the network's, as pyramid.upsample."
    )
