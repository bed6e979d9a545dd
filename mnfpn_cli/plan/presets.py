"""The presets, with all that their settings come to."""

from mnfpn_cli.documents.presets import Preset, PresetsDocument
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_description, preset_names, read_preset


def presets_document() -> PresetsDocument:
    """Make the document of all presets."""
    presets = tuple(
        Preset(name=name, description=preset_description(name), settings=resolve([read_preset(name)]))
        for name in preset_names()
    )
    return PresetsDocument(settings=None, model=None, presets=presets)
