"""What `mnfpn export` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Bytes, Count, Document, Ratio, Record, Value
from mnfpn_cli.documents.records import ImageInput, WeightsRecord


class OutputCheck(Record):
    """How far an output of the file is from the network's."""

    name: str = Field(description="Name of the output.")
    shape: tuple[Count, ...] = Field(description="Its shape, batch included.")
    max_abs_difference: Value = Field(description="Largest absolute difference of two elements.")
    relative: Ratio = Field(description="That over the largest absolute value of the network's output.")
    allowed: Ratio = Field(description="The largest relative difference that passes.")


class FileCheck(Record):
    """The outputs of file and network for the same images."""

    input: ImageInput = Field(description="The images.")
    outputs: tuple[OutputCheck, ...] = Field(description="All outputs.")


class ExportedFile(Record):
    """A file that was written and checked."""

    format: Literal["onnx", "torch-export", "safetensors"] = Field(description="Format of the file.")
    file: str = Field(description="Its name, as it was given.")
    bytes: Bytes = Field(description="Its size.")
    dynamic: bool = Field(description="Whether it takes images of any height and width.")
    checks: tuple[FileCheck, ...] = Field(description="The comparison with the network, for each size that was tried.")


class ExportDocument(ExportedFile, Document):
    """The result of `mnfpn export`."""

    command: Literal["export"] = Field("export", description="The command that made the document.")
    weights: WeightsRecord | None = Field(description="The checkpoint that was loaded; null where there is none.")
