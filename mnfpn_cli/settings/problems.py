"""What is wrong with settings, in words: where, the rule, and the value; and the keys that there are."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.backbones import ORIGINAL_SPELLING, MobileNetV2Settings, ResNetSettings, StageSettings
from mnfpn_cli.settings.network import (
    LEVEL,
    ClassifierHead,
    LevelClassifiersHead,
    NetworkSettings,
    NoHead,
    PyramidSettings,
)
from mnfpn_cli.text import did_you_mean

PARTS: dict[str, dict[str, type[BaseModel]]] = {
    "backbone": {"mobilenet_v2": MobileNetV2Settings, "resnet": ResNetSettings},
    "head": {"none": NoHead, "classifier": ClassifierHead, "level_classifiers": LevelClassifiersHead},
}
"""The parts of a network that are of several kinds, and the settings of each kind."""

USUAL_KINDS = {part: next(iter(kinds)) for part, kinds in PARTS.items()}
"""The kind of each part where none is said."""

MODELS: dict[str, tuple[type[BaseModel], ...]] = {
    "": (NetworkSettings,),
    "stages[]": (StageSettings,),
    "pyramid": (PyramidSettings,),
    **{part: tuple(kinds.values()) for part, kinds in PARTS.items()},
}
"""The settings that each place holds."""

KEYS = {
    place: [*dict.fromkeys(key for model in models for key in model.model_fields)] for place, models in MODELS.items()
}
KEYS["stages[]"] += ORIGINAL_SPELLING
"""The keys of each place."""


def all_keys() -> Iterator[str]:
    """Every key, dotted: ``pyramid.smooth``."""
    for place, names in KEYS.items():
        yield from (f"{place}.{name}".removeprefix(".") for name in names)


def allowed_words(key: str) -> list[str]:
    """The words that a dotted key takes, each once; nothing where it takes numbers or any text."""
    place, _, name = key.rpartition(".")
    fields = [model.model_fields[name] for model in MODELS.get(place, ()) if name in model.model_fields]
    return list(dict.fromkeys(word for field in fields for word in _words(field.annotation)))


def _words(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from (str(one) for one in get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _words(one)


KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class SettingsProblem(Problem):
    """A problem of a key, which is its place.

    Args:
        path: of the key, for whoever knows which source gave its value.
        between: whether the rule is one between keys, so that another value of another key could mend it.
    """

    path: KeyPath = ()
    between: bool = False


class SettingsError(UsageError):
    """Several settings break a rule together."""

    def __init__(self, where: str, rule: str, got: object) -> None:
        self.problem = SettingsProblem(where, rule, str(got), path=tuple(where.split(".")), between=True)
        super().__init__(self.problem)


def describe(error: ValidationError, above: KeyPath = ()) -> list[SettingsProblem]:
    """Put what pydantic found wrong with settings, or with a document, in our words; one problem a place.

    ``above``: the place of what was read, where it is a part of something.
    """
    alone = error.title == NetworkSettings.__name__  # settings in a document are under ``settings``
    problems: dict[KeyPath, SettingsProblem] = {}
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # pydantic counts only the items that are valid; those that are not have their own problems
        problem = _settings_problem(details) if alone else _document_problem(details)
        problems.setdefault(problem.path, problem)
    return [_under(above, problem) for problem in problems.values()]


def _under(above: KeyPath, problem: SettingsProblem) -> SettingsProblem:
    path = (*above, *problem.path)
    return replace(problem, where=dotted(path), path=path)


def dotted(where: Sequence[str | int]) -> str:
    """A place in the settings as people write it: ``stages[3].stride``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{_key(key)}" for key in where).removeprefix(".")


def _key(key: str) -> str:
    """A key as it is, or quoted where it would be misread."""
    return key if re.fullmatch(r"[\w$-]+", key) else json.dumps(key)


def check_key(name: str, path: Sequence[str | int], others: Collection[str] = ()) -> None:
    """Make sure that settings have such a key; ``others`` may be meant too.

    Raises:
        UsageError: naming the nearest key that there is.
    """
    place = dotted(path)
    here, _, key = re.sub(r"\[\d+\]", "[]", place).rpartition(".")
    if key in KEYS.get(here, ()) or key in KEYS:
        return
    raise UsageError(Problem(name, "unknown key", hint=did_you_mean(place, others) or _nearest(tuple(path))))


def _at(path: KeyPath, rule: str, got: str | None = None, hint: str = "", between: bool = False) -> SettingsProblem:
    return SettingsProblem(dotted(path), rule, got, hint, path, between)


