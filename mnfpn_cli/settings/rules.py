"""The rules that concern several settings at once: combinations that describe no network, each with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from mnfpn_cli.settings.backbones import (
    MAX_CHANNELS,
    ResNetSettings,
    scale_channels,
    scale_last,
    scale_stage,
    scale_stem,
)
from mnfpn_cli.settings.heads import ClassifierHead, LevelClassifiersHead
from mnfpn_cli.settings.input import MAX_SIDE
from mnfpn_cli.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnfpn_cli.settings.network import NetworkSettings
    from mnfpn_cli.settings.pyramid import PyramidSettings

MAX_BLOCKS = 1000
MOST_LISTED = 6
COARSEST = MAX_SIDE.bit_length() - 1
"""The coarsest level that the largest image could fill."""


def check_network(settings: NetworkSettings) -> None:
    """Check what pydantic cannot say of one field alone.

    Raises:
        PydanticCustomError: where a rule is broken.
    """
    _check_parts(settings)
    _check_widths(settings)
    _check_stages(settings)
    if settings.pyramid:
        _check_pyramid(settings.pyramid)
        _check_levels(settings, settings.pyramid)
    if settings.made_for and min(settings.made_for) < settings.backbone_stride:
        rule = f"must have sides of at least {settings.backbone_stride} pixels, the stride of the backbone's last map"
        raise problem("head.size", rule, settings.made_for)


def _check_parts(settings: NetworkSettings) -> None:
    kind = settings.head.kind
    if isinstance(settings.backbone, ResNetSettings) and settings.stages is not None:
        rule = "must be null with backbone.kind 'resnet', whose stages are in backbone.blocks"
        count = len(settings.stages)
        raise problem("stages", rule, f"{count} stage{'s' if count > 1 else ''}")
    if isinstance(settings.head, ClassifierHead):
        if settings.pyramid is not None:
            raise problem(
                "pyramid", "must be null with head.kind 'classifier', which sits on the backbone", "a pyramid"
            )
    elif settings.pyramid is None:
        reason = "nothing would come out" if kind == "none" else "it classifies the pyramid's levels"
        raise problem("pyramid", f"must not be null with head.kind '{kind}': {reason}", "null")
    if isinstance(settings.head, LevelClassifiersHead) and settings.head.size and settings.head.pool == "average":
        raise problem("head.size", "must be null with head.pool 'average', which takes any size", settings.head.size)


def _check_widths(settings: NetworkSettings) -> None:
    for where, channels, scaled in _widths(settings):
        if not 1 <= scaled <= MAX_CHANNELS:
            rule = f"{where} must be 1 to {MAX_CHANNELS} channels after scaling ({settings.rounding})"
            raise problem("width_mult", rule, f"{channels} × {settings.width_mult:g} = {scaled:g}")


def _widths(settings: NetworkSettings) -> Iterator[tuple[str, int, int]]:
    stem, width, rounding = settings.stem_channels, settings.width_mult, settings.rounding
    yield "stem_channels", stem, scale_stem(stem, width, rounding)
    for index, stage in enumerate(settings.stages or ()):
        scaled = scale_stage(stage.channels, stage.expansion, width, rounding)
        yield f"stages[{index}].channels", stage.channels, scaled
    if isinstance(settings.backbone, ResNetSettings):
        for index in range(len(settings.backbone.blocks)):
            channels = stem << index
            yield f"the bottlenecks of backbone.blocks[{index}]", channels, scale_channels(channels, width, rounding)
    if isinstance(settings.head, ClassifierHead) and settings.head.last_channels:
        last = settings.head.last_channels
        yield "head.last_channels", last, scale_last(last, width, rounding)


def _check_stages(settings: NetworkSettings) -> None:
    if isinstance(settings.backbone, ResNetSettings):
        where, blocks = "backbone.blocks", sum(settings.backbone.blocks)
    else:
        where, blocks = "stages", sum(stage.repeats for stage in settings.stages or ())
    if blocks > MAX_BLOCKS:
        raise problem(where, f"must have at most {MAX_BLOCKS} blocks in all", blocks)
    if settings.pyramid and 2 not in settings.strides:
        raise problem("stages", "must hold a stage of stride 2: each one gives the pyramid a level", "none")


def _check_pyramid(pyramid: PyramidSettings) -> None:
    if pyramid.merge == "concat":
        if pyramid.smooth == "none":
            reason = "smoothing brings the concatenated maps back to the pyramid's channels"
            raise problem("pyramid.smooth", f"must not be none with pyramid.merge 'concat': {reason}", "none")
        if pyramid.smooth_shared:
            reason = "each level's has as many input channels as maps were concatenated"
            raise problem("pyramid.smooth_shared", f"must be false with pyramid.merge 'concat': {reason}", "true")
    if pyramid.extra == "maxpool" and pyramid.extra_from == "tap":
        reason = "pooling keeps a tap's channels, which are not the pyramid's"
        raise problem("pyramid.extra_from", f"must be 'map' with pyramid.extra 'maxpool': {reason}", "'tap'")
    if pyramid.extra != "none" and pyramid.top == "pool":
        reason = "a map of 1×1 has no half"
        raise problem("pyramid.extra", f"must be 'none' with pyramid.top 'pool': {reason}", f"'{pyramid.extra}'")


def _check_levels(settings: NetworkSettings, pyramid: PyramidSettings) -> None:
    taps, chosen = list(settings.taps), pyramid.levels
    if not taps:
        reason = "the last stage is the top, and no stage before it has stride 2"
        raise problem("pyramid.top", f"must not be 'pool' where it leaves no level: {reason}", "'pool'")
    if chosen == "all":
        return
    if not chosen or len(set(chosen)) < len(chosen):
        raise problem("pyramid.levels", "must name at least one level, and each once", ",".join(chosen) or "none")
    beyond = settings.extra_levels
    if beyond and pyramid.extra == "none":
        rule = f"must be among the levels that the stages give ({', '.join(taps)})"
        raise problem("pyramid.levels", rule, f"{_listed(beyond)}{_near_level(beyond[-1], taps)}")
    coarsest = int(taps[-1][1:])
    if beyond and (taps[-1] not in chosen or beyond != tuple(f"p{coarsest + k + 1}" for k in range(len(beyond)))):
        rule = f"must hold {taps[-1]} and no gap after it, as each extra level is made of the one before"
        raise problem("pyramid.levels", rule, _listed(chosen))
    if len(beyond) + coarsest > max(coarsest, COARSEST):
        raise problem("pyramid.levels", f"must end at p{COARSEST}, which the largest image fills", beyond[-1])


def _listed(levels: Sequence[str]) -> str:
    """Levels in a message: the first and the last where there are many, as a range may have."""
    return ", ".join(levels) if len(levels) <= MOST_LISTED else f"{levels[0]}, {levels[1]}, …, {levels[-1]}"


def _near_level(name: str, levels: Sequence[str]) -> str:
    """The level that is spelled alike, or else the one of the nearest stride."""
    nearest = min(levels, key=lambda level: abs(int(level[1:]) - int(name[1:])))
    return did_you_mean(name, levels) or f"; did you mean '{nearest}'?"


def problem(where: str, rule: str, got: object) -> PydanticCustomError:
    """An error about several fields at once, which pydantic itself could only place at the root."""
    return PydanticCustomError("network", "{rule}", {"where": where, "rule": rule, "got": got})
