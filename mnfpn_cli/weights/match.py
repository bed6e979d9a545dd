"""Match the tensors of a checkpoint with the layers of a plan."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Self

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.heads import ClassifierPlan, DensePlan
from mnfpn_cli.plan.layers import ConvPlan, LayerPlan, SeparablePlan
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.pyramid import SHARED, PyramidPlan
from mnfpn_cli.text import few
from mnfpn_cli.weights.layouts import LAYOUTS, OURS, Layout

PARTS = {
    "pyramid.lateral": ("pooled", "top", "lateral"),
    "pyramid.smooth": ("smooth",),
    "pyramid.extra": ("extra",),
    "head.last": ("last.conv", "last.norm"),
    "head.dense": ("dense", "dense.others"),
    "head.levels": ("levels",),
    "head.final": ("final",),
}
"""The parts besides the backbone, each with its roles: any of them may be absent from the network or the checkpoint."""


class WeightedLayer(NamedTuple):
    """A layer: the path of its module, its role in layouts, and the variables of its name's template."""

    path: str
    role: str
    variables: dict[str, object]


def weighted_layers(plan: NetworkPlan) -> Iterator[WeightedLayer]:
    """Yield every layer of a network that holds weights and that a foreign layout can have."""
    yield from _backbone_layers(plan.backbone)
    variables = head_variables(plan.backbone)
    if plan.pyramid:
        yield from _pyramid_layers(plan.pyramid)
        if plan.pyramid.last:
            yield from _last_layers("pyramid.last", plan.pyramid.last, variables)
    if isinstance(plan.head, ClassifierPlan):
        if plan.head.last:
            yield from _last_layers("head.last", plan.head.last, variables)
        yield WeightedLayer("head.dense", "dense", variables)
    elif isinstance(plan.head, DensePlan):
        yield from _dense_layers(plan.head)


def _modules(layer: LayerPlan) -> Iterator[tuple[str, str]]:
    """Yield the modules of a layer that hold weights: the end of the path, and that of the role."""
    if isinstance(layer, SeparablePlan):
        for name, conv in (("depthwise", layer.depthwise), ("pointwise", layer.pointwise)):
            yield from ((f".{name}{path}", f".{name}{role}") for path, role in _modules(conv))
    else:
        yield ("" if layer.bare else ".conv"), ""
        if layer.norm:
            yield ".norm", ".norm"


def _last_layers(path: str, layer: ConvPlan, variables: dict[str, object]) -> Iterator[WeightedLayer]:
    """Yield the modules of the last 1×1 convolution of a MobileNetV2."""
    for end, role in _modules(layer):
        yield WeightedLayer(f"{path}{end}", f"last{role or '.conv'}", variables)


def _dense_layers(plan: DensePlan) -> Iterator[WeightedLayer]:
    """Yield the modules of a detector's head; roles tell whether levels share them: ``fcos.shared.tower.norm``."""
    for branch in plan.branches:
        path = f"head.{branch.name}"
        for index, level in enumerate(branch.levels):
            named: dict[str, object] = {"branch": branch.name, "level": index, "last": 2 * len(level.tower)}
            kind = f"{plan.kind}.{SHARED if level.name == SHARED else 'level'}"
            for place, layer in enumerate(level.tower):
                variables = named | {
                    "index": place,
                    "twice": 2 * place,
                    "third": 3 * place,
                    "third_next": 3 * place + 1,
                }
                for end, role in _modules(layer):
                    yield WeightedLayer(f"{path}.{level.name}.tower.{place}{end}", f"{kind}.tower{role}", variables)
            for output, layer in level.last:
                for end, role in _modules(layer):
                    yield WeightedLayer(f"{path}.{level.name}.{output}{end}", f"{kind}.{output}{role}", named)
        for index, (name, _) in enumerate(plan.anchors if branch.norms else ()):
            for place in range(len(branch.norms)):
                variables = {"branch": branch.name, "level": index, "index": place}
                yield WeightedLayer(f"{path}.norms.{name}.{place}.norm", f"{plan.kind}.level.norms", variables)


