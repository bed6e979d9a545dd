"""The content of a store, checked: the values of rows and of JSON columns, and the first damage."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from math import isfinite
from typing import Any, Generic, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import JSON, Column, Connection, Float, Integer, Row, Table, select

from mnfpn_cli.documents.base import KEY_DIGITS
from mnfpn_cli.documents.records import Samples
from mnfpn_cli.documents.sweep import PlanRecord
from mnfpn_cli.documents.worker import Measured
from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.settings.measuring import PASSES
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.rows import RunStatus


class DamagedError(Exception):
    """A row holds an invalid value. The message names the row and the rule; `translated_errors` adds the store."""


V = TypeVar("V")


@dataclass(frozen=True)
class JsonColumn(Generic[V]):
    """A JSON column, and the type that its values must have."""

    column: Column[Any]
    type: Any

    @cached_property
    def _adapter(self) -> TypeAdapter[V]:
        return TypeAdapter(self.type)

    def read(self, row: Row[Any]) -> V:
        """Return the value of a row in this column.

        Raises:
            DamagedError: where it does not have this type.
        """
        try:
            return self._adapter.validate_python(row._mapping[self.column])
        except SettingsError as error:
            problem = f"{self.column.name}.{error}"
        except ValidationError as error:
            problem = str(describe(error, (self.column.name,))[0])
        raise DamagedError(f"{_name(row, self.column.table)}: {problem}")


MEASURED = JsonColumn[Measured | None](t.results.c.document, Measured | None)
PLAN = JsonColumn[PlanRecord](t.sweeps.c.plan, PlanRecord)
SAMPLES = JsonColumn[tuple[float, ...]](t.baselines.c.samples, Samples)
SETTINGS = JsonColumn[NetworkSettings](t.networks.c.settings, NetworkSettings)
JSON_COLUMNS: tuple[JsonColumn[Any], ...] = (MEASURED, PLAN, SAMPLES, SETTINGS)

CHOICES: dict[Column[Any], tuple[str, ...]] = {
    t.runs.c.status: get_args(RunStatus),
    t.trainings.c.status: get_args(RunStatus),
    t.trainings.c.dtype: tuple(ITEM_BYTES),
    t.results.c.status: ("done", "failed"),
    t.runs.c.dtype: tuple(ITEM_BYTES),
    t.scores.c.dtype: tuple(ITEM_BYTES),
    t.runs.c.passes: PASSES,
}
"""The values that these columns may have."""

MOMENTS = {
    t.results.c.started,
    t.results.c.finished,
    t.sweeps.c.started,
    t.baselines.c.finished,
    t.scores.c.date,
    t.trainings.c.started,
    t.trainings.c.finished,
}
"""The columns that hold a moment in ISO 8601 with a time zone."""

MAY_BE_ZERO = {t.runs.c.beat, t.trainings.c.beat, t.results.c.sweep, t.sweep_runs.c.position}
"""The columns of whole numbers from 0; those of the others are 1 or more."""

ROW_NAMES = {
    t.runs: "run",
    t.results: "result",
    t.sweeps: "sweep",
    t.baselines: "baseline timing",
    t.networks: "network",
    t.scores: "score",
    t.trainings: "training",
}


@dataclass(frozen=True, slots=True)
class _Check:
    """The rule for the values of a column; ``index`` is its position in a row."""

    index: int
    name: str
    may_be_null: bool
    is_valid: Callable[[Any], bool]
    rule: str


def check_row(row: Row[Any], table: Table) -> Row[Any]:
    """Return a row with all columns of a table after checking those that are not JSON; `JsonColumn` checks the others.

    Raises:
        DamagedError: where a value is invalid.
    """
    for check in _checks(table):
        value = row[check.index]
        if not (check.is_valid(value) or (value is None and check.may_be_null)):
            raise DamagedError(f"{_name(row, table)}: {check.name}: {check.rule}, got {str(value)[:60]!r}")
    return row


def check_row_and_json(row: Row[Any], table: Table) -> Row[Any]:
    """Return a row after checking all of its columns, as `check_row`."""
    for json_column in JSON_COLUMNS:
        if json_column.column.table is table:
            json_column.read(row)
    return check_row(row, table)


def _name(row: Row[Any], table: Any) -> str:
    key = str(getattr(row, next(iter(table.primary_key)).name))[:KEY_DIGITS]
    return f"{ROW_NAMES.get(table, 'row')} {key}"


def find_damage(connection: Connection) -> str:
    """Check every row of a store, and return the first damage; empty where it is sound.

    Raises:
        Exception: of any type, where the database cannot be read.
    """
    for table in t.metadata.sorted_tables:
        names = connection.exec_driver_sql(f"SELECT * FROM {table.name} LIMIT 0").keys()
        missing = [column.name for column in table.columns if column.name not in names]
        if missing:
            return f"{table.name} lacks the column {missing[0]}"
        try:
            for row in connection.execute(select(table)):
                check_row_and_json(row, table)
        except DamagedError as error:
            return str(error)
        except (ValueError, RecursionError) as error:
            return f"{table.name} holds invalid JSON: {error}"
    return _integrity_problem(connection) if connection.dialect.name == "sqlite" else ""


def _integrity_problem(connection: Connection) -> str:
    """Return the first broken reference or page of an SQLite file; a server rejects broken references itself."""
    for child, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        return f"a row of {child} refers to a row that {parent} lacks"
    return "; ".join(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars()).removesuffix("ok")


@lru_cache
def _checks(table: Table) -> tuple[_Check, ...]:
    columns = enumerate(table.columns)
    return tuple(_check(index, column) for index, column in columns if not isinstance(column.type, JSON))


def _check(index: int, column: Column[Any]) -> _Check:
    is_valid, rule = _rule(column)
    return _Check(index, column.name, bool(column.nullable), is_valid, rule)


def _rule(column: Column[Any]) -> tuple[Callable[[Any], bool], str]:
    """Return the check of a column's values, and the rule in words."""
    if isinstance(column.type, Integer):
        least = 0 if column in MAY_BE_ZERO else 1
        return lambda value: isinstance(value, int) and value >= least, f"must be a whole number, {least} or more"
    if column is t.scores.c.value:
        return lambda value: isinstance(value, int | float) and isfinite(value), "must be a finite number"
    if isinstance(column.type, Float):
        return lambda value: isinstance(value, int | float) and value > 0, "must be a number above 0"
    if column in MOMENTS:
        return _is_moment, "must be a moment, as 2026-01-31T12:00:00+00:00"
    if column in CHOICES:
        choices = CHOICES[column]
        return lambda value: value in choices, f"must be one of {', '.join(choices)}"
    return lambda value: isinstance(value, str), "must be text"


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
