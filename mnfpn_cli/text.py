"""Words of messages: shares in per cent, the nearest name, what libraries say without their colours."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What colours a terminal (ECMA-48, 5.4)."""

Parameter = tuple[str, str]
"""A parameter of a command, as Python names it, and its value as text."""

SHORTEST_BEGINNING = 3
"""Letters from which on a word may stand for one that begins with it: fewer begin too many."""


def percent(share: float, digits: str = ".1f") -> str:
    """A share in per cent: ``83.1 %``; ``digits``: how the number is formatted, ``+.0f`` say."""
    return f"{100 * share:{digits}} %"


def as_option(parameter: str) -> str:
    """A parameter as a shell takes it, with dashes. Messages have it in backquotes instead."""
    return f"--{parameter.replace('_', '-')}"


def as_arguments(parameters: Iterable[Parameter]) -> list[str]:
    """The arguments that give a command these parameters; one without a value is a flag."""
    return [text for name, value in parameters for text in (as_option(name), value) if text]


def plain(text: str) -> str:
    """A message of a library's without the colours that some put into it."""
    return ESCAPES.sub("", text)


def printable(text: str, keep: str = "") -> str:
    """A text whose signs are shown, and do nothing else: control characters, of direction too, become escapes.

    ``keep``: signs that stay though they are none of those shown, as line breaks.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else repr(sign)[1:-1] for sign in text)


def all_printable(value: Any) -> Any:
    """The same of every text in data of JSON; line breaks stay."""
    if isinstance(value, str):
        return printable(value, keep="\n")
    if isinstance(value, dict):
        return {all_printable(key): all_printable(item) for key, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list | tuple) else value


def first_line(error: BaseException) -> str:
    """The first line of a library's message, which may go on for pages; backquotes are kept for names of our own."""
    return plain(str(error)).strip().partition("\n")[0].replace("`", "'")


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


def either(choices: Iterable[str]) -> str:
    """Join words by commas, and the last by "or": ``text, json or csv``."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last
