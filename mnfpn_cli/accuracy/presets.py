"""The presets, with the scores that were published of them."""

from mnfpn_cli.accuracy.published import published_scores
from mnfpn_cli.documents.records import ImageSize
from mnfpn_cli.documents.settings import Preset, PresetsDocument, PublishedRecord
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_description, preset_names, read_preset


def presets_document() -> PresetsDocument:
    """Return the document of all presets."""
    return PresetsDocument(settings=None, model=None, presets=tuple(map(_preset, preset_names())))


def _preset(name: str) -> Preset:
    settings = resolve([read_preset(name)])
    published = tuple(
        PublishedRecord(size=ImageSize(height=one.side, width=one.side), score=one.score)
        for one in published_scores(settings)
    )
    return Preset(name=name, description=preset_description(name), settings=settings, published=published)
