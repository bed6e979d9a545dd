"""Which tensor of a checkpoint belongs where in a network; or that it is a checkpoint of another one."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.weights.layouts import LAYOUTS, OURS, Layout
from mnfpn_cli.weights.places import BESIDE_THE_BACKBONE, HEAD_ROLES, Place, head_facts, places

COUNTER = "num_batches_tracked"
"""What batch norm counts and never needs; older checkpoints have none."""


@dataclass(frozen=True)
class Match:
    """How a checkpoint fits a network.

    Attributes:
        layout: whose names it uses.
        sources: for each of our keys the keys of the checkpoint that stand for it, in its order; several where a layer
            is shared, of which the last counts, as in torch.
        ignored: its keys that the network has no use for.
        missing: our keys that it says nothing of.
        expected: what the layout calls each of our keys.
    """

    layout: str
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict)


def match(name: str, theirs: Iterable[str], ours: Iterable[str], plan: NetworkPlan, whole: NetworkPlan) -> Match:
    """Find the layout of a checkpoint, and what of it goes where.

    Args:
        name: of the file, for messages.
        theirs: the checkpoint's keys.
        ours: the keys of the network's state dict.
        plan: the network's plan.
        whole: the plan with every stage of the settings, also those that no level of this network needs.

    Raises:
        UsageError: where it is no checkpoint of this network, naming the first keys that are missing or too many.
    """
    theirs, ours = list(theirs), list(ours)
    layers, spare = list(places(plan)), list(places(whole))
    named = [_Names(layout, layers, theirs) for layout in LAYOUTS]
    chosen = max(named, key=lambda names: names.hits)
    if len(set(theirs) & set(ours)) >= chosen.hits:
        best = _ours(theirs, ours, {place.path for place in spare} - {place.path for place in layers})
    else:
        best = chosen.match(theirs, ours, spare, head_facts(whole.backbone))
    if not best.sources:
        raise UsageError(f"{name}: must be a checkpoint of this network, but no key of its is known: {_few(theirs)}")
    fit = f"{len(best.sources)} of {len(ours)} tensors fit, in {best.layout} layout"
    given = {part_of(key) for key in best.sources} | {"stem", "stages"}
    lacking = [key for key in best.missing if part_of(key) in given]
    used = {key for keys in best.sources.values() for key in keys}.union(best.ignored)
    too_many = [key for key in theirs if key not in used]
    if lacking:
        what = f"it lacks {_few([best.expected.get(key, key) for key in lacking])}"
        what += f", and has {_few(too_many)}" if too_many else ""
        raise UsageError(f"{name}: must be a checkpoint of this network ({fit}), but {what}")
    if too_many:
        what = f"the network has no place for {_few(too_many)}"
        raise UsageError(f"{name}: must be a checkpoint of this network ({fit}), but {what}")
    return best


def part_of(key: str) -> str:
    """The part of the network that a key belongs to: ``stages``, ``pyramid.lateral``, ``head.dense``.

    A checkpoint has all of a part or nothing; only parts beside the backbone may be missing.
    """
    return ".".join(key.split(".")[:2]) if key.startswith(("pyramid.", "head.")) else key.split(".")[0]


def _ours(theirs: list[str], ours: list[str], spare: set[str]) -> Match:
    known, wanted = set(theirs), set(ours)
    return Match(
        layout=OURS,
        sources={key: (key,) for key in ours if key in known},
        ignored=tuple(
            key
            for key in theirs
            if key not in wanted and (key.startswith(("pyramid.", "head.")) or key.rpartition(".")[0] in spare)
        ),
        missing=tuple(key for key in ours if key not in known and not key.endswith(COUNTER)),
    )


class _Names:
    """A layout's names for the layers of a network, against the keys of a checkpoint."""

    def __init__(self, layout: Layout, layers: Sequence[Place], theirs: Sequence[str]) -> None:
        self.layout = layout
        self.modules = self._modules(layers)
        parts = [key.rpartition(".") for key in theirs]
        self.normal = {module: layout.normal(module) for module in {module for module, _, _ in parts}}
        present = set(self.normal.values())
        self.hits = sum(name in present for names in self.modules.values() for name in names)

    def match(
        self, theirs: Sequence[str], ours: Sequence[str], spare: Sequence[Place], facts: dict[str, object]
    ) -> Match:
        """What of the checkpoint goes where, if this is its layout."""
        order = {key: index for index, key in enumerate(theirs)}
        given = {self._normal_key(key): key for key in theirs}
        sources: dict[str, tuple[str, ...]] = {}
        expected: dict[str, str] = {}
        for key in ours:
            module, _, leaf = key.rpartition(".")
            names = [f"{name}.{leaf}" for name in self.modules.get(module, ())]
            found = [given[name] for name in names if name in given]
            if found and len(found) == len(names):
                sources[key] = tuple(sorted(found, key=order.__getitem__))
            elif names:
                expected[key] = next(name for name in names if name not in given)
        used = {key for keys in sources.values() for key in keys}
        useless = {name for names in self._modules(spare).values() for name in names}
        optional = self._optional(facts)
        return Match(
            layout=self.layout.name,
            sources=sources,
            ignored=tuple(
                key
                for normal, key in given.items()
                if key not in used and (normal.rpartition(".")[0] in useless or optional.fullmatch(normal))
            ),
            missing=tuple(key for key in ours if key not in sources and not key.endswith(COUNTER)),
            expected=expected,
        )

    def _normal_key(self, key: str) -> str:
        module, dot, leaf = key.rpartition(".")
        return f"{self.normal[module]}{dot}{leaf}"

    def _modules(self, layers: Sequence[Place]) -> dict[str, list[str]]:
        """What the layout calls each module of ours."""
        names, modules = self.layout.names, defaultdict[str, list[str]](list)
        for path, role, facts in layers:
            template = names.get(role) or (names.get("lateral") if role == "top" else None)
            if template:
                modules[path].append(template.format_map(facts))
        return modules

    def _optional(self, facts: dict[str, object]) -> re.Pattern[str]:
        """The keys of the layout's pyramid and classifier, of whatever levels and classes."""
        patterns = []
        for role in BESIDE_THE_BACKBONE:
            template = self.layout.names.get(role, "")
            if role in HEAD_ROLES:
                template = template.format_map(facts)
            if template:
                patterns.append(r"\w+".join(re.escape(part) for part in re.split(r"\{\w+\}", template)))
        return re.compile(rf"(?:{'|'.join(patterns)})\.\w+")


def _few(keys: list[str], most: int = 3) -> str:
    shown = ", ".join(keys[:most])
    return f"{shown} and {len(keys) - most} more" if len(keys) > most else shown
