"""The document of `mnfpn settings presets`: all presets with their settings."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Document, Record
from mnfpn_cli.documents.records import ImageSize, ScoreRecord
from mnfpn_cli.settings.network import NetworkSettings


class PublishedRecord(Record):
    """A score that the makers of a network published."""

    size: ImageSize = Field(description="Size of the images that it was measured on.")
    score: ScoreRecord = Field(description="The score, in per cent.")


class Preset(Record):
    """A preset: a network to start from."""

    name: str = Field(description="Name of the preset, as `preset` takes it.")
    description: str = Field(description="The network in a line.")
    settings: NetworkSettings = Field(description="All settings of the network.")
    published: tuple[PublishedRecord, ...] = Field(
        description="Scores that were published of the network, in float32; empty where none were."
    )


class PresetsDocument(Document):
    """All presets: the result of `mnfpn settings presets`."""

    command: Literal["settings presets"] = Field("settings presets", description="The command that made the document.")
    presets: tuple[Preset, ...] = Field(description="All presets, in alphabetical order.")
