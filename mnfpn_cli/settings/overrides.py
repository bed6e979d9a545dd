"""Reading the options that override settings: ``--stages`` and ``--set``."""

import re

from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.files import parse_json
from mnfpn_cli.settings.sources import Source
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
    names = re.sub(r"\[([0-9]+)\]", r".\1", key.strip()).split(".")
    if not equals or not all(names):
        raise UsageError(f"--set: must be key=value with a dotted key, as pyramid.smooth=separable, got '{text}'")
    if names[0] == "stages":
        names = [ORIGINAL_SPELLING.get(name, name) for name in names]
    path = tuple(int(name) if re.fullmatch(r"[0-9]{1,9}", name) else name for name in names)
    option = f"--set {key.strip()}"
    try:
        return Source(option, parse_json(value), path)
    except (ValueError, RecursionError):
        return Source(option, value.strip(), path)


def _whole(number: str, row: str) -> int:
    try:
        return int(number)
    except ValueError:
        raise UsageError(f"--stages: a row must be four whole numbers t,c,n,s, got '{row}'") from None
