"""The errors that a user can cause or meet, as data. Only the command line turns them into text and an exit code."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as shells have it. Another signal gives its own in the end."""

PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)`")
"""The name of a parameter in a message, as Python has it; the command line spells it as an option."""

Spelling = Callable[[str], str]


def spelled(text: str, spell: Spelling) -> str:
    """Spell each parameter that a text names in backquotes: `str` takes the backquotes off."""
    return PARAMETER.sub(lambda match: spell(match[1]), text)


def in_backquotes(name: str) -> str:
    """Spell a parameter as messages hold it."""
    return f"`{name}`"


@dataclass(frozen=True)
class Problem:
    """A rule that was broken: ``stages[3].stride: must be 1 or 2, got 3``.

    Args:
        where: a parameter in backquotes, a key of settings, a file and a key; empty where there is none.
        rule: what must hold, or what happened; may name other parameters in backquotes.
        got: the value as it is shown, in quotes where it is text; None where there is none to show.
        hint: what follows the value, with the punctuation before it: ``; did you mean 'fused'?``.
    """

    where: str = ""
    rule: str = ""
    got: str | None = None
    hint: str = ""

    def __str__(self) -> str:
        return self.text()

    def text(self, spell: Spelling = str) -> str:
        """One line, or more where the rule has more, each parameter spelled by ``spell``."""
        where, rule, hint = (spelled(part, spell) for part in (self.where, self.rule, self.hint))
        got = "" if self.got is None else f", got {self.got}"
        return f"{where}: {rule}{got}{hint}" if where else f"{rule}{got}{hint}"

    def within(self, where: str, joint: str = ": ") -> Self:
        """The same inside another place: ``a: size``, or a key below another with a joint of ``.``."""
        return replace(self, where=f"{where}{joint}{self.where}" if self.where else where)


class MnfpnError(Exception):
    """Something could not be done, for a reason the user can read: no such device, out of memory.

    It holds one problem or several; a text stands for problems that are rules alone, one a line.
    """

    exit_code = 1
    details = ""
    """What is printed below the message, as it is: a traceback of the user's own code."""

    def __init__(self, *problems: Problem | str) -> None:
        super().__init__(*problems)
        self.problems = tuple(
            one
            for given in problems
            for one in ([given] if isinstance(given, Problem) else [Problem(rule=line) for line in given.split("\n")])
        )

    def __str__(self) -> str:
        return self.text()

    @property
    def message(self) -> str:
        """The text with its backquotes, for a document or a longer message."""
        return self.text(in_backquotes)

    def text(self, spell: Spelling = str) -> str:
        """One problem a line, each parameter spelled by ``spell``; in Python's words unless given."""
        return "\n".join(problem.text(spell) for problem in self.problems)

    def within(self, where: str, joint: str = ": ") -> Self:
        """Say of each problem that it is inside another place; return the error itself, to be raised again."""
        self.problems = tuple(problem.within(where, joint) for problem in self.problems)
        return self

    def at(self, where: str) -> Self:
        """Say of each problem that it is at another place instead; return the error itself, to be raised again."""
        self.problems = tuple(replace(problem, where=where) for problem in self.problems)
        return self


class UnavailableError(MnfpnError):
    """It cannot run on this machine: what it needs is not installed, or not possible on the device."""


class NothingMeasuredError(MnfpnError):
    """Ctrl-C, or another signal that asks to end, came before there was anything to keep."""

    exit_code = INTERRUPTED


class UsageError(MnfpnError):
    """What the user said is wrong: each problem gives the place, the rule and the value."""

    exit_code = 2


class CheckError(MnfpnError):
    """A check that the user asked for did not hold."""

    exit_code = 3


@contextmanager
def within(where: str) -> Iterator[None]:
    """Say of the problems that a block meets that they are inside a place.

    Raises:
        MnfpnError: that of the block.
    """
    try:
        yield
    except MnfpnError as error:
        raise error.within(where) from None
