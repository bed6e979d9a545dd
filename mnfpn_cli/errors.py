"""The errors that a user can cause or meet. Only the command line turns them into text and an exit code."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What colours a terminal (ECMA-48, 5.4)."""

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as shells have it. Another signal gives its own in the end."""


UNAVAILABLE = 69
"""The exit code by which a sweep's worker says that a runtime cannot run there; sysexits.h has it as EX_UNAVAILABLE."""


SHORTEST_BEGINNING = 3
"""Letters from which on a word may stand for one that begins with it: fewer begin too many."""


class MnfpnError(Exception):
    """Something could not be done, for a reason the user can read: no such device, out of memory."""

    exit_code = 1
    details = ""
    """What is printed below the message, as it is: a traceback of the user's own code."""


class UnavailableError(MnfpnError):
    """It cannot run on this machine: what it needs is not installed, or not possible on the device."""


class NothingMeasuredError(MnfpnError):
    """Ctrl-C, or another signal that asks to end, came before there was anything to keep."""

    exit_code = INTERRUPTED


class UsageError(MnfpnError):
    """What the user said is wrong: the message gives the place, the rule and the value, one problem a line."""

    exit_code = 2


class CheckError(MnfpnError):
    """A check that the user asked for did not hold."""

    exit_code = 3


def plain(text: str) -> str:
    """A message of a library's without the colours that some put into it."""
    return ESCAPES.sub("", text)


def first_line(error: BaseException) -> str:
    """The first line of a library's message, which may go on for pages."""
    return plain(str(error)).strip().partition("\n")[0]


def did_you_mean(
    word: str, known: Iterable[str], says: Mapping[str, str] = MappingProxyType({}), likeness: float = 0.6
) -> str:
    """The end of a message about a word that is none of those known: the nearest of them, or nothing.

    The nearest is spelled alike; or else it begins with the word, as ``onnxruntime`` does with ``onnx``.

    ``says``: how to name those that have another name in the message.
    """
    by_lower = {one.lower(): says.get(one, one) for one in known}
    near = get_close_matches(word.lower(), by_lower, 1, likeness)
    if not near and len(word) >= SHORTEST_BEGINNING:
        near = [one for one in by_lower if one.startswith(word.lower())]
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""
