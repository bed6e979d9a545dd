"""Give the networks of a store scores, as somebody measured them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import file_name, words
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnfpn_cli.api.arguments import FileName
    from mnfpn_cli.documents.runs import RunsScoreDocument
    from mnfpn_cli.store.rows import StoredRun
    from mnfpn_cli.store.scored_runs import GivenScore, ScoredRuns

SETTING_COLUMN = "settings."
"""Begins the columns of settings, in what `mnfpn runs export` writes."""

KIND = "a file of scores"
MAX_BYTES = 100_000_000

SCORE_COLUMN = "scores."
"""Begins the columns of the metrics that a store has already, in what `mnfpn runs export` writes."""


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
    from mnfpn_cli.store.scored_runs import ScoredRuns, unique_scores
    from mnfpn_cli.store.scores import add_scores, of_run
    from mnfpn_cli.store.store import open_store
    from mnfpn_cli.store.sweeps import now

    if source is not None:
        words("source", source)
    with open_store(file_name("store", store)) as opened:
        runs = ScoredRuns(read_runs(opened), opened.name)
        if isinstance(scores, Mapping):
            given, origin = list(_by_key(scores, runs)), "given by hand"
        else:
            origin = file_name("scores", scores)
            given = list(_of_file(origin, runs))
        new = [one for one in unique_scores(given) if not one.is_known]
        date = now()
        stored = [of_run(one.runs[0], StoredScore(one.metric, one.value, source or origin, date)) for one in new]
        add_scores(opened, stored)
        return _document(opened.location, new, source or origin)


def _document(store: str, new: Sequence[GivenScore], source: str) -> RunsScoreDocument:
    from mnfpn_cli.documents.runs import GivenScoreRecord, RunsScoreDocument
    from mnfpn_cli.space.runs import identities, name_of

    named = identities([one.runs[0].planned.run for one in new]) if new else []
    return RunsScoreDocument(
        settings=None,
        model=None,
        store=store,
        scores=tuple(
            GivenScoreRecord(
                name=name_of(identity),
                size=str(one.runs[0].size),
                dtype=one.runs[0].execution.dtype,
                metric=one.metric,
                value=one.value,
                source=source,
                runs=len(one.runs),
            )
            for one, identity in zip(new, named, strict=True)
        ),
    )


def _by_key(scores: Mapping[str, Mapping[str, float]], runs: ScoredRuns) -> Iterator[GivenScore]:
    """Yield the scores of runs that are named by keys.

    Raises:
        UsageError: where a key matches no run or several, or a score is malformed.
    """
    from mnfpn_cli.store.scored_runs import GivenScore
    from mnfpn_cli.store.scores import check_metric, check_score

    if not scores or not all(isinstance(one, Mapping) and one for one in scores.values()):
        raise UsageError(Problem("`scores`", "must have a score for at least one key, as {'3f2a': {'map': 0.231}}"))
    for key, values in scores.items():
        of = runs.by_key(f"'{key}'", str(key))
        for metric, value in values.items():
            where = f"{metric} of '{key}'"
            yield GivenScore(where, check_metric(where, metric), check_score(where, value), of)


def _of_file(name: str, runs: ScoredRuns) -> Iterator[GivenScore]:
    """Yield the scores of a CSV file: the values of each row in the columns of metrics.

    Raises:
        UsageError: where the file is no such table, has no score, or a row names no network of the store or several.
        MnfpnError: where the file cannot be read.
    """
    from mnfpn_cli.store.scored_runs import GivenScore
    from mnfpn_cli.store.scores import check_metric, check_score

    lines = _read_csv(name)
    if len(lines) < 2:
        raise UsageError(Problem(name, "must have a line of names and a line for each score", "an empty table"))
    (_, header), *rows = lines
    columns = _columns(name, header, runs.setting_keys)
    any_score = False
    for number, cells in rows:
        where = f"{name}, line {number}"
        if len(cells) != len(header):
            raise UsageError(
                Problem(where, f"must have {len(header)} values, as the line of names has", str(len(cells)))
            )
        row = {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
        scored = [column for column in columns.metrics if row[column]]
        if not scored:
            continue
        any_score = True
        of = _runs_of(where, row, columns, runs)
        for column in scored:
            place, metric = f"{where}, {column}", columns.metrics[column]
            exported = column.startswith(SCORE_COLUMN)
            yield GivenScore(place, check_metric(place, metric), check_score(place, row[column]), of, exported)
    if not any_score:
        raise UsageError(Problem(name, f"must have a score in a column of metrics ({', '.join(columns.metrics)})"))


def _runs_of(where: str, row: Mapping[str, str], columns: ScoreColumns, runs: ScoredRuns) -> Sequence[StoredRun]:
    """Return the runs that a row names, by its key where it has one."""
    if columns.has_keys and row["key"]:
        return runs.by_key(f"{where}, key", row["key"])
    cells = {key: row[column] for column, key in columns.settings.items()}
    return runs.by_settings(where, cells | {key: row.get(key, "") for key in ("size", "dtype")})


def _read_csv(name: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a CSV file that are not empty, each with the number of its first line.

    Raises:
        UsageError: where it is none.
        MnfpnError: where the file cannot be read.
    """
    from mnfpn_cli.settings.strict_json import read_file

    content = read_file(name, KIND, MAX_BYTES)
    rows, first = list[tuple[int, list[str]]](), 1
    limit = csv.field_size_limit(MAX_BYTES)  # an export has the times of all passes in one value
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((first, cells))
            first = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(Problem(name, "must be comma-separated values in UTF-8", f"'{error}'")) from None
    finally:
        csv.field_size_limit(limit)
    return rows


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The columns of a file: ``metrics`` by name, as the store names them, and ``settings`` by name, as dotted keys."""

    metrics: Mapping[str, str]
    settings: Mapping[str, str]
    has_keys: bool


def _columns(name: str, header: Sequence[str], keys: Sequence[str]) -> ScoreColumns:
    """Sort the columns of a file; ``keys``: the dotted keys of the settings of the store.

    Raises:
        UsageError: where a column is given twice, or there is none of runs or none of metrics.
    """
    from mnfpn_cli.report.rows import reported_columns, stored_columns

    settings = {one: key for one in header if (key := _setting(one)) in keys}
    unknown = [one for one in header if one.startswith(SETTING_COLUMN) and one not in settings]
    if unknown:
        near = did_you_mean(unknown[0], [f"{SETTING_COLUMN}{key}" for key in keys])
        raise UsageError(Problem(name, "must name settings that networks of the store have", f"'{unknown[0]}'", near))
    others = {*stored_columns(), *reported_columns(), *settings}
    metrics = {one: one.removeprefix(SCORE_COLUMN) for one in header if one.strip() and one not in others}
    meanings = Counter(settings.get(one) or metrics.get(one) or one for one in header if one.strip())
    twice = [one for one in header if meanings[settings.get(one) or metrics.get(one) or one] > 1]
    if twice:
        raise UsageError(
            Problem(name, "must have one column for each metric and setting", f"'{twice[0]}', '{twice[1]}'")
        )
    if not metrics:
        raise UsageError(Problem(name, "must have a column for each metric besides those of runs", ", ".join(header)))
    has_keys = "key" in header
    if not (has_keys or settings or "size" in header):
        rule = "must have a column 'key', or columns of settings, size and dtype, to say which network a score is of"
        raise UsageError(Problem(name, rule, ", ".join(header)))
    return ScoreColumns(metrics, settings, has_keys)


def _setting(column: str) -> str:
    """Return the dotted key that a column may name, as an export or an option writes it."""
    return column.lstrip("-").removeprefix(SETTING_COLUMN).replace("-", "_")
