"""Settings under dotted keys, and what differs between two of them."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import KeyPath, dotted

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


def changed(settings: NetworkSettings) -> dict[str, Any]:
    """The keys that are not what they are where nothing is said, and their values; ``stages`` stay a whole."""
    usual = NetworkSettings().model_dump(mode="json")
    found = differences(settings.model_dump(mode="json"), usual)
    return {difference.key: difference.one for difference in found if difference.one is not ABSENT}


def flat(settings: NetworkSettings) -> dict[str, Any]:
    """All keys and their values; ``stages`` stay a whole."""

    def walk(value: Any, where: KeyPath) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from walk(item, (*where, key))
        else:
            yield dotted(where), value

    return dict(walk(settings.model_dump(mode="json"), ()))
