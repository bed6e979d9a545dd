"""How much a command says on standard error: `--quiet` and `--verbose`, on every command.

The result, warnings and errors are the same with each. `--quiet` leaves out progress. `--verbose` says what is done,
step by step, each line with the seconds since the command began; steps take the place of a progress bar.
"""

from __future__ import annotations

import platform
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli import __version__
from mnfpn_cli.cli.help import MORE
from mnfpn_cli.cli.stderr import write_error
from mnfpn_cli.errors import Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

LIBRARIES = ("torch", "onnxruntime", "openvino")
"""Those whose versions decide what is measured; the versions of those that are installed are said."""


@dataclass(frozen=True)
class TalkOptions:
    """How much is said on standard error."""

    quiet: Annotated[
        bool, Option("--quiet", help="Show no progress, only warnings and errors.", rich_help_panel=MORE)
    ] = False
    verbose: Annotated[
        bool, Option("--verbose", help="Say what is done, step by step, and when.", rich_help_panel=MORE)
    ] = False

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError(Problem("--quiet", "cannot be used with --verbose"))

    @property
    def shows_bars(self) -> bool:
        """Whether bars are drawn: in a terminal, unless the user asked for silence or for lines."""
        return sys.stderr.isatty() and not (self.quiet or self.verbose)


@dataclass(frozen=True)
class _Talk:
    options: TalkOptions = TalkOptions()
    began: float = field(default_factory=time.perf_counter)


_USUAL = _Talk()
_current: ContextVar[_Talk] = ContextVar("talk", default=_USUAL)


def talk() -> TalkOptions:
    """Return how much the running command says; what is usual, outside of a command."""
    return _current.get().options


def tell(line: str) -> None:
    """With `--verbose`, write a line behind the seconds since the command began."""
    current = _current.get()
    if current.options.verbose:
        write_error(f"[{time.perf_counter() - current.began:7.2f} s] {line}")


@contextmanager
def talking(options: TalkOptions, read: Iterable[Path]) -> Iterator[None]:
    """Say as much as the options ask for within this block.

    Args:
        options: of the command.
        read: the files that it reads.
    """
    before = _current.set(_Talk(options))
    try:
        if options.verbose:
            tell(_versions())
            for path in dict.fromkeys(read):
                tell(f"reads {path}")
        yield
        tell("done")
    finally:
        _current.reset(before)


def _versions() -> str:
    """Return the versions of mnfpn, Python and the libraries that measure, without importing these."""
    known = [f"mnfpn {__version__}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            known.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(known)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Yield a function that shows a step and the share of it that is done.

    In a terminal it is a bar that disappears at the end; with `--verbose`, a line for each step, and the time of each
    at the end; else nothing.
    """
    if talk().verbose:
        steps = _Steps()
        try:
            yield steps
        finally:
            steps.end()
    elif talk().shows_bars:
        from mnfpn_cli.api.progress import rich_bar

        with rich_bar() as progress:
            yield progress
    else:
        yield lambda _doing, _share: None


@dataclass
class _Steps:
    """Says each step when it begins, and at the end how long each took: steps may take turns."""

    clock: Callable[[], float] = time.perf_counter
    _took: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _doing: str = ""
    _since: float = 0.0

    def __call__(self, doing: str, _share: float) -> None:
        """Count the time since the last call as that of the last step."""
        now = self.clock()
        if doing != self._doing:
            if doing not in self._took:
                tell(doing)
            self._add(now)
            self._doing = doing
            self._took[doing] += 0.0

    def _add(self, now: float) -> None:
        if self._doing:
            self._took[self._doing] += now - self._since
        self._since = now

    def end(self) -> None:
        """Say how long each step took."""
        from mnfpn_cli.report.units import seconds

        self._add(self.clock())
        for doing, took in self._took.items():
            tell(f"{doing}: took {seconds(took)}")
