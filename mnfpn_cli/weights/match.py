"""Which tensor of a checkpoint belongs where in a network; or that it is a checkpoint of another one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.weights.layouts import LAYOUTS, OURS
from mnfpn_cli.weights.names import Names, part_of

COUNTER = "num_batches_tracked"
"""What batch norm counts and never needs; older checkpoints have none."""

BACKBONE = ("stem", "stages")


@dataclass(frozen=True)
class Match:
    """How a checkpoint fits a network.

    Attributes:
        layout: whose names it uses.
        sources: for each of our keys the keys of the checkpoint that stand for it, in its order; several where a layer
            is shared, of which the last counts.
        ignored: its keys that the network has no use for.
        missing: our keys that it says nothing of.
    """

    layout: str
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def match(name: str, theirs: Iterable[str], ours: Iterable[str], plan: NetworkPlan, whole: NetworkPlan) -> Match:
    """Find the layout of a checkpoint, and what of it goes where.

    A part beside the backbone, such as the laterals, is there as a whole, or missing as a whole. What is left over of a
    part that is used is an error, unless its names say which levels it is for: layouts that count from the finest
    level would else put one level's tensors on another.

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
    names = _recognise(theirs, ours, plan, whole)
    sources = names.sources(theirs, ours)
    if not sources:
        raise UsageError(f"{name}: must be a checkpoint of this network, but none of its keys is known: {_few(theirs)}")
    used = {key for keys in sources.values() for key in keys}
    rest = {key: names.part(key) for key in theirs if key not in used}
    missing = [key for key in ours if key not in sources and not key.endswith(COUNTER)]
    given = {part_of(key) for key in sources} | {part for part in rest.values() if part} | set(BACKBONE)
    lacking = [names.expected(key) for key in missing if part_of(key) in given]
    needed = {part_of(key) for key in ours}
    too_many = [key for key, part in rest.items() if part is None or (part in needed and not names.says_level(part))]
    if lacking or too_many:
        lacks = [f"it lacks {_few(lacking)}"] if lacking else []
        has = [f"the network has no place for {_few(too_many)}"] if too_many else []
        raise UsageError(
            f"{name}: must be a checkpoint of this network (it has {len(sources)} of its {len(ours)} names, in "
            f"{names.layout} layout), but {', and '.join(lacks + has)}"
        )
    return Match(names.layout, sources, tuple(rest), tuple(missing))


def _recognise(theirs: Sequence[str], ours: Sequence[str], plan: NetworkPlan, whole: NetworkPlan) -> Names:
    """The names of the layout that most of the checkpoint's modules go by."""
    modules = {key.rpartition(".")[0] for key in theirs}
    paths = dict.fromkeys(key.rpartition(".")[0] for key in ours)
    layouts = [OURS, *(layout for layout in LAYOUTS if layout.has_stem(modules))]
    candidates = [Names(layout, plan, whole, paths, modules) for layout in layouts]
    return max(candidates, key=lambda names: names.hits)


def _few(keys: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(keys[:most])
    return f"{shown} and {len(keys) - most} more" if len(keys) > most else shown
