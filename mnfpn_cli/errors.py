"""Errors that a user can cause or meet, as data. Only the command line prints them and chooses an exit code."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as in shells; a process that another signal ends has that signal's."""

PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)`")
"""The name of a parameter in a message, in backquotes; the command line spells it as an option."""

Spelling = Callable[[str], str]
"""Spells the name of a parameter for the reader of a message: as in Python, or as an option."""


def spelled(text: str, spell: Spelling) -> str:
    """Replace each parameter in backquotes by its spelling; `str` only removes the backquotes."""
    return PARAMETER.sub(lambda match: spell(match[1]), text)


def in_backquotes(name: str) -> str:
    """Return the name of a parameter in backquotes: a spelling that changes nothing."""
    return f"`{name}`"


@dataclass(frozen=True)
class Problem:
    """A rule that was broken: ``stages[3].stride: must be 1 or 2, got 3``.

    Args:
        where: the place: a parameter in backquotes, a key of settings, a file and a key; empty where there is none.
        rule: what must hold, or what happened; may name other parameters in backquotes.
        got: the value as text, in quotes where it is a string; None to print no value.
        hint: text after the value, with the punctuation before it: ``; did you mean 'fused'?``.
    """

    where: str = ""
    rule: str = ""
    got: str | None = None
    hint: str = ""

    def __str__(self) -> str:
        return self.text()

    def text(self, spell: Spelling = str) -> str:
        """Return the message, in as many lines as the rule has, with each parameter spelled by ``spell``."""
        where, rule, hint = (spelled(part, spell) for part in (self.where, self.rule, self.hint))
        got = "" if self.got is None else f", got {self.got}"
        return f"{where}: {rule}{got}{hint}" if where else f"{rule}{got}{hint}"

    def within(self, where: str, joint: str = ": ") -> Self:
        """Return the problem with a place in front of its own: ``a: size``, or ``settings.stages`` with a dot."""
        return replace(self, where=f"{where}{joint}{self.where}" if self.where else where)


class MnfpnError(Exception):
    """An error with a message for users, as for a missing device or too little memory.

    It holds one problem or more. Each line of a string is a problem that has only a rule.
    """

    exit_code = 1
    details = ""
    """Text to print unchanged below the message: a traceback of the user's own code."""

    def __init__(self, *problems: Problem | str) -> None:
        super().__init__(*problems)
        self.problems = tuple(problem for given in problems for problem in _problems(given))

    def __str__(self) -> str:
        return self.text()

    @property
    def message(self) -> str:
        """The text with parameters in backquotes, for a document or as part of another message."""
        return self.text(in_backquotes)

    def text(self, spell: Spelling = str) -> str:
        """Return a line for each problem, with each parameter spelled by ``spell``: by default as in Python."""
        return "\n".join(problem.text(spell) for problem in self.problems)

    def within(self, where: str, joint: str = ": ") -> Self:
        """Put a place in front of that of each problem; return the error itself, to raise it again."""
        self.problems = tuple(problem.within(where, joint) for problem in self.problems)
        return self

    def at(self, where: str) -> Self:
        """Replace the place of each problem; return the error itself, to raise it again."""
        self.problems = tuple(replace(problem, where=where) for problem in self.problems)
        return self


def _problems(given: Problem | str) -> list[Problem]:
    return [given] if isinstance(given, Problem) else [Problem(rule=line) for line in given.split("\n")]


class UnavailableError(MnfpnError):
    """A run is not possible on this machine: a package is not installed, or the device does not support it."""


class NothingMeasuredError(MnfpnError):
    """Ctrl-C, or another signal to end, came before anything was measured."""

    exit_code = INTERRUPTED


class UsageError(MnfpnError):
    """Wrong usage or settings: each problem gives the place, the rule and the value."""

    exit_code = 2


class CheckError(MnfpnError):
    """A check that the user asked for failed."""

    exit_code = 3


@contextmanager
def within(where: str) -> Iterator[None]:
    """Put a place in front of that of each problem that the block raises.

    Raises:
        MnfpnError: the error of the block.
    """
    try:
        yield
    except MnfpnError as error:
        raise error.within(where) from None
