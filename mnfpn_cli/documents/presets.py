"""What `mnfpn settings presets` returns."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Document, Record
from mnfpn_cli.settings.files import preset_description, preset_names, read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import resolve


class Preset(Record):
    """A network to start from."""

    name: str = Field(description="Name of the preset, as --preset takes it.")
    description: str = Field(description="What it is, in a line.")
    settings: NetworkSettings = Field(description="All its settings.")


class PresetsDocument(Document):
    """The result of `mnfpn settings presets`."""

    command: Literal["presets"] = Field("presets", description="The command that made the document.")
    presets: tuple[Preset, ...] = Field(description="All presets, in alphabetical order.")


def presets_document() -> PresetsDocument:
    """Make the document of all presets."""
    presets = tuple(
        Preset(name=name, description=preset_description(name), settings=resolve([read_preset(name)]))
        for name in preset_names()
    )
    return PresetsDocument(settings=None, model=None, presets=presets)
