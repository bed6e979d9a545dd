"""The settings that a checkpoint would fit, read off the shapes of its tensors. Only what then fits is suggested."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple, get_args

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.backbone import Widths, plan_widths
from mnfpn_cli.plan.heads import DensePlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.backbones import ResNetSettings, Rounding
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import OWN_PARAMETERS
from mnfpn_cli.settings.problems import KeyPath, SettingsError, dotted
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.weights.layouts import LAYOUTS, OURS

Shapes = Mapping[str, Sequence[int]]
"""The shape that a checkpoint has for each key of a network."""

WIDTHS = (1.0, 0.5, 0.75, 1.4, 0.25, 0.35, 1.3, *(k / 20 for k in range(1, 81)), *(k / 100 for k in range(1, 401)))
"""The width multipliers that are tried, the usual ones first: several may give the same channels."""

LATERAL = "pyramid.lateral."

LAST = re.compile(r"head\.(?:dense|final|\w+\.\w+\.cls_logits(?:\.pointwise)?)\.weight")
"""The layer whose channels are the classes, or those of all anchors of a place."""


NUMBERS = {name: rf"(?P<{name.partition('_')[0]}>\d+)" for name in ("stage", "stage_1", "stage_2", "block")}
"""Patterns in place of the numbers in the name of a layer."""


class Reading(NamedTuple):
    """What a checkpoint shows of the settings of its network.

    Attributes:
        sight: what is seen, as ``48 channels in the stem``.
        values: the settings that give it, by path.
    """

    sight: str
    values: Mapping[KeyPath, Any]

    @property
    def options(self) -> Iterator[str]:
        """The parameters of commands that set the values."""
        for path, value in self.values.items():
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            own = OWN_PARAMETERS.get(path)
            yield f"`{own}` {text}" if own else f"`set` {dotted(path)}={text}"


def suggestion(
    settings: NetworkSettings, plan: NetworkPlan, theirs: Shapes, fits: Callable[[NetworkSettings], bool]
) -> str:
    """Return the end of a message: the fewest settings with which a checkpoint fits; nothing where none are found.

    Args:
        settings: of the network that it does not fit.
        plan: of that network.
        theirs: the shapes of the checkpoint.
        fits: whether the checkpoint fits the network of other settings.
    """
    return _fewest(settings, list(_readings(settings, plan, theirs)), fits)


def suggested_blocks(
    settings: NetworkSettings, modules: Collection[str], fits: Callable[[NetworkSettings], bool]
) -> str:
    """Return the same for a ResNet whose checkpoint has other blocks, which the names of its modules show."""
    if not isinstance(settings.backbone, ResNetSettings):
        return ""
    for layout in (OURS, *LAYOUTS):
        template = layout.name_of("spatial.conv", "stages.{stage}.{block}.spatial.conv".format_map(NUMBERS), NUMBERS)
        found = (re.fullmatch(template.replace(".", r"\."), layout.normal(module)) for module in modules)
        counts = Counter(int(one["stage"]) for one in found if one)
        blocks = tuple(count for _, count in sorted(counts.items()))
        if blocks and blocks != settings.backbone.blocks:
            sight = f"blocks {'-'.join(map(str, blocks))}"
            return _fewest(settings, [Reading(sight, {("backbone", "blocks"): list(blocks)})], fits)
    return ""


def _fewest(settings: NetworkSettings, readings: Sequence[Reading], fits: Callable[[NetworkSettings], bool]) -> str:
    for count in range(1, len(readings) + 1):
        for several in combinations(readings, count):
            if _fits_with(settings, several, fits):
                sights = ", ".join(one.sight for one in several)
                options = ", ".join(option for one in several for option in one.options)
                return f"; it has {sights}: try {options}"
    return ""


def _fits_with(settings: NetworkSettings, readings: Sequence[Reading], fits: Callable[[NetworkSettings], bool]) -> bool:
    """Return whether the checkpoint fits settings with what was read of it."""
    values = [Source("", value, path) for one in readings for path, value in one.values.items()]
    try:
        changed = resolve([Source("", settings.model_dump(mode="json")), *values])
    except UsageError:  # the values contradict each other
        return False
    return fits(changed)


def _readings(settings: NetworkSettings, plan: NetworkPlan, theirs: Shapes) -> Iterator[Reading]:
    stem = theirs.get("stem.conv.weight", ())
    if stem and stem[1] != settings.in_channels:
        yield Reading(f"images of {stem[1]} channel{'s' * (stem[1] > 1)}", {("in_channels",): stem[1]})
    yield from _width(settings, plan, theirs)
    lateral = next((shape for key, shape in theirs.items() if LATERAL in key and len(shape) > 1), ())
    if settings.pyramid and lateral and lateral[0] != settings.pyramid.channels:
        yield Reading(f"{lateral[0]} channels in the pyramid", {("pyramid", "channels"): lateral[0]})
    last = next((theirs[key] for key in ("head.last.conv.weight", "head.last.weight") if key in theirs), ())
    if last and last[0] != getattr(settings.head, "last_channels", None):
        yield Reading(f"{last[0]} channels in the last convolution", {("head", "last_channels"): last[0]})
    if classes := _classes(settings, plan, theirs):
        yield Reading(f"{classes} classes", {("head", "classes"): classes})


def _classes(settings: NetworkSettings, plan: NetworkPlan, theirs: Shapes) -> int | None:
    """Return the number of classes of a checkpoint, where it is another than that of the settings; None where not.

    A detector has scores for each anchor: of one level, where levels do not share their layers.
    """
    ours = getattr(settings.head, "classes", None)
    last = next(((key, shape[0]) for key, shape in theirs.items() if LAST.fullmatch(key)), None)
    if ours is None or last is None:
        return None
    key, channels = last
    anchors = 1
    if isinstance(plan.head, DensePlan):
        anchors = dict(plan.head.anchors).get(key.split(".")[2], plan.head.anchors[0][1])
    classes, rest = divmod(channels, anchors)
    return classes if classes != ours and not rest else None


def _width(settings: NetworkSettings, plan: NetworkPlan, theirs: Shapes) -> Iterator[Reading]:
    """Yield the width multiplier, with the rounding if it is another, that gives the channels of stem and stages."""
    stem = theirs.get("stem.conv.weight", ())[:1]
    stages = {}
    for index, stage in enumerate(plan.backbone.stages):
        layer = "spatial" if stage.blocks[0].is_bottleneck else "project"
        if shape := theirs.get(f"stages.{index}.0.{layer}.conv.weight"):
            stages[index] = shape[0]
    if not stem or not stages or _gives(plan_widths(settings), stem[0], stages):
        return
    for rounding in sorted(get_args(Rounding), key=lambda one: one != settings.rounding):
        for width in WIDTHS:
            try:
                widths = plan_widths(settings.model_copy(update={"width_mult": width, "rounding": rounding}))
            except SettingsError:
                continue
            if _gives(widths, stem[0], stages):
                values: dict[KeyPath, Any] = {("width_mult",): width}
                if rounding != settings.rounding:
                    values["rounding",] = rounding
                yield Reading(f"{stem[0]} channels in the stem", values)
                return
    if stem[0] != plan.backbone.stem.out_channels:
        yield Reading(f"{stem[0]} channels in the stem", {("stem_channels",): stem[0]})


def _gives(widths: Widths, stem: int, stages: Mapping[int, int]) -> bool:
    return widths.stem == stem and all(widths.stages[index] == channels for index, channels in stages.items())
