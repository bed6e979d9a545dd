"""The document of `mnfpn detect`: the boxes that a detector finds in images."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Coordinate, Count, Document, Record, Seconds, Share
from mnfpn_cli.documents.records import ImageSize, WeightsRecord


class DetectedBox(Record):
    """A box, its score and its class. Corners are in pixels of the upright image, from its upper left corner."""

    label: Count = Field(description="Number of the class.")
    score: Share = Field(description="Score of the box.")
    left: Coordinate = Field(description="Left side of the box, in pixels.")
    top: Coordinate = Field(description="Upper side of the box, in pixels.")
    right: Coordinate = Field(description="Right side of the box, in pixels.")
    bottom: Coordinate = Field(description="Lower side of the box, in pixels.")


class DetectedImage(ImageSize):
    """An image, and what was found in it."""

    file: str = Field(description="Name of the image's file.")
    resized: ImageSize = Field(description="Size of the network's input, which the image was resized to.")
    boxes: tuple[DetectedBox, ...] = Field(description="Boxes, those with the highest scores first.")
    network_s: Seconds = Field(description="Time of one pass of the network, in seconds.")
    postprocess_s: Seconds = Field(description="Time from the outputs of that pass to boxes, in seconds.")
    picture: str | None = Field(description="File with the boxes drawn on the image; null without `output`.")


class DetectDocument(Document):
    """The boxes that a detector finds in images: the result of `mnfpn detect`."""

    command: Literal["detect"] = Field("detect", description="The command that made the document.")
    size: ImageSize = Field(description="Size that images are fitted into; ssd and ssdlite stretch them to it.")
    weights: WeightsRecord = Field(description="The checkpoint that was loaded.")
    images: tuple[DetectedImage, ...] = Field(description="The images, in the order in which they were given.")
