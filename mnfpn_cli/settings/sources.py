"""Merge settings from presets, files and options into one `NetworkSettings`. Later sources win."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.backbones import MOBILENET_V2, RESNET_STEM_CHANNELS, read_stage
from mnfpn_cli.settings.network import NetworkSettings, kind_of
from mnfpn_cli.settings.problems import DEFAULT_KINDS, PARTS, KeyPath, SettingsProblem, describe

DEFAULT_STEM_CHANNELS = {
    "mobilenet_v2": NetworkSettings.model_fields["stem_channels"].default,
    "resnet": RESNET_STEM_CHANNELS,
}
"""The default channels of the stem, for each kind of backbone."""


@dataclass(frozen=True)
class Source:
    """A value from a preset, a file or an option, with its path in the settings.

    Attributes:
        name: of the source, for messages.
        value: a mapping, which is merged with the mapping at the path; anything else replaces what is there.
        path: of the value; empty for a preset or a file, which gives settings as a whole.
    """

    name: str
    value: Any
    path: KeyPath = ()

    def gives(self, path: KeyPath) -> bool:
        """Return whether this source gives the value at a path, or a value that holds it."""
        depth = min(len(self.path), len(path))
        if self.path[:depth] != path[:depth]:
            return False
        value: Any = self.value
        for key in path[depth:]:
            if not isinstance(value, Mapping):
                return True
            if key not in value:
                return False
            value = value[key]
        return True


def merge_sources(sources: Sequence[Source]) -> NetworkSettings:
    """Merge sources on top of the defaults, and check each value alone. Rules between settings are checked in `plan`.

    Raises:
        UsageError: where a value breaks a rule; it names the source of the value.
    """
    try:
        return NetworkSettings.model_validate(_merged(sources))
    except ValidationError as error:
        raise UsageError(*(with_source(problem, sources) for problem in describe(error))) from None


def value_problems(source: Source) -> list[Problem]:
    """Return what is wrong with the value of a source whatever other sources give; rules between keys are left out.

    A value at a key that several kinds of a part have is wrong where it is with each of them.
    """
    part, key = (*source.path, "", "")[:2]
    kinds = [kind for kind, model in PARTS.get(str(part), {}).items() if key in model.model_fields and key != "kind"]
    found = [_problems([Source("", kind, (part, "kind")), source]) for kind in kinds] or [_problems([source])]
    with_key = [problems for problems in found if not any(problem.between for problem in problems)]
    fewest = min(with_key or found, key=len)
    return [with_source(problem, [source]) for problem in fewest if not problem.between]


def _problems(sources: Sequence[Source]) -> list[SettingsProblem]:
    try:
        NetworkSettings.model_validate(_merged(sources))
    except ValidationError as error:
        return describe(error)
    except UsageError:  # an index into stages that another source gives
        pass
    return []


def _merged(sources: Sequence[Source]) -> Any:
    """Merge sources into one tree of values, which are not checked.

    Raises:
        UsageError: where a source has a path that cannot exist.
    """
    merged: Any = {}
    for index, source in enumerate(sources):
        if source.path[:1] == ("stages",) and len(source.path) > 1 and not merged.get("stages"):
            merged["stages"] = [stage.model_dump() for stage in MOBILENET_V2]
        value = source.value
        if not source.path:
            for part in PARTS:
                kind = _last_kind(sources[: index + 1], part) or DEFAULT_KINDS[part]
                value = _without_replaced_kind(value, part, kind, _last_kind(sources[index + 1 :], part))
        merged = _put(merged, source, source.path, value)
        if isinstance(stages := merged.get("stages"), list):  # for stages.3.channels=48 after a file of rows
            merged["stages"] = [_with_field_names(stage) for stage in stages]
    return merged


def check_once(sources: Sequence[Source]) -> None:
    """Check that no option is overwritten by a later one.

    An option may refine a part of an earlier one: ``stages``, then ``stages.2.stride=1`` of ``set``.

    Raises:
        UsageError: naming both options.
    """
    for index, later in enumerate(sources):
        for earlier in sources[:index]:
            both = earlier.path and later.path
            if both and len(later.path) <= len(earlier.path) and later.gives(earlier.path):
                names = earlier.name if earlier.name == later.name else f"{earlier.name}, {later.name}"
                got = f"{_as_typed(earlier.value)} and {_as_typed(later.value)}"
                raise UsageError(Problem(names, "must give a key once", got))


def _as_typed(value: Any) -> str:
    """Return a value as the user most likely typed it: ``2`` for 2.0."""
    return json.dumps(value).removesuffix(".0" if isinstance(value, float) else "")


def _last_kind(sources: Sequence[Source], part: str) -> Any:
    """Return the kind of a part in the last source that gives one; None where none does."""
    for source in reversed(sources):
        if source.path == (part, "kind"):
            return source.value
        if source.path == (part,) or not source.path:
            kind = kind_of({part: source.value} if source.path else source.value, part)
            if kind is not None:
                return kind
    return None


def _without_replaced_kind(value: Any, part: str, kind: Any, later_kind: Any) -> Any:
    """Drop from a preset or a file the keys that only a kind of backbone or head has which a later source replaces.

    So ``backbone.kind=resnet`` can follow any preset: the preset's table of inverted residuals is not for a ResNet.
    Anchors go with their head, as do the thresholds of another detector.

    Keys in the source that gives the new kind, in later ones, and in options stay: they are merged, or refused by
    validation.

    Both backbones have a stem, with different default channels. ``stem_channels`` is dropped where it is the default
    of the replaced backbone, as presets and `settings show` have it; any other value was chosen, and stays.

    Args:
        value: the preset or the file.
        part: ``backbone`` or ``head``.
        kind: of the part in the sources up to this one.
        later_kind: of the part in later sources; None where they give none.
    """
    if not isinstance(value, Mapping) or not isinstance(later_kind, str):
        return value
    if later_kind == kind or later_kind not in PARTS[part]:
        return value
    rest, fields = dict(value), PARTS[part][later_kind].model_fields
    if isinstance(rest.get(part), Mapping):
        rest[part] = {key: item for key, item in rest[part].items() if key in fields and key != "anchors"}
    if part == "backbone":
        if later_kind != "mobilenet_v2":
            rest.pop("stages", None)
        if rest.get("stem_channels") == DEFAULT_STEM_CHANNELS.get(str(kind)):
            rest.pop("stem_channels", None)
        return rest
    for key in ("preprocess", "postprocess"):  # each detector has defaults of its own
        rest.pop(key, None)
    if (later_kind == "classifier") != (rest.get("pyramid", 0) is None):  # only a classifier has no pyramid
        rest.pop("pyramid", None)
    return rest


def with_source(problem: SettingsProblem, sources: Sequence[Source]) -> SettingsProblem:
    """Add the name of the source that gave the wrong value to a problem."""
    source = next((source for source in reversed(sources) if source.gives(problem.path)), None)
    if source is None:
        return problem
    # The name of an option for a single key says the key already.
    return replace(problem, where=source.name) if source.path == problem.path else problem.within(source.name)


def _put(tree: Any, source: Source, path: KeyPath, value: Any) -> Any:
    """Return a copy of ``tree`` with ``value`` at ``path``; mappings are merged, everything else is replaced."""
    if not path:
        if isinstance(tree, Mapping) and isinstance(value, Mapping):
            return {**tree, **{key: _put(tree.get(key), source, (), item) for key, item in value.items()}}
        return value
    key, rest = path[0], path[1:]
    if isinstance(tree, list):
        if not isinstance(key, int) or key >= len(tree):
            rule = f"must be 0 to {len(tree) - 1}" if tree else "must point into a list that is not empty"
            raise UsageError(Problem(source.name, f"the index {rule}", f"'{key}'"))
        return [_put(item, source, rest, value) if index == key else item for index, item in enumerate(tree)]
    if not isinstance(tree, Mapping):
        raise UsageError(Problem(source.name, f"'{key}' is below a value that has no keys"))
    return {**tree, key: _put(tree.get(key, {} if rest else None), source, rest, value)}


def _with_field_names(stage: Any) -> Any:
    try:
        return read_stage(stage)
    except PydanticCustomError:
        return stage  # validation reports it, with its path
