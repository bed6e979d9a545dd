"""The runs of a store by what a score is of: the network, at a size in a dtype; and the scores given to them."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.overrides import flatten, parse_value
from mnfpn_cli.store.read import SHORTEST_KEY
from mnfpn_cli.store.rows import StoredRun
from mnfpn_cli.text import counted

SIZE, DTYPE = "size", "dtype"
"""What says which network a score is of, besides its settings."""

SharedScores = tuple[int, Size, str]
"""What a score is of: the identity of the settings, which runs of one network share, the size, and the dtype."""


def scored_network(run: StoredRun) -> SharedScores:
    """Return what the scores of a run are of."""
    return id(run.settings), run.size, run.execution.dtype


@dataclass(frozen=True, slots=True)
class GivenScore:
    """A score as it was given.

    Attributes:
        where: its place in messages.
        metric: the name of its metric.
        value: the score.
        runs: all runs of the store that it is of: those of one network, size and dtype.
        exported: whether it stands in a column that `mnfpn runs export` writes.
    """

    where: str
    metric: str
    value: float
    runs: Sequence[StoredRun]
    exported: bool = False

    @property
    def is_known(self) -> bool:
        """Whether it is the score that the store has, as an export repeats it: its source and date stay."""
        known = self.runs[0].scores.get(self.metric)
        return self.exported and known is not None and known.value == self.value


class ScoredRuns:
    """The runs of a store, found by key or by settings, with all runs that share their scores."""

    def __init__(self, runs: Sequence[StoredRun], store: str) -> None:
        self.store = store
        self._runs = sorted(runs, key=lambda one: one.key)
        self._keys = [one.key for one in self._runs]
        self._groups = dict[SharedScores, list[StoredRun]]()
        for one in runs:
            self._groups.setdefault(scored_network(one), []).append(one)
        # Once for each network: thousands of rows are compared with it.
        self._settings = {id(one.settings): flatten(one.settings) for one in runs}
        self._indices = dict[tuple[str, ...], dict[tuple[str, ...], list[SharedScores]]]()

    @property
    def setting_keys(self) -> list[str]:
        """The dotted keys of all settings of the networks."""
        return list(dict.fromkeys(key for one in self._settings.values() for key in one))

    def by_key(self, where: str, key: str) -> Sequence[StoredRun]:
        """Return the runs that share the scores of the run whose key begins with these digits.

        Raises:
            UsageError: where no run matches, or several do.
        """
        matching, digits = [], key.lower()
        if len(key) >= SHORTEST_KEY:
            first = bisect_left(self._keys, digits)
            matching = list(takewhile(lambda one: one.key.startswith(digits), islice(self._runs, first, None)))
        if len(matching) != 1:
            what = f", which matches {counted(len(matching), 'run')}" if len(key) >= SHORTEST_KEY else ""
            rule = f"must be the key of one run in {self.store}, or its first {SHORTEST_KEY} digits or more"
            raise UsageError(Problem(where, rule, f"'{key}'", what))
        return self._groups[scored_network(matching[0])]

    def by_settings(self, where: str, texts: Mapping[str, str]) -> Sequence[StoredRun]:
        """Return the runs of the one network, size and dtype that texts of settings name.

        An empty text leaves its setting open; where several networks are left, it stands for no value.

        Raises:
            UsageError: where they name none, or several.
        """
        given = {key: text for key, text in texts.items() if text}
        index = self._index(tuple(given))
        found = index.get(tuple(_canonical(key, text) for key, text in given.items()), [])
        if len(found) > 1:
            blank = [key for key, text in texts.items() if not text and key not in (SIZE, DTYPE)]
            found = [of for of in found if all(self._settings[of[0]].get(key) is None for key in blank)] or found
        if len(found) != 1:
            named = ", ".join(f"{key} {text}" for key, text in given.items())
            what = f", which matches {counted(len(found), 'network')}"
            rule = f"must name one network, size and dtype of a run in {self.store}"
            raise UsageError(Problem(where, rule, f"'{named}'", what))
        return self._groups[found[0]]

    def _index(self, keys: tuple[str, ...]) -> Mapping[tuple[str, ...], list[SharedScores]]:
        """Return what scores are of, by the values of these settings."""
        if keys not in self._indices:
            index = self._indices[keys] = {}
            for of in self._groups:
                values = {**self._settings[of[0]], SIZE: str(of[1]), DTYPE: of[2]}
                index.setdefault(tuple(_comparable(values.get(key)) for key in keys), []).append(of)
        return self._indices[keys]


def _canonical(key: str, text: str) -> str:
    """Return a text as `_comparable` returns the value that it stands for; ``320`` is the size ``320x320``."""
    if key == SIZE:
        return text if "x" in text else f"{text}x{text}"
    return _comparable(parse_value(text.lower() if text in ("True", "False") else text))


def _comparable(value: Any) -> str:
    """Return a text that equal values share: of 1 and 1.0, for example."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return json.dumps(float(value) if is_number else value)


def unique_scores(given: Iterable[GivenScore]) -> list[GivenScore]:
    """Return the scores, one for each network and metric.

    Raises:
        UsageError: where a network gets two values by one metric.
    """
    known = dict[tuple[SharedScores, str], GivenScore]()
    for one in given:
        first = known.setdefault((scored_network(one.runs[0]), one.metric), one)
        if first.value != one.value:
            rule = f"must be the value that the same network has at {first.where}, {first.value:g}"
            raise UsageError(Problem(one.where, rule, f"{one.value:g}"))
        if first.exported and not one.exported:
            known[scored_network(one.runs[0]), one.metric] = one
    return list(known.values())
