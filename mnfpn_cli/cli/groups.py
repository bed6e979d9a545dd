"""Groups of options that several commands share: a command takes a dataclass, and its fields become options.

An option of one value may be given once. Typer alone would silently use the last of several.
"""

import functools
import inspect
import shlex
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from mnfpn_cli.cli.paths import check_paths, files_read, named_path
from mnfpn_cli.cli.talk import TalkOptions, talking
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import as_option

T = TypeVar("T")
EMPTY = inspect.Parameter.empty
UNIONS = (Union, UnionType)


@dataclass(frozen=True)
class Single:
    """An option of one value. Typer collects every value that is given, as text."""

    option: str
    read: Callable[[str], Any]
    default: Any

    def value(self, texts: Sequence[str] | None) -> Any:
        """Return the value that was given, or the default.

        Raises:
            UsageError: if it was given more than once, or is wrong.
        """
        if not texts:
            return self.default
        if len(texts) > 1:
            *others, last = [f"'{text}'" for text in texts]
            raise UsageError(Problem(self.option, "must be given once", f"{', '.join(others)} and {last}"))
        return self.read(texts[0])


def grouped(command: Callable[..., T]) -> Callable[..., T]:
    """Return the command with each dataclass parameter replaced by the fields of the dataclass, which typer can read.

    Every command also takes `TalkOptions`. Before the command runs, the files that its options name are checked.
    """
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    groups: dict[str, Any] = {name: hints[name] for name in own if is_dataclass(hints[name])}
    parameters = list[inspect.Parameter]()
    for name, parameter in own.items():
        if name in groups:
            parameters.extend(_parameters(groups[name]))
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
    parameters.extend(_parameters(TalkOptions))
    singles = {one.name: single for one in parameters if (single := _single(one))}
    visible = [_repeating(one) if one.name in singles else one for one in parameters]

    annotations = {parameter.name: parameter.annotation for parameter in parameters}

    @functools.wraps(command)
    def run(**given: Any) -> T:
        values = {name: singles[name].value(one) if name in singles else one for name, one in given.items()}
        check_paths(annotations, values)
        talk = _instance(TalkOptions, values)
        with talking(talk, list(files_read(annotations, values))):
            instances = {name: _instance(group, values) for name, group in groups.items()}
            return command(**instances, **values)

    run.__signature__ = inspect.Signature(visible)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in visible}
    return run


def _instance(group: Callable[..., T], values: dict[str, Any]) -> T:
    """Make a group of options of its values, which are taken out of those of the command."""
    return group(**{field.name: values.pop(field.name) for field in fields(group)})  # type: ignore[arg-type]


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=EMPTY if field.default is MISSING else field.default,
        )
        for field in fields(group)
    ]


def _single(parameter: inspect.Parameter) -> Single | None:
    """Return the reader of an option of one value; None for arguments, flags and options that can be repeated."""
    kind, info, *_ = get_args(parameter.annotation)
    if not isinstance(info, OptionInfo):
        return None
    kinds = [one for one in get_args(kind) if one is not type(None)] if get_origin(kind) in UNIONS else [kind]
    if kinds[0] is bool or get_origin(kinds[0]) is list:
        return None
    names = [name for name in info.param_decls or () if name.startswith("--")]
    option = names[0] if names else as_option(parameter.name)
    return Single(option, info.parser or (partial(named_path, option) if kinds[0] is Path else str), parameter.default)


def _repeating(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return the option as typer sees it: any number of texts."""
    info = copy(get_args(parameter.annotation)[1])
    info.parser = None
    if parameter.default is EMPTY:
        return parameter.replace(annotation=Annotated[list[str], info])
    return parameter.replace(annotation=Annotated[list[str] | None, info], default=None)


def _as_typed(value: object) -> str:
    """Return a value as a user types it: ``5`` rather than ``5.0``."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def command_line(command: str, *groups: Any) -> str:
    """Return the command line of a command: the options of the groups that differ from their defaults."""
    words = list[str]()
    for group in groups:
        for field in fields(group):
            value, option = getattr(group, field.name), as_option(field.name)
            if value == field.default:
                continue
            for one in value if isinstance(value, list) else [value]:
                words += [option] if one is True else [option, _as_typed(one)]
    return shlex.join([*command.split(), *words])
