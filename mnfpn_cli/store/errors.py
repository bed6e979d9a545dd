"""What can go wrong with a store, in words; and trying again what a database may fail at for a moment."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.store.damage import DamagedError, find_damage


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
        return _of_sqlite(cause, shown(url))
    state = getattr(cause, "sqlstate", None) or ""
    line = str(cause).strip().partition("\n")[0]
    if state in STATES:
        return StoreError(Problem("`store`", f"{shown(url)} {STATES[state]}"))
    if _names(error, "OperationalError", "InterfaceError", "InternalError") or state in ("42501", "3F000"):
        return StoreError(Problem("`store`", f"{shown(url)}: {line}"))
    if not state and any(sign in line for sign in REFUSALS):
        return UsageError(Problem("`store`", f"{shown(url)}: {line}"))
    return None


def shown(url: URL) -> str:
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
def told(engine: Engine) -> Iterator[None]:
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
    return StoreError(Problem("`store`", f"{shown(engine.url)} is damaged: {damage}"))


def _damage(engine: Engine) -> str:
    """What a store holds that it should not; nothing where it is sound."""
    try:
        with engine.connect() as connection:
            return find_damage(connection)
    except Exception as error:  # noqa: BLE001 - nothing fails there on a sound store: it cannot be looked through
        text = str(getattr(error, "orig", error))
        return f"{text[:1].lower()}{text[1:]}"
