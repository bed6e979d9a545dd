"""Where settings come from: presets, files, options. Later beats earlier, and all end as one `NetworkSettings`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.backbones import MOBILENET_V2, RESNET_STEM_CHANNELS, read_stage
from mnfpn_cli.settings.network import NetworkSettings, kind_of
from mnfpn_cli.settings.problems import PARTS, USUAL_KINDS, KeyPath, SettingsProblem, describe

USUAL_STEMS = {
    "mobilenet_v2": NetworkSettings.model_fields["stem_channels"].default,
    "resnet": RESNET_STEM_CHANNELS,
}
"""The channels that each backbone's stem has where none are said."""


@dataclass(frozen=True)
class Source:
    """A value, where in the settings it belongs, and the name that an error about it should carry.

    A preset or a file has the empty path and a mapping, which is merged; an option has a path and replaces what
    is there.
    """

    name: str
    value: Any
    path: KeyPath = ()

    def gave(self, where: KeyPath) -> bool:
        """Whether this source gave the value at ``where``, or a part of the settings that holds it."""
        depth = min(len(self.path), len(where))
        if self.path[:depth] != where[:depth]:
            return False
        rest: Any = self.value
        for key in where[depth:]:
            if not isinstance(rest, Mapping):
                return True
            if key not in rest:
                return False
            rest = rest[key]
        return True


def merge(sources: Sequence[Source]) -> NetworkSettings:
    """The settings that the sources give together, on top of the defaults; each value checked by itself.

    Raises:
        UsageError: where a value breaks a rule, naming the source that gave it.
    """
    try:
        return NetworkSettings.model_validate(_merged(sources))
    except ValidationError as error:
        raise UsageError(*(with_source(problem, sources) for problem in describe(error))) from None


def value_problems(source: Source) -> list[Problem]:
    """What is wrong with a value of a source whatever the other sources say; rules between keys are not asked."""
    part, key = (*source.path, "", "")[:2]
    kinds = [kind for kind, model in PARTS.get(str(part), {}).items() if key in model.model_fields and key != "kind"]
    sources = [*(Source("", kind, (part, "kind")) for kind in kinds[:1]), source]
    try:
        NetworkSettings.model_validate(_merged(sources))
    except ValidationError as error:
        return [with_source(problem, sources) for problem in describe(error) if not problem.between]
    except UsageError:  # an index, which is one of the stages that another source gives
        pass
    return []


def _merged(sources: Sequence[Source]) -> Any:
    """The values of some sources in one tree, not checked yet.

    Raises:
        UsageError: where a place of a source is none.
    """
    merged: Any = {}
    for index, source in enumerate(sources):
        if source.path[:1] == ("stages",) and len(source.path) > 1 and not merged.get("stages"):
            merged["stages"] = [stage.model_dump() for stage in MOBILENET_V2]
        value = source.value
        if not source.path:
            for part in PARTS:
                was = _last_kind(sources[: index + 1], part) or USUAL_KINDS[part]
                value = _without_other_kinds(value, part, was, _last_kind(sources[index + 1 :], part))
        merged = _put(merged, source, source.path, value)
        merged["stages"] = _with_field_names(merged.get("stages"))
    return merged


def check_once(sources: Sequence[Source]) -> None:
    """Make sure that no option is lost because another, which comes after it, gives the same key.

    An option that comes after one it is a part of refines it: ``stages``, then ``stages.2.stride=1`` of ``set``.

    Raises:
        UsageError: naming both options.
    """
    for index, later in enumerate(sources):
        for earlier in sources[:index]:
            both = earlier.path and later.path
            if both and len(later.path) <= len(earlier.path) and later.gave(earlier.path):
                names = earlier.name if earlier.name == later.name else f"{earlier.name}, {later.name}"
                got = f"{_typed(earlier.value)} and {_typed(later.value)}"
                raise UsageError(Problem(names, "must give a key once", got))


