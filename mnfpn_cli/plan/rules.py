"""Rules between settings, checked where settings are made from sources; and the presets, resolved."""

from collections.abc import Sequence
from typing import NamedTuple

from mnfpn_cli.documents.presets import Preset, PresetsDocument
from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.levels import Levels, plan_levels
from mnfpn_cli.plan.rounding import Widths, plan_widths
from mnfpn_cli.settings.backbones import ResNetSettings
from mnfpn_cli.settings.files import preset_description, preset_names, read_preset
from mnfpn_cli.settings.heads import ClassifierHead, LevelClassifiersHead
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError
from mnfpn_cli.settings.pyramid import PyramidSettings
from mnfpn_cli.settings.sources import Source, merge, named

MAX_BLOCKS = 1000


def resolve(sources: Sequence[Source]) -> NetworkSettings:
    """The settings that the sources give together, on top of the defaults.

    Raises:
        UsageError: where a value breaks a rule, or several values do together, naming the source that gave it.
    """
    settings = merge(sources)
    try:
        plan_outline(settings)
    except SettingsError as error:
        raise UsageError(named(error.problem, sources)) from None
    return settings


class Outline(NamedTuple):
    """What the layers follow from: channels, and levels."""

    widths: Widths
    levels: Levels


def plan_outline(settings: NetworkSettings) -> Outline:
    """Work out widths and levels, and check every rule that concerns several settings at once.

    Raises:
        SettingsError: where the settings describe no network.
    """
    _check_parts(settings)
    widths = plan_widths(settings)
    _check_blocks(settings)
    if settings.pyramid:
        _check_pyramid(settings.pyramid)
    levels, made_for = plan_levels(settings), settings.made_for
    if made_for and min(made_for) < levels.stride:
        rule = f"must have sides of at least {levels.stride} pixels, the stride of the backbone's last map"
        raise SettingsError("head.size", rule, made_for)
    return Outline(widths, levels)


def _check_parts(settings: NetworkSettings) -> None:
    kind = settings.head.kind
    if isinstance(settings.backbone, ResNetSettings) and settings.stages is not None:
        rule = "must be null with backbone.kind 'resnet', whose stages are in backbone.blocks"
        count = len(settings.stages)
        raise SettingsError("stages", rule, f"{count} stage{'s' if count > 1 else ''}")
    if isinstance(settings.head, ClassifierHead):
        if settings.pyramid is not None:
            raise SettingsError(
                "pyramid", "must be null with head.kind 'classifier', which sits on the backbone", "a pyramid"
            )
    elif settings.pyramid is None:
        reason = "nothing would come out" if kind == "none" else "it classifies the pyramid's levels"
        raise SettingsError("pyramid", f"must not be null with head.kind '{kind}': {reason}", "null")
    head = settings.head
    if isinstance(head, LevelClassifiersHead) and head.size and head.pool == "average":
        raise SettingsError("head.size", "must be null with head.pool 'average', which takes any size", head.size)


def _check_blocks(settings: NetworkSettings) -> None:
    if isinstance(settings.backbone, ResNetSettings):
        where, blocks = "backbone.blocks", sum(settings.backbone.blocks)
    else:
        where, blocks = "stages", sum(stage.repeats for stage in settings.stages or ())
    if blocks > MAX_BLOCKS:
        raise SettingsError(where, f"must have at most {MAX_BLOCKS} blocks in all", blocks)


def _check_pyramid(pyramid: PyramidSettings) -> None:
    if pyramid.merge == "concat":
        if pyramid.smooth == "none":
            reason = "smoothing brings the concatenated maps back to the pyramid's channels"
            raise SettingsError("pyramid.smooth", f"must not be none with pyramid.merge 'concat': {reason}", "none")
        if pyramid.smooth_shared:
            reason = "each level's has as many input channels as maps were concatenated"
            raise SettingsError("pyramid.smooth_shared", f"must be false with pyramid.merge 'concat': {reason}", "true")
    if pyramid.extra == "maxpool" and pyramid.extra_from == "tap":
        reason = "pooling keeps a tap's channels, which are not the pyramid's"
        raise SettingsError("pyramid.extra_from", f"must be 'map' with pyramid.extra 'maxpool': {reason}", "'tap'")
    if pyramid.extra != "none" and pyramid.top == "pool":
        reason = "a map of 1×1 has no half"
        raise SettingsError("pyramid.extra", f"must be 'none' with pyramid.top 'pool': {reason}", f"'{pyramid.extra}'")


def presets_document() -> PresetsDocument:
    """Make the document of all presets."""
    presets = tuple(
        Preset(name=name, description=preset_description(name), settings=resolve([read_preset(name)]))
        for name in preset_names()
    )
    return PresetsDocument(settings=None, model=None, presets=presets)
