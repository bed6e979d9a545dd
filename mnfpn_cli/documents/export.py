"""The document of `mnfpn export`: a file that was written, and its outputs beside the network's."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Bytes, Count, Decibels, Document, ElementValue, Message, Ratio, Record
from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.documents.records import InputRecord, WeightsRecord
from mnfpn_cli.settings.input import DType


class OutputCheck(Record):
    """The difference of one output between the file and the network in float32."""

    name: str = Field(description="Name of the output.")
    shape: tuple[Count, ...] = Field(description="Shape of the output, with its batch.")
    max_abs_difference: ElementValue = Field(description="Largest absolute difference between two elements.")
    relative: Ratio = Field(description="That difference over the largest absolute value of the network's output.")
    allowed: Ratio | None = Field(
        description="Largest relative difference that passes the check; null for a file in another dtype than float32."
    )
    snr_db: Decibels | None = Field(
        description="Power of the network's output over that of the difference, in dB; null where they are equal, and "
        "for a file in float32."
    )
    least_snr_db: Decibels | None = Field(
        description="What that must exceed to pass the check; null for a file in float32."
    )


class FileCheck(Record):
    """The outputs of the file compared with those of the network, for the same inputs."""

    input: InputRecord = Field(description="Input of both.")
    outputs: tuple[OutputCheck, ...] = Field(description="Check of each output.")


class ExportedFile(Record):
    """A file that was written and checked."""

    format: Literal["onnx", "torch-export", "safetensors", "openvino", "executorch", "coreml"] = Field(
        description="Format of the file."
    )
    file: str = Field(description="Name of the file, as it was given.")
    files: tuple[str, ...] = Field(description="Names of all files: a model may have its weights beside it.")
    bytes: Bytes = Field(description="Size of all files together, in bytes.")
    dtype: DType = Field(
        description="The element type that the file computes in, or that its weights have; what goes in and comes out "
        "is in float32."
    )
    dynamic: bool = Field(description="Whether the file takes images of any height and width.")
    dynamic_axes: tuple[Literal["batch", "height", "width"], ...] = Field(
        description="The axes of images that the file leaves open."
    )
    opset: Count | None = Field(description="Version of ONNX's operators that was asked for; null for the usual one.")
    keep_float: tuple[str, ...] = Field(description="Layers that stay in float32 in a file in int8.")
    checks: tuple[FileCheck, ...] = Field(description="Comparison with the network for each input that was tried.")
    unchecked: Message | None = Field(description="Why the file was not run on this machine; null where it was.")
    quality: QualityRecord | None = Field(
        description="What the dtype costs, over all images; null in float32, and for a file that was not run."
    )


class ExportDocument(ExportedFile, Document):
    """An exported network: the result of `mnfpn export`."""

    command: Literal["export"] = Field("export", description="The command that made the document.")
    weights: WeightsRecord | None = Field(description="The checkpoint that was loaded; null without `weights`.")
