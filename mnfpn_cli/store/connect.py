"""Opening a store: a file or a server, its version, and transactions that are tried again where that helps."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from mnfpn_cli import __version__
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.store import tables
from mnfpn_cli.store.errors import StoreError, explained, passes, shown

T = TypeVar("T")

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between tries where a server has gone away, or a file is locked."""

CONNECT_S = 10
BUSY_S = 10
CREATING = 0x6D6E6670
"""The advisory lock under which a server's tables are made: two sweeps may come first."""


def store_url(name: str) -> URL:
    """A file, or a URL of SQLite or PostgreSQL.

    Raises:
        UsageError: where it is neither.
    """
    if "://" not in name:
        if not name or "\0" in name:
            raise UsageError(f"--store: must be a file or a URL, got '{name}'")
        return URL.create("sqlite", database=name)
    try:
        url = make_url(name)
    except (ArgumentError, ValueError):
        raise UsageError("--store: must be a file or a URL, as postgresql+psycopg://user@host/database") from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UsageError(f"--store: must be a file, or a URL of sqlite or postgresql+psycopg, got {url.drivername}")
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError("--store: must be a file: what is in memory would be lost")
    return url


def connect(url: URL, create: bool) -> Engine:
    """An engine on a store that is there and of this version; ``create``: made where there is none yet.

    Raises:
        UsageError: where it is no store, or a newer mnfpn's.
        StoreError: where it cannot be reached, read or written.
    """
    is_file = url.get_backend_name() == "sqlite"
    if is_file:
        _check_file(Path(str(url.database)), create)
    engine = _engine(url, is_file)
    with told(url):
        known = retried(lambda: _read_version(engine))
        if known is None and create:
            retried(lambda: _make(engine))
            known = retried(lambda: _read_version(engine))
    _check_version(url, known)
    return engine


def retried(work: Callable[[], T], waits: tuple[float, ...] = WAITS_S, sleep: Callable[[float], Any] = time.sleep) -> T:
    """Do what a database may fail at for a moment, again and again with growing waits."""
    for wait in waits:
        try:
            return work()
        except SQLAlchemyError as error:
            if not passes(error):
                raise
        sleep(wait)
    return work()


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Tell errors of the database in words.

    Raises:
        UsageError: where it is no store.
        StoreError: where it cannot be read or written.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise explained(error, url) from error


def _engine(url: URL, is_file: bool) -> Engine:
    if is_file:
        engine = create_engine(url, connect_args={"timeout": BUSY_S})
        event.listen(engine, "connect", _no_transactions_of_its_own)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S})
    except (ModuleNotFoundError, NoSuchModuleError):
        raise MnfpnError(
            "--store: a PostgreSQL server needs psycopg, which is not installed: pip install 'mnfpn[postgres]'"
        ) from None


def _no_transactions_of_its_own(connection: Any, _record: Any) -> None:
    """Leave transactions to SQLAlchemy: Python's sqlite3 begins them late, and some statements end them."""
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    """Take the lock of a writer at once: one that only reads first could not get it later without starting over."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_file(path: Path, create: bool) -> None:
    if path.is_dir():
        raise UsageError(f"--store: must be a file, but '{path}' is a folder")
    if not path.exists() and not create:
        raise UsageError(f"--store: must be a store, but there is no file '{path}'")
    if not path.parent.is_dir():
        raise UsageError(f"--store: must be in a folder that exists, but '{path.parent}' is none")


def _read_version(engine: Engine) -> str | None:
    """The version of the store's tables; None where there are none."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        if tables.store.name not in names:
            if names and engine.dialect.name == "sqlite":
                raise UsageError(
                    f"--store: must be a store of mnfpn, but {shown(engine.url)} holds other tables: {names[0]}, …"
                )
            return None
        values = {row.name: row.value for row in connection.execute(select(tables.store))}
        return f"{values['schema_version']} {values['mnfpn_version']}"


def _make(engine: Engine) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({CREATING})"))
        if inspect(connection).has_table(tables.store.name):
            return
        tables.metadata.create_all(connection)
        version = {"schema_version": str(tables.SCHEMA_VERSION), "mnfpn_version": __version__}
        connection.execute(insert(tables.store), [{"name": name, "value": value} for name, value in version.items()])


def _check_version(url: URL, known: str | None) -> None:
    if known is None:
        raise UsageError(f"--store: must be a store of mnfpn, but {shown(url)} is empty")
    version, made_by = known.split(" ", 1)
    if version != str(tables.SCHEMA_VERSION):
        raise UsageError(
            f"--store: {shown(url)} has version {version} of the tables and was made by mnfpn {made_by}; "
            f"this is mnfpn {__version__}, which reads version {tables.SCHEMA_VERSION}"
        )


__all__ = ["StoreError", "connect", "retried", "store_url", "told"]
