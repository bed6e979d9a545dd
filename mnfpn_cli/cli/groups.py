"""Options that several commands share, written once: a command takes a dataclass, its fields become options."""

import functools
import inspect
import shlex
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from mnfpn_cli.cli.paths import check_paths

T = TypeVar("T")


def grouped(command: Callable[..., T]) -> Callable[..., T]:
    """Replace each parameter of a command that is a dataclass by that dataclass's fields, for typer to see.

    Before the command runs, the files that its options name are checked.
    """
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    groups: dict[str, Any] = {name: hints[name] for name in own if is_dataclass(hints[name])}
    parameters = []
    for name, parameter in own.items():
        if name in groups:
            parameters.extend(_parameters(groups[name]))
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    annotations = {parameter.name: parameter.annotation for parameter in parameters}

    @functools.wraps(command)
    def run(**values: Any) -> T:
        check_paths(annotations, values)
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**made, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = annotations
    return run


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(group)
    ]


def spelled(command: str, *groups: Any) -> str:
    """A command with the options of some groups that are not as they are by default, to be typed again."""
    words = list[str]()
    for group in groups:
        for field in fields(group):
            value, option = getattr(group, field.name), f"--{field.name.replace('_', '-')}"
            if value == field.default:
                continue
            for one in value if isinstance(value, list) else [value]:
                words += [option] if one is True else [option, str(one)]
    return shlex.join([*command.split(), *words])