def head_variables(plan: BackbonePlan) -> dict[str, object]:
    """Return the template variables of a head after a backbone: they count the blocks and stages before it."""
    blocks, stages = sum(len(stage.blocks) for stage in plan.stages), len(plan.stages)
    return {"flat": blocks + 1, "stage_2": stages + 2, "stage_4": stages + 4}


def _backbone_layers(plan: BackbonePlan) -> Iterator[WeightedLayer]:
    parts = ("conv", "norm") if plan.stem.norm else ("conv",)
    yield from (WeightedLayer(f"stem.{part}", f"stem.{part}", {}) for part in parts)
    flat = 0
    for stage_index, stage in enumerate(plan.stages):
        for block_index, block in enumerate(stage.blocks):
            flat += 1
            names = [name for name, _ in block.layers] + (["shortcut"] if block.shortcut else [])
            for position, name in enumerate(names):
                variables = {
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
                    "keras_block": f"block_{flat - 1}" if flat > 1 else "expanded_conv",
                    "project": "conv_pwl" if position == 2 else "conv_pw",
                }
                for part in ("conv", "norm"):
                    yield WeightedLayer(
                        f"stages.{stage_index}.{block_index}.{name}.{part}", f"{name}.{part}", variables
                    )


def _pyramid_layers(plan: PyramidPlan) -> Iterator[WeightedLayer]:
    for index, level in enumerate(plan.levels):
        from_top = len(plan.levels) - 1 - index
        variables: dict[str, object] = {"from_finest": index, "from_top": from_top}
        path = f"pyramid.lateral.{level.name}"
        if level.pooled:
            yield WeightedLayer(f"{path}.conv", "pooled", variables)
        else:
            yield WeightedLayer(path, "lateral" if from_top else "top", variables)
        for end, role in _modules(level.smooth) if level.smooth else ():
            yield WeightedLayer(f"pyramid.smooth.{plan.smoothing(level)}{end}", f"smooth{role}", variables)
    for index, extra in enumerate(plan.extra):
        variables = {"number": extra.name[1:], "from_6": index + 6}
        for end, role in _modules(extra.layer) if extra.layer else ():
            yield WeightedLayer(f"pyramid.extra.{extra.name}{end}", f"extra{role}", variables)


SPARE = "stages that no level needs"
"""The part of keys of backbone layers that the network lacks."""

OTHER = "another program's"
"""The part of keys that no network of ours has, such as the second stage of a detector."""


def part_of(key: str) -> str:
    """Return the part of the network that a key of ours belongs to: ``stages``, ``pyramid.lateral``, ``head.dense``."""
    return ".".join(key.split(".")[:2]) if key.startswith(("pyramid.", "head.")) else key.split(".")[0]