def _typed(value: Any) -> str:
    """A value as it was typed, most likely: ``2``, where an option of any number made 2.0 of it."""
    return json.dumps(value).removesuffix(".0" if isinstance(value, float) else "")


def _last_kind(sources: Sequence[Source], part: str) -> Any:
    """The kind of a part that the last of the sources to say one says; None where none does."""
    for source in reversed(sources):
        if source.path == (part, "kind"):
            return source.value
        if source.path == (part,) or not source.path:
            kind = kind_of({part: source.value} if source.path else source.value, part)
            if kind is not None:
                return kind
    return None


def _without_other_kinds(value: Any, part: str, was: Any, wanted: Any) -> Any:
    """What a preset or a file says, less what it says only of a kind of backbone or head that a later source replaces.

    So that ``backbone.kind=resnet`` can be said of any preset: a table of inverted residuals was not meant for it.
    Only a kind that is said later drops anything. What is said after it, or beside it, or with an option, stays: it is
    merged, or refused by validation.

    Both backbones have a stem, and their usual widths differ. ``stem_channels`` goes with the backbone where it is the
    usual width of the one that is replaced, as presets and `settings show` have it; any other was chosen, and stays.

    Args:
        value: the preset or the file.
        part: ``backbone`` or ``head``.
        was: the part's kind as the sources up to this one have it.
        wanted: the kind that the later ones say; None where they say none.
    """
    if not isinstance(value, Mapping) or not isinstance(wanted, str) or wanted == was or wanted not in PARTS[part]:
        return value
    kept, known = dict(value), PARTS[part][wanted].model_fields
    if isinstance(kept.get(part), Mapping):
        kept[part] = {key: item for key, item in kept[part].items() if key in known}
    if part == "backbone":
        if wanted != "mobilenet_v2":
            kept.pop("stages", None)
        if kept.get("stem_channels") == USUAL_STEMS.get(str(was)):
            kept.pop("stem_channels", None)
    elif (wanted == "classifier") != (kept.get("pyramid", 0) is None):  # a classifier has none, the others have one
        kept.pop("pyramid", None)
    return kept


def with_source(problem: SettingsProblem, sources: Sequence[Source]) -> SettingsProblem:
    """A problem with the name of the source that gave the value."""
    source = next((one for one in reversed(sources) if one.gave(problem.path)), None)
    if source is None:
        return problem
    # An option that is the very place needs no place beside its name.
    return replace(problem, where=source.name) if source.path == problem.path else problem.within(source.name)


def _put(tree: Any, source: Source, path: KeyPath, value: Any) -> Any:
    """A copy of ``tree`` with ``value`` at ``path``; mappings are merged, everything else is replaced."""
    if not path:
        if isinstance(tree, Mapping) and isinstance(value, Mapping):
            return {**tree, **{k: _put(tree.get(k), source, (), v) for k, v in value.items()}}
        return value
    key, rest = path[0], path[1:]
    if isinstance(tree, list):
        if not isinstance(key, int) or key >= len(tree):
            rule = f"must be 0 to {len(tree) - 1}" if tree else "must point into a list that is not empty"
            raise UsageError(Problem(source.name, f"the index {rule}", f"'{key}'"))
        return [_put(item, source, rest, value) if i == key else item for i, item in enumerate(tree)]
    if not isinstance(tree, Mapping):
        raise UsageError(Problem(source.name, f"'{key}' is below a value that has no keys"))
    return {**tree, key: _put(tree.get(key, {} if rest else None), source, rest, value)}


def _with_field_names(stages: Any) -> Any:
    """Stages under our field names, so that ``stages.3.channels=48`` finds them in a file of rows."""
    if not isinstance(stages, list):
        return stages
    return [_read_if_possible(stage) for stage in stages]


def _read_if_possible(stage: Any) -> Any:
    try:
        return read_stage(stage)
    except PydanticCustomError:
        return stage  # validation says what is wrong with it, and where
