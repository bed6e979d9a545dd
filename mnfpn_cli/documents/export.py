"""The document of `mnfpn export`: a file that was written, and its outputs beside the network's."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Bytes, Count, Document, ElementValue, Ratio, Record
from mnfpn_cli.documents.records import ImageInput, WeightsRecord


class OutputCheck(Record):
    """The difference of one output between the file and the network."""

    name: str = Field(description="Name of the output.")
    shape: tuple[Count, ...] = Field(description="Shape of the output, with its batch.")
    max_abs_difference: ElementValue = Field(description="Largest absolute difference between two elements.")
    relative: Ratio = Field(description="That difference over the largest absolute value of the network's output.")
    allowed: Ratio = Field(description="Largest relative difference that passes the check.")


class FileCheck(Record):
    """The outputs of the file compared with those of the network, for the same images."""

    input: ImageInput = Field(description="Input of both.")
    outputs: tuple[OutputCheck, ...] = Field(description="Check of each output.")


class ExportedFile(Record):
    """A file that was written and checked."""

    format: Literal["onnx", "torch-export", "safetensors"] = Field(description="Format of the file.")
    file: str = Field(description="Name of the file, as it was given.")
    bytes: Bytes = Field(description="Size of the file, in bytes.")
    dynamic: bool = Field(description="Whether the file takes images of any height and width.")
    checks: tuple[FileCheck, ...] = Field(description="Comparison with the network for each size that was tried.")


class ExportDocument(ExportedFile, Document):
    """An exported network: the result of `mnfpn export`."""

    command: Literal["export"] = Field("export", description="The command that made the document.")
    weights: WeightsRecord | None = Field(description="The checkpoint that was loaded; null without `weights`.")