class Names:
    """The names of a network's modules in a layout, and the parts of the network that a checkpoint's keys belong to.

    Attributes:
        layout: its name.
        hits: how many modules of the network the checkpoint has under these names.
    """

    def __init__(
        self, layout: Layout, plan: NetworkPlan, whole: NetworkPlan, ours: Collection[str], modules: Collection[str]
    ) -> None:
        self.layout = layout.name
        self._layout = layout
        self._plan, self._whole = plan, whole
        self._modules = {path: [path] for path in ours} if layout is OURS else self._named(weighted_layers(plan))
        self._normal = {module: layout.normal(module) for module in modules}
        present = set(self._normal.values())
        self.hits = sum(name in present for names in self._modules.values() for name in names)

    def sources(self, theirs: Sequence[str], ours: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return for each key of ours the keys of the checkpoint that supply it, in order; none if one is missing."""
        order = {key: index for index, key in enumerate(theirs)}
        given = {self._normal_key(key): key for key in theirs}
        found: dict[str, tuple[str, ...]] = {}
        for key in ours:
            module, _, leaf = key.rpartition(".")
            names = [f"{name}.{leaf}" for name in self._modules.get(module, ())]
            if len(names) == 1 and names[0] in given:
                found[key] = (given[names[0]],)
            elif names and all(name in given for name in names):
                found[key] = tuple(sorted((given[name] for name in names), key=order.__getitem__))
        return found

    def expected(self, key: str) -> str:
        """Return the checkpoint's name for a key of ours; our own name where the layout has no such layer."""
        module, _, leaf = key.rpartition(".")
        names = self._modules.get(module, ())
        return f"{names[0]}.{leaf}" if len(names) == 1 else key

    def part(self, key: str) -> str | None:
        """Return the part that a key of the checkpoint belongs to, in any network; None where it is unknown."""
        normal = self._normal_key(key)
        if self._layout is OURS and normal.startswith(("pyramid.", "head.")):
            return part_of(normal)
        if self._layout.others and re.match(self._layout.others, key):
            return OTHER
        for part, pattern in self._patterns.items():
            if pattern.fullmatch(normal):
                return part
        if branch := self._layout.branch_of(normal.rpartition(".")[0]):
            return f"head.{branch}"
        return SPARE if normal.rpartition(".")[0] in self._spare else None

    def belongs_to_absent_level(self, part: str) -> bool:
        """Return whether leftover tensors of a part must belong to levels that the network lacks.

        Extra levels are numbered from the first on. Indices counted from the top match only if both have the same top.
        """
        if part == "pyramid.extra" or (self._layout is OURS and part.startswith("pyramid.")):
            return True
        pyramid = self._plan.pyramid
        same_top = pyramid is not None and pyramid.levels[-1].stage == len(self._whole.backbone.stages) - 1
        return self._layout.from_top and same_top and part in ("pyramid.lateral", "pyramid.smooth")

    def _normal_key(self, key: str) -> str:
        module, dot, leaf = key.rpartition(".")
        return f"{self._normal[module]}{dot}{leaf}"

    def _named(self, layers: Iterable[WeightedLayer]) -> dict[str, list[str]]:
        modules: dict[str, list[str]] = defaultdict(list)
        for layer in layers:
            name = self._layout.name_of(layer.role, layer.path, layer.variables)
            if name and name not in modules[layer.path]:
                modules[layer.path].append(name)
        if not self._layout.shares:  # what has several names here is several layers there
            return {path: names for path, names in modules.items() if len(names) == 1}
        return modules

    @cached_property
    def _spare(self) -> set[str]:
        """Return the modules of stages that no level of the network needs."""
        if len(self._whole.backbone.stages) == len(self._plan.backbone.stages):
            return set()
        whole = self._named(weighted_layers(self._whole))
        return {name for path, names in whole.items() if path not in self._modules for name in names}

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        """Return a pattern of keys for each part besides the backbone, for any levels and classes."""
        variables, patterns = head_variables(self._whole.backbone), {}
        for part, roles in PARTS.items():
            templates = [self._layout.pattern(role, part, variables) for role in roles]
            patterns[part] = re.compile(
                rf"(?:{'|'.join(template for template in templates if template) or '(?!)'})\.\w+"
            )
        return patterns


COUNTER = "num_batches_tracked"
"""The counter of batch norm, which inference does not need and older checkpoints lack."""

BACKBONE = ("stem", "stages")

WITHOUT_HEAD = "; try `weights_partial` head to load all else"
"""The end of a message about a checkpoint that fits but for the network's head."""


@dataclass(frozen=True)
class Match:
    """How a checkpoint fits a network.

    Attributes:
        layout: whose names it uses.
        sources: for each of our keys the keys of the checkpoint that stand for it, in its order; several where a layer
            is shared, of which the last counts.
        ignored: its keys that the network has no use for.
        missing: our keys that it lacks.
        skipped: our keys of layers that it has in another form, and that are not loaded.
    """

    layout: str
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def without_layers(self, keys: Iterable[str]) -> Self:
        """Return the match with the layers of some keys skipped, each as a whole: none is loaded in part."""
        layers = {key.rpartition(".")[0] for key in keys}
        left = tuple(key for key in self.sources if key.rpartition(".")[0] in layers)
        sources = {key: one for key, one in self.sources.items() if key not in left}
        return replace(self, sources=sources, skipped=(*self.skipped, *left))


def is_within(key: str, part: str | None) -> bool:
    """Return whether a key, or a part, is a part or lies within it; none does where the part is None."""
    return part is not None and f"{key}.".startswith(f"{part}.")


def match(
    name: str,
    theirs: Iterable[str],
    ours: Iterable[str],
    plan: NetworkPlan,
    whole: NetworkPlan,
    partial: str | None = None,
) -> Match:
    """Find the layout of a checkpoint, and the key of the network that each of its tensors belongs to.

    A part besides the backbone, such as the laterals, must be complete or absent. Leftover tensors of a part that is
    used are an error, unless their names tell their levels: layouts that count from the finest level could otherwise
    load tensors into the wrong level.

    Args:
        name: of the file, for messages.
        theirs: the checkpoint's keys.
        ours: the keys of the network's state dict.
        plan: the network's plan.
        whole: the plan with every stage of the settings, also those that no level of this network needs.
        partial: the part of the network that may lack keys, and for which the checkpoint may have others.

    Raises:
        UsageError: where it is no checkpoint of this network, naming the first keys that are missing or too many.
    """
    theirs, ours = list(theirs), list(ours)
    if partial is not None and not any(is_within(key, partial) for key in ours):
        parts = ", ".join(dict.fromkeys(key.partition(".")[0] for key in ours))
        rule = f"must be a part of the network, which has {parts}, or a path in one"
        raise UsageError(Problem("`weights_partial`", rule, f"'{partial}'"))
    names = _recognise(theirs, ours, plan, whole)
    sources = names.sources(theirs, ours)
    if not sources:
        raise UsageError(
            Problem(name, f"must be a checkpoint of this network, but none of its keys is known: {few(theirs)}")
        )
    used = {key for keys in sources.values() for key in keys}
    rest = {key: names.part(key) for key in theirs if key not in used}
    missing = [key for key in ours if key not in sources and not key.endswith(COUNTER)]
    given = {part_of(key) for key in sources} | {part for part in rest.values() if part} | set(BACKBONE)
    lacking = [key for key in missing if part_of(key) in given and not is_within(key, partial)]
    needed = {part_of(key) for key in ours}
    too_many = [
        key
        for key, part in rest.items()
        if part is None or (part in needed and not is_within(part, partial) and not names.belongs_to_absent_level(part))
    ]
    if lacking or too_many:
        has = f"it has {len(sources)} of its {len(ours)} names, in {names.layout} layout"
        in_head = all(is_within(key, "head") for key in (*lacking, *(rest[key] or "" for key in too_many)))
        hint = WITHOUT_HEAD if in_head else ""
        raise UsageError(Problem(name, _refusal(has, [names.expected(key) for key in lacking], too_many), hint=hint))
    found = Match(names.layout, sources, tuple(rest), tuple(missing))
    return found.without_layers([key for key in missing if is_within(key, partial)])


def _refusal(found: str, lacking: Sequence[str], too_many: Sequence[str]) -> str:
    """Return the rule that a checkpoint breaks, with the keys that it lacks and those that fit nowhere."""
    lacks = [f"it lacks {few(lacking)}"] if lacking else []
    has = [f"the network has no place for {few(too_many)}"] if too_many else []
    return f"must be a checkpoint of this network ({found}), but {', and '.join(lacks + has)}"


def _recognise(theirs: Sequence[str], ours: Sequence[str], plan: NetworkPlan, whole: NetworkPlan) -> Names:
    """Return the names in the layout that most of the checkpoint's modules have."""
    modules = {key.rpartition(".")[0] for key in theirs}
    paths = dict.fromkeys(key.rpartition(".")[0] for key in ours)
    layouts = [OURS, *(layout for layout in LAYOUTS if layout.has_stem(modules))]
    matches = [Names(layout, plan, whole, paths, modules) for layout in layouts]
    return max(matches, key=lambda names: names.hits)
