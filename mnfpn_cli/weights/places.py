"""The layers of a plan that hold weights: where each is in our network, its role, and where it stands among others."""

from collections.abc import Iterator
from typing import NamedTuple

from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.head import ClassifierPlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import PyramidPlan, SeparablePlan

PARTS = {
    "pyramid.lateral": ("pooled", "top", "lateral"),
    "pyramid.smooth": ("smooth",),
    "pyramid.extra": ("extra",),
    "head.last": ("last.conv", "last.norm"),
    "head.dense": ("dense",),
    "head.levels": ("levels",),
    "head.final": ("final",),
}
"""The parts beside the backbone, each with its roles: a network may have no use for one, or a checkpoint lack it."""


class Place(NamedTuple):
    """A layer: the path of its module, its role in layouts, and what their names may depend on."""

    path: str
    role: str
    facts: dict[str, object]


def places(plan: NetworkPlan) -> Iterator[Place]:
    """Every layer of a network that holds weights and that a foreign layout can have."""
    yield from _backbone_places(plan.backbone)
    if plan.pyramid:
        yield from _pyramid_places(plan.pyramid)
    facts = head_facts(plan.backbone)
    if isinstance(plan.head, ClassifierPlan):
        if plan.head.last and plan.head.last.norm:
            yield Place("head.last.conv", "last.conv", facts)
            yield Place("head.last.norm", "last.norm", facts)
        elif plan.head.last:
            yield Place("head.last", "last.conv", facts)
        yield Place("head.dense", "dense", facts)


def head_facts(plan: BackbonePlan) -> dict[str, object]:
    """What the names of a head behind a backbone may depend on: how many blocks and stages are before it."""
    blocks, stages = sum(len(stage.blocks) for stage in plan.stages), len(plan.stages)
    return {"flat": blocks + 1, "stage_2": stages + 2, "stage_4": stages + 4}


def _backbone_places(plan: BackbonePlan) -> Iterator[Place]:
    yield from (Place(f"stem.{part}", f"stem.{part}", {}) for part in ("conv", "norm"))
    flat = 0
    for stage_index, stage in enumerate(plan.stages):
        for block_index, block in enumerate(stage.blocks):
            flat += 1
            names = [name for name, _ in block.layers] + (["shortcut"] if block.shortcut else [])
            for position, name in enumerate(names):
                facts = {
                    "flat": flat,
                    "stage": stage_index,
                    "stage_1": stage_index + 1,
                    "stage_2": stage_index + 2,
                    "block": block_index,
                    "of_several": f".{block_index}" if len(stage.blocks) > 1 else "",
                    "position": position,
                    "next": position + 1,
                    "third": 3 * position,
                    "third_next": 3 * position + 1,
                    "project": "conv_pwl" if position == 2 else "conv_pw",
                }
                for part in ("conv", "norm"):
                    yield Place(f"stages.{stage_index}.{block_index}.{name}.{part}", f"{name}.{part}", facts)


def _pyramid_places(plan: PyramidPlan) -> Iterator[Place]:
    for index, level in enumerate(plan.levels):
        from_top = len(plan.levels) - 1 - index
        facts: dict[str, object] = {"from_finest": index, "from_top": from_top}
        path = f"pyramid.lateral.{level.name}"
        if level.pooled:
            yield Place(f"{path}.conv", "pooled", facts)
        else:
            yield Place(path, "lateral" if from_top else "top", facts)
        if level.smooth and not isinstance(level.smooth, SeparablePlan):
            yield Place(f"pyramid.smooth.{plan.smoothing(level)}", "smooth", facts)
    for index, extra in enumerate(plan.extra):
        if extra.layer and not isinstance(extra.layer, SeparablePlan):
            yield Place(f"pyramid.extra.{extra.name}", "extra", {"number": extra.name[1:], "from_6": index + 6})
