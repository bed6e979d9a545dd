"""What became of a checkpoint."""

from pydantic import Field

from mnfpn_cli.documents.base import Count, Record


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
