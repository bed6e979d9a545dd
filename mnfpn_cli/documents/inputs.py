"""Sizes and inputs as documents have them."""

from pydantic import Field

from mnfpn_cli.documents.base import Cells, Count, Pixels, Record


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

    shape: tuple[Count, ...] = Field(description="Its shape, batch included.")
    dtype: str | None = Field(description="Its element type; null where none was given, which is float32.")
