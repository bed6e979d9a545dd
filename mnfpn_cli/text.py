"""Text for users: progress, per cent, escapes of control characters, and the nearest name for a misspelt one."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Control sequences of a terminal, which colour text (ECMA-48, 5.4)."""

ReportProgress = Callable[[str, float], None]
"""Is called during long work with what is being done, and the share of it that is done, from 0 to 1."""

Parameter = tuple[str, str]
"""The name of a parameter, as in Python, and its value as text; an empty value is a flag."""

SHORTEST_BEGINNING = 3
"""The fewest letters of a word that is taken for the beginning of another; fewer begin too many words."""


def percent(share: float, digits: str = ".1f") -> str:
    """Return a share in per cent, as ``83.1 %``; ``digits`` is a format of Python, as ``+.0f``."""
    return f"{100 * share:{digits}} %"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 run``, ``1,200 runs``, ``3 boxes``, ``91 classes``."""
    plural = "es" if noun.endswith(("s", "x")) else "s"
    return f"{number:,} {noun}{plural * (number != 1)}"


def strip_colours(text: str) -> str:
    """Remove the control sequences that some libraries put into messages."""
    return COLOURS.sub("", text)


def printable(text: str, keep: str = "") -> str:
    """Escape the characters of a text that a terminal would not print: controls, and marks of text direction.

    Args:
        text: any text.
        keep: characters to leave as they are, as line breaks.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else repr(char)[1:-1] for char in text)


def all_printable(value: Any) -> Any:
    """Escape every text in JSON data as `printable` does, except line breaks."""
    if isinstance(value, str):
        return printable(value, keep="\n")
    if isinstance(value, dict):
        return {all_printable(key): all_printable(item) for key, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list | tuple) else value


def first_line(error: BaseException) -> str:
    """Return the first line of a library's message, with quotes for backquotes, which mark parameters in ours."""
    return strip_colours(str(error)).strip().partition("\n")[0].replace("`", "'")


def did_you_mean(
    word: str, known: Iterable[str], labels: Mapping[str, str] = MappingProxyType({}), cutoff: float = 0.6
) -> str:
    """Return the end of a message about an unknown word: ``; did you mean 'fused'?``, or nothing.

    The nearest known word is spelled alike; or else it begins with the word, as ``onnxruntime`` does with ``onnx``.

    Args:
        word: the unknown word.
        known: the words to choose from.
        labels: the text to print for known words, where it is not the word itself.
        cutoff: the least similarity of spelling, 0 to 1.
    """
    by_lower = {other.lower(): labels.get(other, other) for other in known}
    near = get_close_matches(word.lower(), by_lower, 1, cutoff)
    if not near and len(word) >= SHORTEST_BEGINNING:
        near = [other for other in by_lower if other.startswith(word.lower())]
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""


def either(choices: Iterable[str], word: str = "or") -> str:
    """Join words by commas, and the last by "or", or another word: ``text, json or csv``."""
    *others, last = choices
    return f"{', '.join(others)} {word} {last}" if others else last


def few(words: Sequence[str], most: int = 3) -> str:
    """Join the first few words by commas, with the number of the others: ``a, b, c and 2 more``."""
    shown = ", ".join(words[:most])
    return f"{shown} and {len(words) - most} more" if len(words) > most else shown


def as_option(parameter: str) -> str:
    """Return the option for a parameter: ``--width-mult`` for ``width_mult``."""
    return f"--{parameter.replace('_', '-')}"


def as_arguments(parameters: Iterable[Parameter]) -> list[str]:
    """Return the command-line arguments of parameters."""
    return [text for name, value in parameters for text in (as_option(name), value) if text]
