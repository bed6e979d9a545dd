"""Settings as dotted keys: those that are given on the command line, and those in which two settings differ."""

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

ABSENT = object()
"""What stands where there is no such key."""


class Difference(NamedTuple):
    """A place at which two settings differ, and both values; `ABSENT` where one of them has no such key."""

    where: KeyPath
    one: Any
    other: Any

    @property
    def key(self) -> str:
        """The place as people write it: ``pyramid.upsample``."""
        return dotted(self.where)


def differences(one: Any, other: Any, *, rows: bool = False, where: KeyPath = ()) -> Iterator[Difference]:
    """What differs between two settings as JSON has them, in their order.

    ``rows``: also inside of lists, which are values else.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            yield from differences(one.get(key, ABSENT), other.get(key, ABSENT), rows=rows, where=(*where, key))
    elif rows and isinstance(one, list) and isinstance(other, list):
        for index, (mine, theirs) in enumerate(zip_longest(one, other, fillvalue=ABSENT)):
            yield from differences(mine, theirs, rows=rows, where=(*where, index))
    elif one != other:
        yield Difference(where, one, other)


def non_defaults(settings: NetworkSettings) -> dict[str, Any]:
    """The keys that are not what they are where nothing is said, and their values; ``stages`` stay a whole."""
    usual = NetworkSettings().model_dump(mode="json")
    found = differences(settings.model_dump(mode="json"), usual)
    return {difference.key: difference.one for difference in found if difference.one is not ABSENT}


def flatten(settings: NetworkSettings) -> dict[str, Any]:
    """All keys and their values; ``stages`` stay a whole."""

    def walk(value: Any, where: KeyPath) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from walk(item, (*where, key))
        else:
            yield dotted(where), value

    return dict(walk(settings.model_dump(mode="json"), ()))


def parse_stages(text: str) -> Source:
    """Read ``"1,16,1,1 6,24,2,2"``: rows of expansion, channels, repeats, stride, separated by spaces or semicolons.

    Raises:
        UsageError: where a row is not four whole numbers.
    """
    rows = [[_whole(number, row) for number in row.split(",")] for row in text.replace(";", " ").split()]
    for row in rows:
        if len(row) != 4:
            written = ",".join(str(number) for number in row)
            raise UsageError(
                Problem("`stages`", "a row must be t,c,n,s (expansion, channels, repeats, stride)", f"'{written}'")
            )
    return Source("`stages`", rows, ("stages",))


def parse_override(text: str) -> Source:
    """Read ``key=value`` with a dotted key, as ``pyramid.smooth=none`` or ``stages[3].channels=48``.

    The value is JSON where it reads as JSON, otherwise text.

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


def path_of(key: str) -> KeyPath:
    """Where a dotted key points to: ``stages[3].channels``."""
    names = re.sub(r"\[([0-9]+)\]", r".\1", key.strip()).split(".")
    if names[0] == "stages":
        names = [ORIGINAL_SPELLING.get(name, name) for name in names]
    return tuple(int(name) if re.fullmatch(r"[0-9]{1,9}", name) else name for name in names)


def parse_value(text: str) -> Any:
    """What JSON reads the text as, or else the text."""
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return text.strip()


def _whole(number: str, row: str) -> int:
    try:
        return int(number)
    except ValueError:
        raise UsageError(Problem("`stages`", "a row must be four whole numbers t,c,n,s", f"'{row}'")) from None


OF_THEIR_OWN: dict[KeyPath, str] = {("width_mult",): "width_mult", ("pyramid", "channels"): "pyramid_channels"}
"""Settings that have parameters of their own."""


def network_parameters(settings: NetworkSettings) -> list[Parameter]:
    """The parameters that say what differs from the defaults: no preset, no file, and only as many as it takes."""
    wanted, default = settings.model_dump(mode="json"), NetworkSettings.model_fields
    usual = _usual(settings.backbone.kind, settings.head.kind)
    said = list[Parameter]()
    for part in ("backbone", "head"):
        if wanted[part]["kind"] != default[part].default.kind:
            said.append(("set", f"{part}.kind={wanted[part]['kind']}"))
    for path, value, _ in differences(wanted, usual):
        if path == ("stages",):
            said.append(("stages", " ".join(",".join(map(str, row.values())) for row in value)))
        elif path in OF_THEIR_OWN:
            said.append((OF_THEIR_OWN[path], str(value)))
        else:
            said.append(("set", f"{dotted(path)}={value if _is_word(value) else json.dumps(value)}"))
    return said


@lru_cache
def _usual(backbone: str, head: str) -> Mapping[str, Any]:
    """What settings of these kinds are where nothing else is said."""
    return NetworkSettings.model_validate({"backbone": {"kind": backbone}, "head": {"kind": head}}).model_dump(
        mode="json"
    )


def _is_word(value: Any) -> bool:
    """Whether it is text that reads as itself, not as JSON."""
    return isinstance(value, str) and value[:1].isalpha() and value not in ("true", "false", "null")
