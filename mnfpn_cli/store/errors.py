"""Errors of a store: what a database reports, in words, and which errors are retried."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.store.checks import DamagedError, find_damage


class StoreError(MnfpnError):
    """The store could not be read or written. Its content is unchanged."""


PRIMARY = 0xFF
"""The bits of an SQLite error code that hold its primary code."""

TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
"""SQLite codes of errors that may pass: another process has locked the file, or a network drive is unreachable."""

SQLITE_ERRORS: dict[int, tuple[type[MnfpnError], str]] = {
    sqlite3.SQLITE_NOTADB: (UsageError, "must be a store of mnfpn, but is not an SQLite database: {}"),
    sqlite3.SQLITE_CORRUPT: (StoreError, "{} is damaged: SQLite reports malformed pages"),
    sqlite3.SQLITE_READONLY: (StoreError, "{} could not be written: it, or its folder, is read-only"),
    sqlite3.SQLITE_PERM: (StoreError, "{} could not be opened: this user lacks permission"),
    sqlite3.SQLITE_FULL: (StoreError, "{} could not be written: the disk is full"),
    sqlite3.SQLITE_BUSY: (StoreError, "{} could not be read or written: another process has locked it"),
    sqlite3.SQLITE_LOCKED: (StoreError, "{} could not be read or written: it is locked"),
    sqlite3.SQLITE_CANTOPEN: (
        StoreError,
        "{} could not be opened: may this user read and write it and its folder?",
    ),
    sqlite3.SQLITE_IOERR: (StoreError, "{} could not be read or written: the disk reports an error"),
}
"""The class and the message of each SQLite code; ``{}`` is the store."""

MISMATCH = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_MISMATCH, 0}
"""SQLite codes where a statement and the tables do not match: either mnfpn has a bug, or the store is damaged."""

TRANSIENT_STATES = ("08", "40", "53", "55P03", "57P01", "57P02", "57P03", "25P03")
"""PostgreSQL codes, or their first digits, of errors that may pass: lost connections, deadlocks, a starting server."""

SERVER_ERRORS = {
    "53100": "could not be written: the server's disk is full",
    "25006": "could not be written: the server is read-only",
    "42P01": "lacks tables that a store of mnfpn has",
    "55P03": "could not be written: another process has locked it",
}
"""The messages of some PostgreSQL codes; for the others, the server's own message is shown."""

REFUSALS = ("authentication failed", "does not exist", "no password supplied", "pg_hba.conf", "invalid connection")
"""Parts of the messages of refused connections, which are not retried. These errors have no code."""


def is_transient(error: Exception) -> bool:
    """Return whether an error may pass, so that a retry may succeed."""
    cause = getattr(error, "orig", None)
    if not isinstance(error, DBAPIError) or cause is None:
        return False
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in TRANSIENT
    state = getattr(cause, "sqlstate", None)
    if state:
        return state not in ("53100",) and state.startswith(TRANSIENT_STATES)
    return _names(error, "OperationalError", "InterfaceError") and not any(sign in str(cause) for sign in REFUSALS)


def translate(error: DBAPIError, url: URL) -> MnfpnError | None:
    """Return the error of a database as one of mnfpn; None where it may be a bug or a damaged store."""
    cause: Any = error.orig
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, without_password(url))
    state = getattr(cause, "sqlstate", None) or ""
    line = str(cause).strip().partition("\n")[0]
    if state in SERVER_ERRORS:
        return StoreError(Problem("`store`", f"{without_password(url)} {SERVER_ERRORS[state]}"))
    if _names(error, "OperationalError", "InterfaceError", "InternalError") or state in ("42501", "3F000"):
        return StoreError(Problem("`store`", f"{without_password(url)}: {line}"))
    if not state and any(sign in line for sign in REFUSALS):
        return UsageError(Problem("`store`", f"{without_password(url)}: {line}"))
    return None


def without_password(url: URL) -> str:
    """Return a store as messages name it, in quotes: its file, or its URL without password and query."""
    if url.get_backend_name() == "sqlite":
        return f"'{url.database}'"
    return f"'{url.set(query={}).render_as_string(hide_password=True)}'"


def _of_sqlite(cause: sqlite3.Error, name: str) -> MnfpnError | None:
    code = _sqlite_code(cause)
    if code in SQLITE_ERRORS:
        kind, rule = SQLITE_ERRORS[code]
        return kind(Problem("`store`", rule.format(name)))
    if "no such table" in str(cause):
        return StoreError(Problem("`store`", f"{name} lacks tables that a store of mnfpn has"))
    if code in MISMATCH:
        return None
    return StoreError(Problem("`store`", f"{name} could not be read or written: {cause}"))


def _sqlite_code(cause: sqlite3.Error) -> int:
    return getattr(cause, "sqlite_errorcode", 0) & PRIMARY


def _names(error: DBAPIError, *names: str) -> bool:
    return type(error).__name__ in names


T = TypeVar("T")

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts where a server is lost during work, or a file is locked: half a minute in total."""

OPENING_WAITS_S = (0.5, 1.0)
"""Seconds between attempts to open a store: shorter, as nothing was measured yet and the name may be wrong."""


def with_retries(work: Callable[[], T], waits_s: tuple[float, ...] = WAITS_S) -> T:
    """Call ``work``, and again after each wait in seconds while it fails with a transient error."""
    for wait_s in waits_s:
        try:
            return work()
        except DBAPIError as error:
            if not is_transient(error):
                raise
        time.sleep(wait_s)
    return work()


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Translate errors of the ``with`` block whose cause is the database or its content.

    After any other error the store is searched for damage, which is then the error. If it is sound, the error is a bug
    and passes unchanged.

    Raises:
        UsageError: where it is not a store.
        StoreError: where it cannot be read or written, or is damaged.
    """
    try:
        yield
    except MnfpnError:
        raise
    except DamagedError as error:
        raise _damage_error(engine, str(error)) from None
    except Exception as error:
        translated = translate(error, engine.url) if isinstance(error, DBAPIError) else None
        damage = "" if translated else _damage(engine)
        if not translated and not damage:
            raise
        raise translated or _damage_error(engine, damage) from error


def _damage_error(engine: Engine, damage: str) -> StoreError:
    return StoreError(Problem("`store`", f"{without_password(engine.url)} is damaged: {damage}"))


def _damage(engine: Engine) -> str:
    """Return the first damage in a store; empty where it is sound."""
    try:
        with engine.connect() as connection:
            return find_damage(connection)
    except Exception as error:  # noqa: BLE001 - any error of this search is damage
        text = str(getattr(error, "orig", error))
        return f"{text[:1].lower()}{text[1:]}"
