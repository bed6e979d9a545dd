"""Records of what a precision costs: the outputs beside float32's, and what the runtime's own graph computed in."""

from pydantic import Field

from mnfpn_cli.documents.base import Count, Decibels, Macs, Message, Ratio, Record, Share


class OutputQuality(Record):
    """One output beside that of eager float32, over all images."""

    name: str = Field(description="Name of the output.")
    snr_db: Decibels | None = Field(
        description="Power of eager float32's output over that of the difference, in dB; null where they are equal."
    )
    cosine: Ratio = Field(description="Cosine of the angle between both outputs, -1 to 1.")


class QualityRecord(Record):
    """The outputs of a run beside those of the same network in eager float32, on the same images."""

    images: Count = Field(description="Distinct images, or rows of tensors, that were compared.")
    source: Message = Field(description="Where the images are from: a folder, a file, or random values.")
    real: bool = Field(description="Whether the images are real; random ones do not tell what the network loses.")
    trained: bool = Field(description="Whether a checkpoint was loaded; random weights do not tell that either.")
    calibrated_on: Count | None = Field(description="Images of the calibration; null where there was none.")
    outputs: tuple[OutputQuality, ...] = Field(
        description="Each output of floating-point numbers that are not all zero in eager float32."
    )
    first_choices: Share | None = Field(
        description="Share of images with the same most likely class; null for a network that does not classify."
    )
    boxes: Share | None = Field(
        description="Share of boxes that both find, with the same label, at IoU 0.5: twice the pairs over the boxes "
        "of both; null without a detection head, or where neither finds a box."
    )


class OperatorRecord(Record):
    """A convolution or a matrix product of a runtime's own graph."""

    name: str = Field(description="Path of the layer; where the graph does not have it, the runtime's own name.")
    dtype: str = Field(description="The element type that it computes in.")
    macs: Macs = Field(description="MACs of the operator for the whole batch.")


class GraphRecord(Record):
    """What a runtime executed, by its own graph or profile, not by what was asked for."""

    share: Share | None = Field(description="Share of the MACs that ran in the dtype of the run; null without MACs.")
    fallbacks: tuple[OperatorRecord, ...] = Field(
        description="The operators with MACs that ran in another dtype unasked."
    )
    kept_share: Share = Field(0.0, description="Share of the MACs that stay in float32 as asked.")
    conversions: Count = Field(description="Operators that only convert between element types.")
