"""Settings by dotted key: read from the command line, written as parameters, listed, and compared."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import zip_longest
from typing import Any, NamedTuple

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.backbones import ORIGINAL_SPELLING
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import KeyPath, dotted
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.settings.strict_json import parse_json
from mnfpn_cli.text import Parameter


def path_of(key: str) -> KeyPath:
    """Return the path of a dotted key: ``stages[3].channels`` and ``stages.3.channels`` are the same."""
    names = re.sub(r"\[([0-9]+)\]", r".\1", key.strip()).split(".")
    if names[0] == "stages":
        names = [ORIGINAL_SPELLING.get(name, name) for name in names]
    return tuple(int(name) if re.fullmatch(r"[0-9]{1,9}", name) else name for name in names)


def parse_value(text: str) -> Any:
    """Parse text as JSON; return the text where it is not JSON."""
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return text.strip()


def parse_override(text: str) -> Source:
    """Read ``key=value`` with a dotted key, as ``pyramid.smooth=none`` or ``stages[3].channels=48``.

    The value is JSON where it parses as JSON, otherwise text.

    Raises:
        UsageError: where there is no key or no ``=``.
    """
    key, equals, value = text.partition("=")
    path = path_of(key)
    if not equals or "" in path:
        raise UsageError(
            Problem("`set`", "must be key=value with a dotted key, as pyramid.smooth=separable", f"'{text}'")
        )
    return Source(f"`set` {key.strip()}", parse_value(value), path)


def parse_stages(text: str) -> Source:
    """Read ``"1,16,1,1 6,24,2,2"``: rows of expansion, channels, repeats, stride, separated by spaces or semicolons.

    Raises:
        UsageError: where a row is not four whole numbers.
    """
    rows = [_parse_row(row) for row in text.replace(";", " ").split()]
    return Source("`stages`", rows, ("stages",))


def _parse_row(text: str) -> list[int]:
    try:
        row = [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(Problem("`stages`", "a row must be four whole numbers t,c,n,s", f"'{text}'")) from None
    if len(row) != 4:
        rule = "a row must be t,c,n,s (expansion, channels, repeats, stride)"
        raise UsageError(Problem("`stages`", rule, f"'{','.join(map(str, row))}'"))
    return row


ABSENT = object()
"""Marks a missing key."""


class Difference(NamedTuple):
    """A path at which two settings differ, and both values; `ABSENT` where one of them has no such key."""

    where: KeyPath
    one: Any
    other: Any

    @property
    def key(self) -> str:
        """The path as users write it: ``pyramid.upsample``."""
        return dotted(self.where)


def differences(one: Any, other: Any, *, rows: bool = False, where: KeyPath = ()) -> Iterator[Difference]:
    """Yield the differences between two settings in JSON, in the order of their keys.

    Args:
        one: settings, or a part of them.
        other: those that they are compared with.
        rows: whether lists are compared item by item, and not as a whole.
        where: the path of both.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            yield from differences(one.get(key, ABSENT), other.get(key, ABSENT), rows=rows, where=(*where, key))
    elif rows and isinstance(one, list) and isinstance(other, list):
        for index, items in enumerate(zip_longest(one, other, fillvalue=ABSENT)):
            yield from differences(*items, rows=rows, where=(*where, index))
    elif one != other:
        yield Difference(where, one, other)


def non_defaults(settings: NetworkSettings) -> dict[str, Any]:
    """Return the values that differ from the defaults, by dotted key; ``stages`` are one value."""
    defaults = NetworkSettings().model_dump(mode="json")
    return {
        difference.key: difference.one
        for difference in differences(settings.model_dump(mode="json"), defaults)
        if difference.one is not ABSENT
    }


def in_words(settings: NetworkSettings) -> str:
    """Return what differs from the defaults, as ``width_mult 0.5, pyramid.channels 64``; ``defaults`` where nothing."""
    return ", ".join(f"{key} {value}" for key, value in non_defaults(settings).items()) or "defaults"


def flatten(settings: NetworkSettings) -> dict[str, Any]:
    """Return all values by dotted key; ``stages`` are one value."""

    def leaves(value: Any, path: KeyPath) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from leaves(item, (*path, key))
        else:
            yield dotted(path), value

    return dict(leaves(settings.model_dump(mode="json"), ()))


OWN_PARAMETERS: dict[KeyPath, str] = {("width_mult",): "width_mult", ("pyramid", "channels"): "pyramid_channels"}
"""The settings that commands have a parameter for; the others are given with ``set``."""


def network_parameters(settings: NetworkSettings) -> list[Parameter]:
    """Return the smallest set of a command's parameters that gives these settings, without a preset or a file."""
    values, fields = settings.model_dump(mode="json"), NetworkSettings.model_fields
    parameters = [
        ("set", f"{part}.kind={values[part]['kind']}")
        for part in ("backbone", "head")
        if values[part]["kind"] != fields[part].default.kind
    ]
    for path, value, _ in differences(values, _defaults_of_kinds(settings.backbone.kind, settings.head.kind)):
        if path == ("stages",):
            parameters.append(("stages", " ".join(",".join(map(str, row.values())) for row in value)))
        elif path in OWN_PARAMETERS:
            parameters.append((OWN_PARAMETERS[path], str(value)))
        else:
            parameters.append(("set", f"{dotted(path)}={value if _is_word(value) else json.dumps(value)}"))
    return parameters


@lru_cache
def _defaults_of_kinds(backbone: str, head: str) -> Mapping[str, Any]:
    kinds = {"backbone": {"kind": backbone}, "head": {"kind": head}}
    return NetworkSettings.model_validate(kinds).model_dump(mode="json")


def _is_word(value: Any) -> bool:
    """Return whether a value is text that does not parse as JSON."""
    return isinstance(value, str) and value[:1].isalpha() and value not in ("true", "false", "null")
