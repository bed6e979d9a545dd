"""Dotted keys of settings, and what pydantic finds wrong with their values, as `Problem`s in our words."""

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
from mnfpn_cli.settings.detection import (
    DETECTION_HEADS,
    AnchorSettings,
    DefaultBoxSettings,
    PostprocessSettings,
    PreprocessSettings,
)
from mnfpn_cli.settings.network import (
    LEVEL,
    ClassifierHead,
    LevelClassifiersHead,
    NetworkSettings,
    NoHead,
    PyramidSettings,
)
from mnfpn_cli.text import did_you_mean, either

KeyPath = tuple[str | int, ...]
"""The keys and indices that lead to a value: ``("stages", 3, "stride")``."""

MAX_SHOWN = 60
"""The most characters of a value in a message."""

PARTS: dict[str, dict[str, type[BaseModel]]] = {
    "backbone": {"mobilenet_v2": MobileNetV2Settings, "resnet": ResNetSettings},
    "head": {
        "none": NoHead,
        "classifier": ClassifierHead,
        "level_classifiers": LevelClassifiersHead,
        **DETECTION_HEADS,
    },
}
"""The parts of a network that have several kinds, and the settings of each kind; the default kind is the first."""

DEFAULT_KINDS = {part: next(iter(kinds)) for part, kinds in PARTS.items()}

MODELS: dict[str, tuple[type[BaseModel], ...]] = {
    "": (NetworkSettings,),
    "stages[]": (StageSettings,),
    **{part: tuple(kinds.values()) for part, kinds in PARTS.items()},
    "head.anchors": (AnchorSettings, DefaultBoxSettings),
    "preprocess": (PreprocessSettings,),
    "postprocess": (PostprocessSettings,),
    "pyramid": (PyramidSettings,),  # last: it is suggested for a key that several have
}
"""The models that can be at a path of settings; ``stages[]`` is any item of ``stages``."""

