"""A design space: axes, each with the choices for one key. Each combination of choices is a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.settings.input import DEFAULT_SIZE, Size, parse_size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import path_of
from mnfpn_cli.settings.sources import Source, value_problems
from mnfpn_cli.space.runs import Execution

MAX_RUNS = 1_000_000
"""The most runs of a space. A million runs are planned in minutes; a larger space is usually a mistake."""

EXECUTION_KEYS = ("batch", "dtype", "runtime", "device", "threads", "train", "allocator")
"""The keys that are fields of `Execution`; ``size`` is a key of its own, and all others are keys of settings."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The choices for one key.

    Attributes:
        key: a dotted key of the settings, ``size``, or one of `EXECUTION_KEYS`.
        name: the place of the choices in messages: a parameter in backquotes, or a file and a key.
        values: the choices; those of ``preset`` and ``config`` are `Source` objects.
    """

    key: str
    name: str
    values: tuple[Any, ...]

    def sources(self) -> list[Source]:
        """Return each choice as a source of settings."""
        path = path_of(self.key)
        return [value if isinstance(value, Source) else Source(self.name, value, path) for value in self.values]


@dataclass(frozen=True, slots=True)
class Invalid:
    """A combination without a valid network, or with too small a size: the number of its runs and the reason."""

    runs: int
    reason: str


@dataclass(frozen=True, slots=True)
class Space:
    """Axes with different keys. A key without an axis has its default value."""

    axes: tuple[Axis, ...]

    @property
    def count(self) -> int:
        """The number of runs, including invalid ones."""
        return prod(len(axis.values) for axis in self.axes)

    @property
    def files(self) -> list[Path]:
        """The files that are choices of ``config``."""
        return [Path(source.name) for axis in self.axes if axis.key == "config" for source in axis.sources()]

    def check(self) -> None:
        """Check the number of runs, and each choice on its own.

        Raises:
            UsageError: where there are more than `MAX_RUNS` runs, or a choice is invalid in every combination.
        """
        if self.count > MAX_RUNS:
            largest = ", ".join(f"{axis.key} {len(axis.values):,}" for axis in self.axes if len(axis.values) > 1)
            raise UsageError(
                Problem("the space", f"must have at most {MAX_RUNS:,} runs", f"{self.count:,} ({largest})")
            )
        sources = [source for axis in self._settings_axes() for source in axis.sources()]
        problems = [problem for source in sources for problem in value_problems(source)]
        if problems:
            raise UsageError(*dict.fromkeys(problems))

    @property
    def combinations(self) -> int:
        """The number of combinations of settings, without sizes and executions."""
        return prod(len(axis.values) for axis in self._settings_axes())

    def networks(self, first: int = 0, end: int | None = None) -> Iterator[tuple[NetworkSettings, Size] | Invalid]:
        """Yield each network at each size, or the reason why it is invalid. Networks with one backbone are consecutive.

        Args:
            first: index of the first combination of settings.
            end: index after the last combination; None for all.
        """
        axes = [axis.sources() for axis in sorted(self._settings_axes(), key=_precedence)]
        sizes = next((axis.values for axis in self.axes if axis.key == "size"), ())
        runs, default = len(self.executions()), parse_size(DEFAULT_SIZE)
        for sources in islice(product(*axes), first, end):
            try:
                settings = resolve(sources)
            except UsageError as error:
                yield Invalid(max(1, len(sizes)) * runs, error.message)
                continue
            for size in sizes or (settings.made_for or default,):
                try:
                    network_input(settings, size)
                except UsageError as error:
                    yield Invalid(runs, error.message)
                else:
                    yield settings.at(size), size

    def executions(self) -> list[Execution]:
        """Return every combination of the keys of `Execution`."""
        axes = [axis for axis in self.axes if axis.key in EXECUTION_KEYS]
        return [
            Execution(**dict(zip((axis.key for axis in axes), values, strict=True)))
            for values in product(*(axis.values for axis in axes))
        ]

    def _settings_axes(self) -> list[Axis]:
        return [axis for axis in self.axes if axis.key not in (*EXECUTION_KEYS, "size")]


def _precedence(axis: Axis) -> tuple[int, int]:
    """Return the sort key of an axis. Later axes override earlier ones and vary faster, so the backbone is early."""
    path = path_of(axis.key)
    order = ("preset", "config", "backbone", "stages")
    first = order.index(path[0]) if path[0] in order else len(order) + (path[0] in ("pyramid", "head"))
    return first, len(path)
