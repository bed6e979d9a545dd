"""Give the networks of a store scores, as somebody measured them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnfpn_cli.api.arguments import file_name, words
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import counted, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnfpn_cli.api.arguments import FileName
    from mnfpn_cli.documents.runs import RunsScoreDocument
    from mnfpn_cli.store.rows import StoredRun
    from mnfpn_cli.store.scores import NewScore

KIND = "a file of scores"
MAX_BYTES = 100_000_000

SCORE_COLUMN = "scores."
"""Begins the columns of the metrics that a store has already, in what `mnfpn runs export` writes."""


@dataclass(frozen=True, slots=True)
class GivenScore:
    """A score as it was given; ``where``: its place in messages; ``runs``: those of one network, size and dtype."""

    where: str
    metric: str
    value: float
    runs: Sequence[StoredRun]


def score(
    store: FileName, scores: Mapping[str, Mapping[str, float]] | FileName, *, source: str | None = None
) -> RunsScoreDocument:
    """Give networks of a store scores by metrics of your own, of which more is better.

    A score holds for every run of the same network, size and dtype, by whatever runtime. All are stored, or none.
    A newer score replaces an older one.

    Args:
        store: an SQLite file or PostgreSQL URL.
        scores: the scores of runs, by key and metric, as ``{"3f2a": {"map": 0.231}}``; or the name of a CSV file with a
            column ``key``, or with columns of settings, size and dtype as `mnfpn runs export` writes them, and a column
            for each metric.
        source: where the scores come from; without it, the name of the file.

    Returns:
        The document: each score, and the number of runs that it is of.

    Raises:
        UsageError: where a key or a row matches no network of the store or several, a score is not a finite number, or
            one network gets two values.
        MnfpnError: where a file cannot be read, or the store cannot be read or written.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> mnfpn.score("none.db", {"3f2a": {"map": 0.231}})
        Traceback (most recent call last):
        mnfpn_cli.errors.UsageError: store: must be a store, but there is no file 'none.db'
    """
    from mnfpn_cli.store.read import read_runs
    from mnfpn_cli.store.rows import StoredScore
    from mnfpn_cli.store.scores import add_scores, of_run
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import now

    if source is not None:
        words("source", source)
    with open_store(file_name("store", store)) as opened:
        runs = read_runs(opened)
        if isinstance(scores, Mapping):
            given, origin = list(_by_key(scores, runs, opened.name)), "given by hand"
        else:
            origin = file_name("scores", scores)
            given = list(_of_file(origin, runs, opened.name))
        _check_unique(given)
        date = now()
        new = [of_run(one.runs[0], StoredScore(one.metric, one.value, source or origin, date)) for one in given]
        add_scores(opened, new)
        return _document(opened.location, new, runs)


def _document(store: str, new: Sequence[NewScore], runs: Sequence[StoredRun]) -> RunsScoreDocument:
    from mnfpn_cli.documents.runs import GivenScoreRecord, RunsScoreDocument
    from mnfpn_cli.space.runs import identities, name_of
    from mnfpn_cli.store.scores import runs_reached

    reached = [runs_reached(runs, [one]) for one in new]
    named = identities([some[0].planned.run for some in reached])
    return RunsScoreDocument(
        settings=None,
        model=None,
        store=store,
        scores=tuple(
            GivenScoreRecord(
                name=name_of(identity),
                size=str(one.size),
                dtype=one.dtype,
                metric=one.score.metric,
                value=one.score.value,
                source=one.score.source,
                runs=len(some),
            )
            for one, some, identity in zip(new, reached, named, strict=True)
        ),
    )


def _by_key(scores: Mapping[str, Mapping[str, float]], runs: Sequence[StoredRun], store: str) -> Iterator[GivenScore]:
    """Yield the scores of runs that are named by keys.

    Raises:
        UsageError: where a key matches no run or several, or a score is malformed.
    """
    from mnfpn_cli.store.scores import check_metric, check_score

    if not scores or not all(isinstance(one, Mapping) and one for one in scores.values()):
        raise UsageError(Problem("`scores`", "must have a score for at least one key, as {'3f2a': {'map': 0.231}}"))
    for key, values in scores.items():
        run = _run_of(f"'{key}'", str(key), runs, store)
        for metric, value in values.items():
            where = f"{metric} of '{key}'"
            yield GivenScore(where, check_metric(where, metric), check_score(where, value), [run])


def _run_of(where: str, key: str, runs: Sequence[StoredRun], store: str) -> StoredRun:
    from mnfpn_cli.store.read import SHORTEST_KEY

    matching = [one for one in runs if one.key.startswith(key.lower())] if len(key) >= SHORTEST_KEY else []
    if len(matching) != 1:
        what = f", which matches {counted(len(matching), 'run')}" if len(key) >= SHORTEST_KEY else ""
        rule = f"must be the key of one run in {store}, or its first {SHORTEST_KEY} digits or more"
        raise UsageError(Problem(where, rule, f"'{key}'", what))
    return matching[0]


def _of_file(name: str, runs: Sequence[StoredRun], store: str) -> Iterator[GivenScore]:
    """Yield the scores of a CSV file: each row's cells in the columns of metrics.

    Raises:
        UsageError: where the file is no such table, or a row names no network of the store or several.
        MnfpnError: where the file cannot be read.
    """
    from mnfpn_cli.store.scores import check_metric, check_score

    lines = list(_read_csv(name))
    if len(lines) < 2:
        raise UsageError(Problem(name, "must have a line of names and a line for each score", "an empty table"))
    (_, header), *rows = lines
    columns = _columns(name, header, runs)
    for number, cells in rows:
        where = f"{name}, line {number}"
        if len(cells) != len(header):
            raise UsageError(Problem(where, f"must have {len(header)} cells as the line of names", str(len(cells))))
        row = dict(zip(header, cells, strict=True))
        values = {columns.metrics[column]: row[column] for column in columns.metrics if row[column].strip()}
        if not values:
            continue
        matching = _matching(where, row, columns, runs, store)
        for metric, text in values.items():
            place = f"{where}, {metric}"
            yield GivenScore(place, check_metric(place, metric), check_score(place, text.strip()), matching)


def _read_csv(name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not empty, with the numbers of their lines."""
    from mnfpn_cli.settings.strict_json import read_file

    try:
        text = read_file(name, KIND, MAX_BYTES).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text), strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(Problem(name, "must be comma-separated values in UTF-8", f"'{error}'")) from None


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The columns of a file: ``metrics`` by name, as the store names them, and ``settings`` by name, as dotted keys."""

    metrics: Mapping[str, str]
    settings: Mapping[str, str]
    has_keys: bool


def _columns(name: str, header: Sequence[str], runs: Sequence[StoredRun]) -> ScoreColumns:
    """Sort the columns of a file.

    Raises:
        UsageError: where a column is given twice, or there is none of runs or none of metrics.
    """
    from mnfpn_cli.report.rows import stored_columns
    from mnfpn_cli.settings.overrides import flatten

    twice = [column for column, number in Counter(header).items() if number > 1]
    if twice:
        raise UsageError(Problem(name, "must name each column once", f"'{twice[0]}'"))
    keys = dict.fromkeys(key for one in runs for key in flatten(one.settings))
    settings = {one: one.removeprefix("settings.") for one in header if one.removeprefix("settings.") in keys}
    unknown = [one for one in header if one.startswith("settings.") and one not in settings]
    if unknown:
        near = did_you_mean(unknown[0], [f"settings.{key}" for key in keys])
        raise UsageError(Problem(name, "must name settings that networks of the store have", f"'{unknown[0]}'", near))
    others = {*stored_columns(), *settings, "name", "score", "on_frontier"}
    metrics = {one: one.removeprefix(SCORE_COLUMN) for one in header if one.strip() and one not in others}
    if not metrics:
        raise UsageError(Problem(name, "must have a column for each metric besides those of runs", ", ".join(header)))
    has_keys = "key" in header
    if not (has_keys or settings or "size" in header):
        rule = "must have a column 'key', or columns of settings, size and dtype, to say which network a score is of"
        raise UsageError(Problem(name, rule, ", ".join(header)))
    return ScoreColumns(metrics, settings, has_keys)


def _matching(
    where: str, row: Mapping[str, str], columns: ScoreColumns, runs: Sequence[StoredRun], store: str
) -> Sequence[StoredRun]:
    """Return the runs of the one network that a row names.

    Raises:
        UsageError: where it names none or several.
    """
    if columns.has_keys and (key := row["key"].strip()):
        return [_run_of(where, key, runs, store)]
    from mnfpn_cli.settings.overrides import flatten

    given = {key: row[column].strip() for column, key in columns.settings.items() if row[column].strip()}
    size, dtype = row.get("size", "").strip(), row.get("dtype", "").strip()
    matching = [
        one
        for one in runs
        if (not size or size in _spellings(str(one.size)))
        and (not dtype or dtype == one.execution.dtype)
        and all(_is_equal(text, flatten(one.settings).get(key)) for key, text in given.items())
    ]
    networks = {(one.settings, one.size, one.execution.dtype) for one in matching}
    if len(networks) != 1:
        named = ", ".join(f"{key} {text}" for key, text in {**given, "size": size, "dtype": dtype}.items() if text)
        what = f", which matches {counted(len(networks), 'network')}"
        rule = f"must name one network, size and dtype of a run in {store}"
        raise UsageError(Problem(where, rule, f"'{named}'", what))
    return matching


def _spellings(size: str) -> set[str]:
    """Return the ways to write a size: ``320x320`` is ``320`` too."""
    height, _, width = size.partition("x")
    return {size, height} if height == width else {size}


def _is_equal(text: str, value: Any) -> bool:
    """Whether a cell is the value of a setting."""
    if isinstance(value, str):
        return text == value
    try:
        return bool(json.loads(text.lower() if text in ("True", "False") else text) == value)
    except ValueError:
        return False


def _check_unique(given: Iterable[GivenScore]) -> None:
    """Check that no network gets two values by one metric.

    Raises:
        UsageError: where one does.
    """
    known = dict[tuple[object, ...], GivenScore]()
    for one in given:
        run = one.runs[0]
        first = known.setdefault((run.settings, run.size, run.execution.dtype, one.metric), one)
        if first.value != one.value:
            rule = f"must be the value that the same network has at {first.where}, {first.value:g}"
            raise UsageError(Problem(one.where, rule, f"{one.value:g}"))
