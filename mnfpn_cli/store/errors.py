"""What can be wrong with a store, in words: its server, its file, its contents."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import JSON, Column, Connection, Engine, Float, Integer, Row, Table, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from mnfpn_cli.documents.records import Samples
from mnfpn_cli.documents.sweep import PlanRecord
from mnfpn_cli.documents.worker import Measured
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe
from mnfpn_cli.space.runs import PASSES
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.rows import Status


class StoreError(MnfpnError):
    """The store could not be read or written; what it holds is as it was."""


PRIMARY = 0xFF
"""The bits of SQLite's codes that name the kind of error."""

PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
"""What SQLite says of a file that may be well again in a moment: another process has it, a network drive is away."""

SAYS: dict[int, tuple[type[MnfpnError], str]] = {
    sqlite3.SQLITE_NOTADB: (UsageError, "must be a store of mnfpn, but is not an SQLite database: {}"),
    sqlite3.SQLITE_CORRUPT: (StoreError, "{} is damaged: SQLite finds its pages malformed"),
    sqlite3.SQLITE_READONLY: (StoreError, "{} could not be written: it, or its folder, is read-only"),
    sqlite3.SQLITE_PERM: (StoreError, "{} could not be opened: this user may not"),
    sqlite3.SQLITE_FULL: (StoreError, "{} could not be written: the disk is full"),
    sqlite3.SQLITE_BUSY: (StoreError, "{} could not be read or written: another process has locked it"),
    sqlite3.SQLITE_LOCKED: (StoreError, "{} could not be read or written: it is locked"),
    sqlite3.SQLITE_CANTOPEN: (StoreError, "{} could not be opened: may this user read and write it, and its folder?"),
    sqlite3.SQLITE_IOERR: (StoreError, "{} could not be read or written: the disk reports an error"),
}
"""What SQLite's codes mean."""

UNCLEAR = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_MISMATCH, 0}
"""What SQLite says where a statement does not fit the tables: one of the two is wrong."""

PASSING_STATES = ("08", "40", "53", "55P03", "57P01", "57P02", "57P03", "25P03")
"""PostgreSQL's codes, or how they begin, of what may pass: a connection lost, a deadlock, a server that starts."""

STATES = {
    "53100": "could not be written: the server's disk is full",
    "25006": "could not be written: the server is read-only",
    "42P01": "lacks tables that a store of mnfpn has",
    "55P03": "could not be written: another process has locked it",
}
"""What some of PostgreSQL's codes mean; what the server says of the others is told as it is."""

REFUSALS = ("authentication failed", "does not exist", "no password supplied", "pg_hba.conf", "invalid connection")
"""Reasons why a server lets nobody in that do not pass by themselves. Such errors have no code."""


def passes(error: Exception) -> bool:
    """Whether trying again may help: a server that went away, a file that another process holds."""
    cause = getattr(error, "orig", None)
    if not isinstance(error, DBAPIError) or cause is None:
        return False
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in PASSING
    state = getattr(cause, "sqlstate", None)
    if state:
        return state not in ("53100",) and state.startswith(PASSING_STATES)
    return _names(error, "OperationalError", "InterfaceError") and not any(sign in str(cause) for sign in REFUSALS)


def explained(error: DBAPIError, url: URL) -> MnfpnError | None:
    """The error of a database as one of ours; None where its code does not say whose fault it is."""
    cause: Any = error.orig
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, without_password(url))
    state = getattr(cause, "sqlstate", None) or ""
    line = str(cause).strip().partition("\n")[0]
    if state in STATES:
        return StoreError(Problem("`store`", f"{without_password(url)} {STATES[state]}"))
    if _names(error, "OperationalError", "InterfaceError", "InternalError") or state in ("42501", "3F000"):
        return StoreError(Problem("`store`", f"{without_password(url)}: {line}"))
    if not state and any(sign in line for sign in REFUSALS):
        return UsageError(Problem("`store`", f"{without_password(url)}: {line}"))
    return None


def without_password(url: URL) -> str:
    """A store as messages name it: a file, or a server without any password."""
    if url.get_backend_name() == "sqlite":
        return f"'{url.database}'"
    return f"'{url.set(query={}).render_as_string(hide_password=True)}'"


