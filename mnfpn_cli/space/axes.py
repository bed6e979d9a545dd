"""A design space: axes of choices, whose combinations are its runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.levels import network_input, resolve
from mnfpn_cli.settings.input import DEFAULT_SIZE, Size, parse_size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import path_of
from mnfpn_cli.settings.sources import Source, value_problems
from mnfpn_cli.space.runs import Execution

MAX_RUNS = 1_000_000
"""A million runs are planned in minutes; more is a mistake more often than a wish."""

EXECUTION = ("batch", "dtype", "runtime", "device", "threads", "train")


@dataclass(frozen=True, slots=True)
class Axis:
    """The choices for one key: dotted, of the settings, or one of ``size`` and `EXECUTION`.

    ``name`` is what errors call it by: an option, or a place in a file. The values of ``preset`` and ``config`` are
    whole sources of settings.
    """

    key: str
    name: str
    values: tuple[Any, ...]

    def sources(self) -> list[Source]:
        """The choices of a key of the settings."""
        path = path_of(self.key)
        return [one if isinstance(one, Source) else Source(self.name, one, path) for one in self.values]


@dataclass(frozen=True, slots=True)
class Invalid:
    """A combination that is no network, or one that the size is too small for: so many runs of it, and why."""

    runs: int
    reason: str


@dataclass(frozen=True, slots=True)
class Space:
    """Axes, each key once; what is not among them has its usual value."""

    axes: tuple[Axis, ...]

    @property
    def count(self) -> int:
        """How many combinations there are, valid or not."""
        return prod(len(axis.values) for axis in self.axes)

    @property
    def files(self) -> list[Path]:
        """The settings files among the choices."""
        return [Path(source.name) for axis in self.axes if axis.key == "config" for source in axis.sources()]

    def check(self) -> None:
        """Refuse what nobody can wait for, and choices that no other key can make valid.

        Raises:
            UsageError: with the count, or the choices.
        """
        if self.count > MAX_RUNS:
            largest = ", ".join(f"{axis.key} {len(axis.values):,}" for axis in self.axes if len(axis.values) > 1)
            raise UsageError(
                Problem("the space", f"must have at most {MAX_RUNS:,} runs", f"{self.count:,} ({largest})")
            )
        wrong = [wrong for axis in self._of_settings() for one in axis.sources() for wrong in value_problems(one)]
        if wrong:
            raise UsageError(*dict.fromkeys(wrong))

    @property
    def combinations(self) -> int:
        """How many combinations of settings there are, sizes and ways to run them apart."""
        return prod(len(axis.values) for axis in self._of_settings())

    def networks(self, first: int = 0, end: int | None = None) -> Iterator[tuple[NetworkSettings, Size] | Invalid]:
        """Each network at each size, or why it is none; those that share a backbone come in a row.

        ``first``, ``end``: only the combinations of settings from one to before the other.
        """
        axes = [axis.sources() for axis in sorted(self._of_settings(), key=_in_order)]
        sizes = next((axis.values for axis in self.axes if axis.key == "size"), ())
        runs = len(self.executions())
        for sources in islice(product(*axes), first, end):
            try:
                settings = resolve(sources)
            except UsageError as error:
                yield Invalid(max(1, len(sizes)) * runs, error.message)
                continue
            for size in sizes or (settings.made_for or parse_size(DEFAULT_SIZE),):
                try:
                    network_input(settings, size)
                except UsageError as error:
                    yield Invalid(runs, error.message)
                else:
                    yield settings.at(size), size

    def executions(self) -> list[Execution]:
        """The ways in which each network is run."""
        axes = [axis for axis in self.axes if axis.key in EXECUTION]
        return [
            Execution(**dict(zip((axis.key for axis in axes), values, strict=True)))
            for values in product(*(axis.values for axis in axes))
        ]

    def _of_settings(self) -> list[Axis]:
        return [axis for axis in self.axes if axis.key not in (*EXECUTION, "size")]


def _in_order(axis: Axis) -> tuple[int, int]:
    """Where an axis belongs: later beats earlier, and what leaves the backbone as it is changes fastest."""
    path = path_of(axis.key)
    order = ("preset", "config", "backbone", "stages")
    first = order.index(path[0]) if path[0] in order else len(order) + (path[0] in ("pyramid", "head"))
    return first, len(path)