def _document_problem(details: ErrorDetails) -> SettingsProblem:
    where = details["loc"]
    if "settings" not in where:
        return _at(where, "unknown key") if details["type"] == "extra_forbidden" else _broken_rule(details, where)
    above = where[: where.index("settings") + 1]
    return _under(above, _settings_problem({**details, "loc": where[len(above) :]}))


def _settings_problem(details: ErrorDetails) -> SettingsProblem:
    where, kind = details["loc"], ""
    if len(where) > 1 and where[0] in PARTS:  # pydantic puts the kind into the place
        kind, where = str(where[1]), (where[0], *where[2:])
    if where[:2] == ("pyramid", "levels"):  # a union, to which pydantic adds its branches; a user knows none
        got = details["input"]
        rule = "must be 'all', a range as p3-p5, or a list of levels"
        return _at(where[:2], rule, _shown(got), _near_levels(got))
    if details["type"] == "extra_forbidden":
        other = _other_kind(where, kind)
        return _at(where, other, between=True) if other else _at(where, "unknown key", hint=_nearest(where))
    if details["type"] == "union_tag_invalid":
        kinds, got = PARTS[str(where[0])], details["input"]["kind"]
        rule = f"must be {' or '.join(map(repr, kinds))}"
        return _at((*where, "kind"), rule, _shown(got), did_you_mean(str(got), kinds))
    if details["type"] == "model_type" and where[:1] == ("stages",):
        return _at(where, "must be an object or a row of four numbers", _shown(details["input"]))
    return _broken_rule(details, where)


def _broken_rule(details: ErrorDetails, where: KeyPath) -> SettingsProblem:
    """A rule that a value breaks by itself, whatever it is a value of."""
    context = details.get("ctx", {})
    if details["type"] == "missing":
        return _at(where, "is required")
    words = re.findall(r"'([^']*)'", context["expected"]) if details["type"] == "literal_error" else ()
    rule = _rule(details["type"], context, details["msg"])
    return _at(where, rule, _shown(details["input"]), did_you_mean(str(details["input"]), words))


def _other_kind(where: tuple[str | int, ...], kind: str) -> str:
    """That a key is known, but of another kind of backbone or head."""
    part, key = str(where[0]), where[-1]
    owners = [name for name, model in PARTS.get(part, {}).items() if key in model.model_fields]
    return f"is a key of {part}.kind {' and '.join(map(repr, owners))}, not of {kind!r}" if owners else ""


def _rule(kind: str, context: dict[str, Any], otherwise: str) -> str:
    match kind:
        case "literal_error":
            return f"must be {context['expected']}"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "string_type" | "string_unicode":
            return "must be text"
        case "less_than":
            return f"must be less than {context['lt']:g}"
        case "model_attributes_type" | "dict_type" | "model_type" | "dict_attributes_type":
            return "must be an object"
        case "int_type" | "int_from_float" | "int_parsing":
            return "must be a whole number"
        case "int_parsing_size":
            return "must be a whole number of 64 bits"
        case "float_type" | "float_parsing":
            return "must be a number"
        case "finite_number":
            return "must be a finite number"
        case "greater_than":
            return f"must be greater than {context['gt']:g}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "too_short":
            return f"must have at least {context['min_length']} item{'s' * (context['min_length'] > 1)}"
        case "too_long":
            return f"must have at most {context['max_length']} items"
        case "tuple_type" | "list_type":
            return "must be a list"
        case _:
            return otherwise[:1].lower() + otherwise[1:]


def _near_levels(got: Any) -> str:
    """Name the level, or the word, that is nearest to the first of some levels that is none."""
    names = [str(one) for one in (got if isinstance(got, list) else [got])]
    wrong = next((name for name in names if not re.fullmatch(LEVEL, name)), "")
    return did_you_mean(wrong, ("all", *(f"p{k}" for k in range(1, 10))))


def _shown(value: Any) -> str:
    """A value as JSON would show it, cut where it is long."""
    if isinstance(value, str):
        text = f"'{value}'" if len(value) < 60 else f"'{value[:57]}…'"
        return text if text.isprintable() else repr(value)[:60]
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _nearest(where: tuple[str | int, ...]) -> str:
    """Name the known key that is nearest to an unknown one, first close by, then anywhere."""
    misspelt = str(where[-1])
    here = re.sub(r"\[\d+\]", "[]", dotted(where[:-1]))
    anywhere = {name: key for key in all_keys() for name in (key, key.rpartition(".")[2])}
    beside = {key: dotted((*where[:-1], key)) for key in KEYS.get(here, ())}
    return did_you_mean(misspelt, beside, beside, 0.8) or did_you_mean(misspelt, anywhere, anywhere)
