"""The keys of settings and the words that each takes, for hints on misspelt keys and for completion in shells."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from mnfpn_cli.settings.backbones import ORIGINAL_SPELLING, MobileNetV2Settings, ResNetSettings, StageSettings
from mnfpn_cli.settings.heads import ClassifierHead, LevelClassifiersHead, NoHead
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.pyramid import PyramidSettings

PARTS: dict[str, dict[str, type[BaseModel]]] = {
    "backbone": {"mobilenet_v2": MobileNetV2Settings, "resnet": ResNetSettings},
    "head": {"none": NoHead, "classifier": ClassifierHead, "level_classifiers": LevelClassifiersHead},
}
"""The parts of a network that are of several kinds, and the settings of each kind."""

USUAL_KINDS = {part: next(iter(kinds)) for part, kinds in PARTS.items()}
"""The kind of each part where none is said."""

MODELS: dict[str, tuple[type[BaseModel], ...]] = {
    "": (NetworkSettings,),
    "stages[]": (StageSettings,),
    "pyramid": (PyramidSettings,),
    **{part: tuple(kinds.values()) for part, kinds in PARTS.items()},
}
"""The settings that each place holds."""

KEYS = {
    place: [*dict.fromkeys(key for model in models for key in model.model_fields)] for place, models in MODELS.items()
}
KEYS["stages[]"] += ORIGINAL_SPELLING
"""The keys of each place."""


def every_key() -> Iterator[str]:
    """Every key, dotted: ``pyramid.smooth``."""
    for place, names in KEYS.items():
        yield from (f"{place}.{name}".removeprefix(".") for name in names)


def words_of(key: str) -> list[str]:
    """The words that a dotted key takes, each once; nothing where it takes numbers or any text."""
    place, _, name = key.rpartition(".")
    fields = [model.model_fields[name] for model in MODELS.get(place, ()) if name in model.model_fields]
    return list(dict.fromkeys(word for field in fields for word in _words(field.annotation)))


def _words(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from (str(one) for one in get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _words(one)
