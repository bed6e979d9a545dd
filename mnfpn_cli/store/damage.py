"""What a row of a store must hold: one that was changed by hand, or by a fault of the disk, is told, and not used."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import JSON, Column, Connection, Float, Integer, Row, Table, select

from mnfpn_cli.documents.measurement import Samples
from mnfpn_cli.documents.sweep import PlanRecord
from mnfpn_cli.documents.work import Measured
from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe
from mnfpn_cli.space.cells import PASSES
from mnfpn_cli.store import tables as t
from mnfpn_cli.store.rows import Status


class DamagedError(Exception):
    """A row is not what a store holds; the message names the row and the rule. `store.errors.told` names the store."""


T = TypeVar("T")


@dataclass(frozen=True)
class JsonColumn(Generic[T]):
    """A column of JSON, and the kind of value that it must hold."""

    column: Column[Any]
    kind: Any

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.kind)

    def read(self, row: Row[Any]) -> T:
        """Return what a row has in this column.

        Raises:
            DamagedError: where that is of another kind.
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
SAMPLES = JsonColumn[tuple[float, ...]](t.references.c.samples, Samples)
SETTINGS = JsonColumn[NetworkSettings](t.networks.c.settings, NetworkSettings)
JSON_COLUMNS: tuple[JsonColumn[Any], ...] = (MEASURED, PLAN, SAMPLES, SETTINGS)

CHOICES: dict[Column[Any], tuple[str, ...]] = {
    t.cells.c.status: get_args(Status),
    t.results.c.status: ("done", "failed"),
    t.cells.c.dtype: tuple(ITEM_BYTES),
    t.cells.c.passes: PASSES,
}
"""The words that there are for some columns."""

MOMENTS = {t.results.c.started, t.results.c.finished, t.sweeps.c.started, t.references.c.finished}
MAY_BE_ZERO = {t.cells.c.beat, t.results.c.sweep, t.members.c.position}

NAMES = {
    t.cells: "cell",
    t.results: "result",
    t.sweeps: "sweep",
    t.references: "time of a reference",
    t.networks: "network",
}
DIGITS = 8


@dataclass(frozen=True, slots=True)
class _Check:
    """What the value of a column must be: ``fits`` says whether it is; ``index``: its place in a row."""

    index: int
    name: str
    may_be_null: bool
    fits: Callable[[Any], bool]
    rule: str


def checked(row: Row[Any], table: Table) -> Row[Any]:
    """A row with all columns of a table, if those that are not JSON hold what they must; `JsonColumn` reads the others.

    Raises:
        DamagedError: where they do not.
    """
    for check in _checks(table):
        value = row[check.index]
        if not (check.fits(value) or (value is None and check.may_be_null)):
            raise DamagedError(f"{_name(row, table)}: {check.name}: {check.rule}, got {str(value)[:60]!r}")
    return row


def wholly_checked(row: Row[Any], table: Table) -> Row[Any]:
    """The same where the JSON must be sound, too."""
    for one in JSON_COLUMNS:
        if one.column.table is table:
            one.read(row)
    return checked(row, table)


def _name(row: Row[Any], table: Any) -> str:
    key = str(getattr(row, next(iter(table.primary_key)).name))[:DIGITS]
    return f"{NAMES.get(table, 'row')} {key}"


def find_damage(connection: Connection) -> str:
    """Look through a whole store, and name the first thing in it that no store holds; nothing where it is sound.

    Raises:
        Exception: of any kind, where the database cannot even be looked through.
    """
    for table in t.metadata.sorted_tables:
        there = connection.exec_driver_sql(f"SELECT * FROM {table.name} LIMIT 0").keys()
        lacking = [one.name for one in table.columns if one.name not in there]
        if lacking:
            return f"{table.name} lacks the column {lacking[0]}"
        try:
            for row in connection.execute(select(table)):
                wholly_checked(row, table)
        except DamagedError as error:
            return str(error)
        except (ValueError, RecursionError) as error:
            return f"it holds text that should be JSON: {error}"
    return _broken_link(connection) if connection.dialect.name == "sqlite" else ""


def _broken_link(connection: Connection) -> str:
    """The first row that refers to one which is not there; a server keeps such rows out."""
    for child, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        return f"a row of {child} refers to one that {parent} lacks"
    return "; ".join(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars()).removesuffix("ok")


@lru_cache
def _checks(table: Table) -> tuple[_Check, ...]:
    columns = enumerate(table.columns)
    return tuple(_check(index, column) for index, column in columns if not isinstance(column.type, JSON))


def _check(index: int, column: Column[Any]) -> _Check:
    if isinstance(column.type, Integer):
        least = 0 if column in MAY_BE_ZERO else 1
        fits, rule = lambda value: isinstance(value, int) and value >= least, f"must be a whole number, {least} or more"
    elif isinstance(column.type, Float):
        fits, rule = lambda value: isinstance(value, int | float) and value > 0, "must be a number above 0"
    elif column in MOMENTS:
        fits, rule = _is_moment, "must be a moment, as 2026-01-31T12:00:00+00:00"
    elif column in CHOICES:
        words = CHOICES[column]
        fits, rule = lambda value: value in words, f"must be one of {', '.join(words)}"
    else:
        fits, rule = lambda value: isinstance(value, str), "must be text"
    return _Check(index, column.name, bool(column.nullable), fits, rule)


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
