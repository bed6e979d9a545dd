"""Reading the options that override settings: ``--stages`` and ``--set``."""

import re
from typing import Any

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.files import parse_json
from mnfpn_cli.settings.sources import Path, Source
from mnfpn_cli.settings.stages import ORIGINAL_SPELLING


def parse_stages(text: str) -> Source:
    """Read ``"1,16,1,1 6,24,2,2"``: rows of expansion, channels, repeats, stride, parted by spaces or semicolons.

    Raises:
        UsageError: where a row is not four whole numbers.
    """
    rows = [[_whole(number, row) for number in row.split(",")] for row in text.replace(";", " ").split()]
    for row in rows:
        if len(row) != 4:
            written = ",".join(str(number) for number in row)
            raise UsageError(f"--stages: a row must be t,c,n,s (expansion, channels, repeats, stride), got '{written}'")
    return Source("--stages", rows, ("stages",))


def parse_override(text: str) -> Source:
    """Read ``key=value`` with a dotted key, as ``pyramid.smooth=none`` or ``stages[3].channels=48``.

    The value is JSON where it reads as JSON, otherwise text.

    Raises:
        UsageError: where there is no key or no ``=``.
    """
    key, equals, value = text.partition("=")
    path = path_of(key)
    if not equals or "" in path:
        raise UsageError(f"--set: must be key=value with a dotted key, as pyramid.smooth=separable, got '{text}'")
    return Source(f"--set {key.strip()}", parse_value(value), path)


def path_of(key: str) -> Path:
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
        raise UsageError(f"--stages: a row must be four whole numbers t,c,n,s, got '{row}'") from None