def _of_sqlite(cause: sqlite3.Error, name: str) -> MnfpnError | None:
    code = _sqlite_code(cause)
    if code in SAYS:
        kind, words = SAYS[code]
        return kind(Problem("`store`", words.format(name)))
    if "no such table" in str(cause):
        return StoreError(Problem("`store`", f"{name} lacks tables that a store of mnfpn has"))
    if code in UNCLEAR:
        return None
    return StoreError(Problem("`store`", f"{name} could not be read or written: {cause}"))


def _sqlite_code(cause: sqlite3.Error) -> int:
    return getattr(cause, "sqlite_errorcode", 0) & PRIMARY


def _names(error: DBAPIError, *names: str) -> bool:
    return type(error).__name__ in names


T = TypeVar("T")

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between tries where a server has gone away in the middle, or a file is locked: half a minute in all."""

OPENING_WAITS_S = (0.5, 1.0)
"""The same when a store is opened: nothing is lost then, and a name that is wrong stays wrong."""


def retried(
    work: Callable[[], T], waits: tuple[float, ...] | None = None, sleep: Callable[[float], Any] | None = None
) -> T:
    """Do what a database may fail at for a moment, again and again with growing waits (`WAITS_S`)."""
    for wait in WAITS_S if waits is None else waits:
        try:
            return work()
        except DBAPIError as error:
            if not passes(error):
                raise
        (sleep or time.sleep)(wait)
    return work()


@contextmanager
def explaining(engine: Engine) -> Iterator[None]:
    """Turn whatever fails while a store is read or written into words, if the database or its content is the cause.

    An error that neither explains is looked into: where the store is damaged, the damage is told. An error of this
    program stays what it is.

    Raises:
        UsageError: where it is no store.
        StoreError: where it cannot be read or written, or is damaged.
    """
    try:
        yield
    except MnfpnError:
        raise
    except DamagedError as error:
        raise _damaged(engine, str(error)) from None
    except Exception as error:
        said = explained(error, engine.url) if isinstance(error, DBAPIError) else None
        damage = "" if said else _damage(engine)
        if not said and not damage:
            raise
        raise said or _damaged(engine, damage) from error


def _damaged(engine: Engine, damage: str) -> StoreError:
    return StoreError(Problem("`store`", f"{without_password(engine.url)} is damaged: {damage}"))


def _damage(engine: Engine) -> str:
    """What a store holds that it should not; nothing where it is sound."""
    try:
        with engine.connect() as connection:
            return find_damage(connection)
    except Exception as error:  # noqa: BLE001 - nothing fails there on a sound store: it cannot be looked through
        text = str(getattr(error, "orig", error))
        return f"{text[:1].lower()}{text[1:]}"


class DamagedError(Exception):
    """A row is not what a store holds; the message names the row and the rule. `store.errors.told` names the store."""


V = TypeVar("V")


@dataclass(frozen=True)
class JsonColumn(Generic[V]):
    """A column of JSON, and the kind of value that it must hold."""

    column: Column[Any]
    kind: Any

    @cached_property
    def _adapter(self) -> TypeAdapter[V]:
        return TypeAdapter(self.kind)

    def read(self, row: Row[Any]) -> V:
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
SAMPLES = JsonColumn[tuple[float, ...]](t.baselines.c.samples, Samples)
SETTINGS = JsonColumn[NetworkSettings](t.networks.c.settings, NetworkSettings)
JSON_COLUMNS: tuple[JsonColumn[Any], ...] = (MEASURED, PLAN, SAMPLES, SETTINGS)

CHOICES: dict[Column[Any], tuple[str, ...]] = {
    t.runs.c.status: get_args(Status),
    t.results.c.status: ("done", "failed"),
    t.runs.c.dtype: tuple(ITEM_BYTES),
    t.runs.c.passes: PASSES,
}
"""The words that there are for some columns."""

MOMENTS = {t.results.c.started, t.results.c.finished, t.sweeps.c.started, t.baselines.c.finished}
MAY_BE_ZERO = {t.runs.c.beat, t.results.c.sweep, t.sweep_runs.c.position}

NAMES = {
    t.runs: "run",
    t.results: "result",
    t.sweeps: "sweep",
    t.baselines: "time of a baseline",
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