KEYS = {
    parent: [*dict.fromkeys(key for model in models for key in model.model_fields)] for parent, models in MODELS.items()
}
KEYS["stages[]"] += ORIGINAL_SPELLING
"""The keys at a path of settings."""


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as users write it: ``stages[3].stride``; a key that would be misread is in quotes."""
    keys = (key if isinstance(key, int) or re.fullmatch(r"[\w$-]+", key) else json.dumps(key) for key in path)
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def all_keys() -> Iterator[str]:
    """Yield every key, dotted: ``pyramid.smooth``."""
    for parent, names in KEYS.items():
        yield from (f"{parent}.{name}".removeprefix(".") for name in names)


def allowed_words(key: str) -> list[str]:
    """Return the words that a dotted key takes, each once; none where it takes numbers or any text."""
    parent, _, name = key.rpartition(".")
    fields = [model.model_fields[name] for model in MODELS.get(parent, ()) if name in model.model_fields]
    return list(dict.fromkeys(word for field in fields for word in _words(field.annotation)))


def _words(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _words(member)


def _without_indices(key: str) -> str:
    return re.sub(r"\[\d+\]", "[]", key)


def _nearest_key(path: KeyPath) -> str:
    """Suggest the known key most like an unknown one: of the same parent, or else of any. A dotted key is nested."""
    unknown, parent = str(path[-1]), path[:-1]
    if "." in unknown and dotted((*parent, *unknown.split("."))) in all_keys():
        return f"; nest it: {_nested(unknown)}"
    siblings = {key: dotted((*parent, key)) for key in KEYS.get(_without_indices(dotted(parent)), ())}
    anywhere = {name: key for key in all_keys() for name in (key, key.rpartition(".")[2])}
    return did_you_mean(unknown, siblings, siblings, 0.8) or did_you_mean(unknown, anywhere, anywhere)


def _nested(key: str) -> str:
    """Return a dotted key as JSON has it: ``"pyramid": {"smooth": …}``."""
    outer, *inner = key.split(".")
    return f'"{outer}": ' + "".join(f'{{"{name}": ' for name in inner) + "…" + "}" * len(inner)


def check_key(name: str, path: Sequence[str | int], others: Collection[str] = ()) -> None:
    """Check that settings have a key.

    Args:
        name: what gave the key, for the message.
        path: of the key.
        others: keys of something else than settings, to suggest as well.

    Raises:
        UsageError: where there is no such key; it suggests the nearest.
    """
    key = dotted(path)
    parent, _, last = _without_indices(key).rpartition(".")
    if last not in KEYS.get(parent, ()) and last not in KEYS:
        raise UsageError(Problem(name, "unknown key", hint=did_you_mean(key, others) or _nearest_key(tuple(path))))


@dataclass(frozen=True)
class SettingsProblem(Problem):
    """A problem of the value at a key; ``where`` is the dotted key.

    Args:
        path: of the key, to find the source that gave the value.
        between: whether the rule is one between keys, so that changing another key may satisfy it.
    """

    path: KeyPath = ()
    between: bool = False

    def below(self, parent: KeyPath) -> "SettingsProblem":
        """Return the problem with its path below ``parent``."""
        path = (*parent, *self.path)
        return replace(self, where=dotted(path), path=path)


class SettingsError(UsageError):
    """Several settings break a rule together."""

    def __init__(self, where: str, rule: str, got: object = None) -> None:
        value = None if got is None else str(got)
        self.problem = SettingsProblem(where, rule, value, path=tuple(where.split(".")), between=True)
        super().__init__(self.problem)


def describe(error: ValidationError, parent: KeyPath = ()) -> list[SettingsProblem]:
    """Turn pydantic's errors about settings, or about a document, into problems, one for each path.

    Args:
        error: of the validation.
        parent: the path of the validated value in what holds it; paths of the problems begin with it.
    """
    of_settings = error.title == NetworkSettings.__name__  # a document has settings below its key ``settings``
    problems: dict[KeyPath, SettingsProblem] = {}
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # pydantic counts valid items only; each invalid item has its own error
        problem = _settings_problem(details) if of_settings else _document_problem(details)
        problems.setdefault(problem.path, problem)
    return [problem.below(parent) for problem in problems.values()]


def _problem(
    path: KeyPath, rule: str, got: str | None = None, hint: str = "", between: bool = False
) -> SettingsProblem:
    return SettingsProblem(dotted(path), rule, got, hint, path, between)


def _document_problem(details: ErrorDetails) -> SettingsProblem:
    path = details["loc"]
    if "settings" in path:
        parent = path[: path.index("settings") + 1]
        return _settings_problem({**details, "loc": path[len(parent) :]}).below(parent)
    return _problem(path, "unknown key") if details["type"] == "extra_forbidden" else _value_problem(details, path)


def _settings_problem(details: ErrorDetails) -> SettingsProblem:
    path, kind, got = details["loc"], "", details["input"]
    if len(path) > 1 and path[0] in PARTS:  # pydantic puts the kind of a part into the path
        kind, path = str(path[1]), (path[0], *path[2:])
    if path[:2] == ("pyramid", "levels"):  # pydantic adds the members of the union to the path
        rule = "must be 'all', a range as p3-p5, or a list of levels"
        return _problem(path[:2], rule, as_json(got), _nearest_level(got))
    match details["type"]:
        case "extra_forbidden":
            if rule := _rule_of_other_kind(path, kind) or _rule_of_other_anchors(path, kind):
                return _problem(path, rule, between=True)
            return _problem(path, "unknown key", hint=_nearest_key(path))
        case "union_tag_invalid":
            kinds, got = PARTS[str(path[0])], got["kind"]
            rule = f"must be {either(map(repr, kinds))}"
            return _problem((*path, "kind"), rule, as_json(got), did_you_mean(str(got), kinds))
        case "model_type" if path[:1] == ("stages",):
            return _problem(path, "must be an object or a row of four numbers", as_json(got))
        case _:
            return _value_problem(details, path)


def _value_problem(details: ErrorDetails, path: KeyPath) -> SettingsProblem:
    """Describe a rule on a value alone."""
    if details["type"] == "missing":
        return _problem(path, "is required")
    context, got = details.get("ctx", {}), details["input"]
    words = re.findall(r"'([^']*)'", context["expected"]) if details["type"] == "literal_error" else ()
    return _problem(path, _rule(details["type"], context, details["msg"]), as_json(got), did_you_mean(str(got), words))


def _rule_of_other_kind(path: KeyPath, kind: str) -> str:
    """Return the rule that a key breaks which belongs to another kind of backbone or head; empty where none has it."""
    part, key = str(path[0]), path[1] if len(path) == 2 else None
    owners = [name for name, model in PARTS.get(part, {}).items() if key in model.model_fields]
    return f"is a key of {part}.kind {either(map(repr, owners), 'and')}, not of {kind!r}" if owners else ""


def _rule_of_other_anchors(path: KeyPath, kind: str) -> str:
    """Return the rule that a key breaks which the anchors of another kind of head have; empty where none have it."""
    if len(path) != 3 or path[:2] != ("head", "anchors"):
        return ""
    anchors = {
        name: model.model_fields["anchors"] for name, model in PARTS["head"].items() if "anchors" in model.model_fields
    }
    owners = [name for name, field in anchors.items() if path[2] in getattr(field.annotation, "model_fields", ())]
    return f"is a key of the anchors of head.kind {either(map(repr, owners), 'and')}, not of {kind!r}" if owners else ""


def _rule(kind: str, context: dict[str, Any], message: str) -> str:
    """Word the rule of a type of pydantic's errors; ``message`` is pydantic's, for types without a text of ours."""
    match kind:
        case "literal_error":
            return f"must be {context['expected']}"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "string_type" | "string_unicode":
            return "must be text"
        case "model_attributes_type" | "dict_type" | "model_type" | "dict_attributes_type":
            return "must be an object"
        case "tuple_type" | "list_type":
            return "must be a list"
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
        case "less_than":
            return f"must be less than {context['lt']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "too_short":
            return f"must have at least {context['min_length']} item{'s' * (context['min_length'] > 1)}"
        case "too_long":
            return f"must have at most {context['max_length']} items"
        case _:
            return message[:1].lower() + message[1:]


def _nearest_level(got: Any) -> str:
    """Suggest the level, or 'all', most like the first of some names that is not a level."""
    names = map(str, got if isinstance(got, list) else [got])
    wrong = next((name for name in names if not re.fullmatch(LEVEL, name)), "")
    return did_you_mean(wrong, ("all", *(f"p{k}" for k in range(1, 10))))


def as_json(value: Any) -> str:
    """Return a value as JSON, text in single quotes, cut to `MAX_SHOWN` characters."""
    if isinstance(value, str):
        text = f"'{value}'" if len(value) < MAX_SHOWN else f"'{value[: MAX_SHOWN - 3]}…'"
        return text if text.isprintable() else repr(value)[:MAX_SHOWN]
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}…"
