"""Check the rules between settings, and resolve sources into settings, sizes and inputs that follow them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.anchors import anchors_per_cell
from mnfpn_cli.plan.backbone import Widths, plan_widths
from mnfpn_cli.plan.levels import ChosenLevels, plan_levels, strides
from mnfpn_cli.settings.backbones import ResNetSettings
from mnfpn_cli.settings.detection import DetectionSettings
from mnfpn_cli.settings.input import DEFAULT_SIZE, MAX_SIDE, NetworkInput, Size, parse_size
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead, NetworkSettings, PyramidSettings
from mnfpn_cli.settings.problems import SettingsError
from mnfpn_cli.settings.sources import Source, merge_sources, with_source

MAX_BLOCKS = 1000
"""The most blocks of a backbone."""


class Outline(NamedTuple):
    """The scaled channels and the levels of a network: with the settings, they determine all layers."""

    widths: Widths
    levels: ChosenLevels


# To resolve settings and to plan their network both need it, one right after the other.
@lru_cache(maxsize=4)
def plan_outline(settings: NetworkSettings) -> Outline:
    """Return scaled channels and levels, and check every rule between settings.

    Raises:
        SettingsError: where settings break a rule together.
    """
    _check_parts(settings)
    widths = plan_widths(settings)
    _check_blocks(settings)
    if settings.detection:
        _check_detection(settings, settings.detection, widths.levels)
    if settings.pyramid:
        _check_pyramid(settings.pyramid)
    levels, made_for = plan_levels(settings), settings.made_for
    if settings.detection:
        anchors_per_cell(settings.detection, len(levels.names))
    if made_for and min(made_for) < levels.stride:
        is_last = levels.last_stage == len(strides(settings)) - 1
        what = "the backbone's last map" if is_last else levels.tapped[-1]
        rule = f"must have sides of at least {levels.stride} pixels, the stride of {what}"
        raise SettingsError("head.size", rule, made_for)
    return Outline(widths, levels)


def _check_parts(settings: NetworkSettings) -> None:
    head = settings.head
    if isinstance(settings.backbone, ResNetSettings) and settings.stages is not None:
        rule = "must be null with backbone.kind 'resnet', whose stages are in backbone.blocks"
        count = len(settings.stages)
        raise SettingsError("stages", rule, f"{count} stage{'s' if count > 1 else ''}")
    if isinstance(head, ClassifierHead):
        if settings.pyramid is not None:
            rule = "must be null with head.kind 'classifier', which takes the backbone's last map"
            raise SettingsError("pyramid", rule, "a pyramid")
    elif settings.pyramid is None:
        reason = "the network would have no output" if head.kind == "none" else "it takes the pyramid's levels"
        raise SettingsError("pyramid", f"must not be null with head.kind '{head.kind}': {reason}")
    if isinstance(head, LevelClassifiersHead) and head.size and head.pool == "average":
        raise SettingsError("head.size", "must be null with head.pool 'average', which takes any size", head.size)
    for name in ("preprocess", "postprocess"):
        if getattr(settings, name) and not settings.detection:
            raise SettingsError(name, f"must be null with head.kind '{head.kind}', which detects nothing")


def _check_detection(settings: NetworkSettings, head: DetectionSettings, channels: int) -> None:
    if settings.pyramid and settings.pyramid.top == "pool":
        rule = f"must be 'lateral' with head.kind '{head.kind}': a 1×1 map of the whole image has no cells"
        raise SettingsError("pyramid.top", rule, "'pool'")
    if head.channels is not None and not head.depth:
        rule = "must be null with head.depth 0: there is no convolution before the last ones"
        raise SettingsError("head.channels", rule, head.channels)
    if not head.norm_shared:
        reason = "it is about the norms of convolutions that levels share"
        if not head.shared:
            raise SettingsError("head.norm_shared", f"must be true with head.shared false: {reason}", "false")
        if head.norm == "none":
            raise SettingsError("head.norm_shared", f"must be true with head.norm 'none': {reason}", "false")
        if not head.depth:
            raise SettingsError("head.norm_shared", f"must be true with head.depth 0: {reason}", "false")
        if head.separable and head.depthwise_norm:
            rule = "must be false with head.norm_shared false: a level's own norms are behind whole convolutions"
            raise SettingsError("head.depthwise_norm", rule, "true")
    if head.norm == "group":
        _check_groups(head, channels)
    for name in ("mean", "std"):
        values = getattr(settings.preprocess, name, ())
        if len(values) not in (1, settings.in_channels):
            rule = f"must have one value, or one for each of in_channels, {settings.in_channels}"
            raise SettingsError(f"preprocess.{name}", rule, len(values))


def _check_groups(head: DetectionSettings, pyramid_channels: int) -> None:
    normed = [head.channels or pyramid_channels] if head.depth else []
    if head.separable and head.depthwise_norm:
        normed.append(pyramid_channels)
    for channels in normed:
        if channels % head.norm_groups or channels == head.norm_groups:
            rule = f"must divide the channels that are normalised, {channels}, into groups of at least 2"
            raise SettingsError("head.norm_groups", rule, head.norm_groups)


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
            raise SettingsError("pyramid.smooth", f"must not be 'none' with pyramid.merge 'concat': {reason}", "'none'")
        if pyramid.smooth_shared:
            reason = "each level's smoothing has its own number of input channels"
            raise SettingsError("pyramid.smooth_shared", f"must be false with pyramid.merge 'concat': {reason}", "true")
    if pyramid.extra == "maxpool" and pyramid.extra_from == "tap":
        reason = "pooling keeps a tap's channels, which are not the pyramid's"
        raise SettingsError("pyramid.extra_from", f"must be 'map' with pyramid.extra 'maxpool': {reason}", "'tap'")
    if pyramid.last_channels and pyramid.top == "pool":
        rule = "must be null with pyramid.top 'pool', whose top is the last stage's average"
        raise SettingsError("pyramid.last_channels", rule, pyramid.last_channels)
    if pyramid.extra != "none" and pyramid.top == "pool":
        reason = "a 1×1 map cannot be downsampled"
        raise SettingsError("pyramid.extra", f"must be 'none' with pyramid.top 'pool': {reason}", f"'{pyramid.extra}'")


def resolve(sources: Sequence[Source]) -> NetworkSettings:
    """Merge sources on top of the defaults, check each value and every rule, and return the settings.

    Raises:
        UsageError: where a rule is broken; it names the source of the value.
    """
    settings = merge_sources(sources)
    try:
        plan_outline(settings)
    except SettingsError as error:
        raise UsageError(with_source(error.problem, sources)) from None
    return settings


def choose_size(settings: NetworkSettings, text: str | None) -> tuple[NetworkSettings, Size]:
    """Return the settings, with a head for the size where it needs one, and the size of images that ``text`` gives.

    Without a text, the size is that of the head, or else the default.

    Raises:
        UsageError: where the text is not a size.
    """
    size = parse_size(text) if text is not None else settings.made_for or parse_size(DEFAULT_SIZE)
    return settings.at(size), size


def network_input(settings: NetworkSettings, size: Size, batch: int = 1) -> NetworkInput:
    """Return the input of a network: ``batch`` images of a size.

    Raises:
        UsageError: where no image is large enough for the stages; where a side is shorter than the stride of the last
            map that the network needs, which would have no whole cell; or where the head is made for another size.
    """
    if settings.made_for not in (None, size):
        rule = f"must be {settings.made_for}, which the head's dense layers are made for (head.size)"
        raise UsageError(Problem("`size`", rule, str(size)))
    levels = plan_levels(settings)
    if levels.stride > MAX_SIDE:
        raise UsageError(Problem("stages", f"must halve the resolution to 1/{MAX_SIDE} at most", f"1/{levels.stride}"))
    if min(size) < levels.stride:
        what = "the backbone's last map" if levels.top or not levels.tapped else levels.tapped[-1]
        rule = f"each side must be at least {levels.stride} pixels, the stride of {what}"
        raise UsageError(Problem("`size`", rule, str(size)))
    return NetworkInput(batch, settings.in_channels, size)
