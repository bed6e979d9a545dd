"""What became of a checkpoint, as documents have it."""

from pydantic import Field

from mnfpn_cli.documents.base import Count, Record


class WeightsRecord(Record):
    """What became of a checkpoint."""

    file: str = Field(description="Its name.")
    layout: str = Field(description="Whose names its tensors have.")
    matched: Count = Field(description="Tensors of the network that it gave.")
    ignored: tuple[str, ...] = Field(description="Its keys that the network has no use for.")
    missing: tuple[str, ...] = Field(description="Keys of the network that it lacks.")
    overridden: tuple[str, ...] = Field(
        description="Keys of a layer that is shared here, whose values differ from those of the last one."
    )
    settings_differ: tuple[str, ...] = Field(
        description="Keys in which the settings that the file carries are not those of the network."
    )
