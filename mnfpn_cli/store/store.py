"""Open, read and write a store: an SQLite file or a PostgreSQL database. Every access is one transaction."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from mnfpn_cli import __version__
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.errors import OPENING_WAITS_S, StoreError, translated_errors, with_retries, without_password


def store_url(name: str) -> URL:
    """Return the URL of a store that is given as a file, or as a URL of SQLite or PostgreSQL.

    Raises:
        UsageError: where the name is neither, or the store would not outlive the process.
    """
    if "://" not in name:
        if not name or "\0" in name:
            raise UsageError(Problem("`store`", "must be a file or a URL", f"'{name}'"))
        return _persistent(URL.create("sqlite", database=name), name)
    try:
        url = make_url(name)
    except (ArgumentError, ValueError):  # its message contains the password
        rule = "must be a file or a URL, as postgresql+psycopg://user@host/database"
        raise UsageError(Problem("`store`", rule)) from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        rule = "must be a file, or a URL of sqlite or postgresql+psycopg"
        raise UsageError(Problem("`store`", rule, url.drivername))
    return _persistent(url, name) if url.drivername == "sqlite" else url


def _persistent(url: URL, name: str) -> URL:
    """Return a URL of SQLite if it names a file.

    Raises:
        UsageError: where it names a database in memory, or an SQLite URI.
    """
    file = url.database or ""
    if file.startswith("file:"):  # may be a database in memory, or a file under another name
        raise UsageError(Problem("`store`", "must be the name of a file, not an SQLite URI", f"'{name}'"))
    if file in ("", ":memory:") or "memory" in url.normalized_query.get("mode", ()):
        raise UsageError(Problem("`store`", "must be a file: a database in memory would be lost", f"'{name}'"))
    return url


def store_files(name: str) -> tuple[Path, ...]:
    """Return the file of a store; empty where the store is on a server.

    Raises:
        UsageError: as `store_url`.
    """
    url = store_url(name)
    return (Path(str(url.database)),) if url.get_backend_name() == "sqlite" else ()


def check_store_file(path: Path, create: bool) -> None:
    """Check that a path is a file, or with ``create`` that a file can be created there.

    Raises:
        UsageError: where it is not.
    """
    try:
        exists, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
        has_folder = path.parent.is_dir()
    except (OSError, ValueError) as error:  # the name is too long, or the folder may not be read
        raise UsageError(Problem("`store`", "must be a file that can be opened", f"'{path}'", f": {error}")) from None
    if is_folder:
        raise UsageError(Problem("`store`", f"must be a file, but '{path}' is a folder"))
    if not has_folder:
        raise UsageError(Problem("`store`", f"folder '{path.parent}' does not exist"))
    if not exists and not create:
        raise UsageError(Problem("`store`", f"must be a store, but there is no file '{path}'"))
    if exists and not is_file:
        raise UsageError(Problem("`store`", f"must be a file, but '{path}' is a device or a pipe"))


BUSY_S = 5
"""Seconds that one attempt waits for a file that another process has locked."""

SERVER_OPTIONS = {
    "connect_timeout": 5,
    # These detect a dead connection within a minute; the defaults of the system take hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "mnfpn",
    "prepare_threshold": None,  # connection poolers do not preserve prepared statements
}
"""Default connection options, which the URL may override. In seconds; ``tcp_user_timeout`` is in milliseconds."""

SERVER_LIMITS = ("SET lock_timeout = '30s'", "SET idle_in_transaction_session_timeout = '60s'")
"""Limits on how long a process that died or hangs within a transaction can block the others."""

CREATE_LOCK = 0x6D6E6670
"""The advisory lock for creating tables on a server: two processes may open a new store at once."""


def connect_store(url: URL, create: bool) -> Engine:
    """Return an engine for a store of this schema version; with ``create``, create the store where it does not exist.

    Raises:
        UsageError: where it is not a store, or has another schema version.
        StoreError: where it cannot be reached, read or written.
    """
    is_file = url.get_backend_name() == "sqlite"
    if is_file:
        check_store_file(Path(str(url.database)), create)
    engine = _engine(url, is_file)
    try:
        with translated_errors(engine):
            version = with_retries(lambda: _read_version(engine), OPENING_WAITS_S)
            if not version and create:
                with_retries(lambda: _create_tables(engine), OPENING_WAITS_S)
                version = with_retries(lambda: _read_version(engine), OPENING_WAITS_S)
        _check_version(url, version)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _engine(url: URL, is_file: bool) -> Engine:
    if is_file:
        engine = create_engine(url, connect_args={"timeout": BUSY_S})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    options = {name: value for name, value in SERVER_OPTIONS.items() if name not in url.query}
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=options)
    except (ImportError, NoSuchModuleError):
        rule = "a PostgreSQL server needs psycopg, which is not installed: pip install 'mnfpn[postgres]'"
        raise MnfpnError(Problem("`store`", rule)) from None
    event.listen(engine, "connect", _set_limits)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """Leave transactions to SQLAlchemy: Python's sqlite3 begins them late, and some statements end them."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    """Begin; lock the file at once for a write, as a transaction that has read may fail to get the lock later."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_limits(connection: Any, _record: Any) -> None:
    for limit in SERVER_LIMITS:
        connection.execute(limit)
    connection.commit()


def _read_version(engine: Engine) -> dict[str, str]:
    """Return the rows of `mnfpn_store` by name; empty where the database has no tables of a store."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        if t.store.name not in names:
            if names and engine.dialect.name == "sqlite":
                rule = f"must be a store of mnfpn, but {without_password(engine.url)} holds other tables: {names[0]}, …"
                raise UsageError(Problem("`store`", rule))
            return {}
        values = {row.name: row.value for row in connection.execute(select(t.store))}
        if not {"schema_version", "mnfpn_version"} <= values.keys():
            rule = f"{without_password(engine.url)} is damaged: its version is missing"
            raise StoreError(Problem("`store`", rule))
        return values


def _create_tables(engine: Engine) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({CREATE_LOCK})"))
        if inspect(connection).has_table(t.store.name):
            return
        t.metadata.create_all(connection)
        version = {"schema_version": str(t.SCHEMA_VERSION), "mnfpn_version": __version__}
        connection.execute(insert(t.store), [{"name": name, "value": value} for name, value in version.items()])


def _check_version(url: URL, known: dict[str, str]) -> None:
    if not known:
        rule = f"must be a store of mnfpn, but {without_password(url)} has no tables of one"
        raise UsageError(Problem("`store`", rule))
    version, made_by = known["schema_version"], known["mnfpn_version"]
    if version != str(t.SCHEMA_VERSION):
        newer = version.isdecimal() and int(version) > t.SCHEMA_VERSION
        remedy = "update mnfpn" if newer else "sweep into a new store"
        rule = (
            f"{without_password(url)} has version {version} of the tables and was made by mnfpn {made_by}; "
            f"this is mnfpn {__version__}, which reads version {t.SCHEMA_VERSION}: {remedy}"
        )
        raise UsageError(Problem("`store`", rule))


T = TypeVar("T")

BATCH_ROWS = 1000
"""Rows or values in one statement; databases limit them."""

INSERT_JSON = "INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, :rows) ON CONFLICT DO NOTHING"
"""Inserts rows that have all columns of a table, given as one JSON value, on a server."""

BULK_CHANGE_LOCK = 0x6D6E6671
"""The advisory lock for changes of many rows on a server: two at once could deadlock."""


@dataclass(frozen=True)
class Store:
    """An open store. Every read and write is one transaction, which is retried after a transient error."""

    engine: Engine

    @property
    def name(self) -> str:
        """The store as messages name it, in quotes and without a password."""
        return without_password(self.engine.url)

    @property
    def location(self) -> str:
        """The file or URL of the store, as documents have it; a password is replaced by ``***``."""
        return self.name[1:-1]

    @property
    def argument(self) -> str:
        """The location as an argument for a shell."""
        return shlex.quote(self.location)

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query and return its result. All of its statements see the store at the same moment.

        Raises:
            StoreError: where the store cannot be read.
        """
        with translated_errors(self.engine):
            return with_retries(lambda: self._read(query))

    def write(self, change: Callable[[Connection], T]) -> T:
        """Commit a change as a whole, and return its result.

        The change must be idempotent: it is retried where the answer to a commit was lost, though the commit may have
        succeeded.

        Raises:
            StoreError: where the store cannot be written.
        """
        with translated_errors(self.engine):
            return with_retries(lambda: self._write(change))

    def dry_run(self, change: Callable[[Connection], T]) -> T:
        """Return the result of a change without committing it.

        Raises:
            StoreError: where the store cannot be written.
        """

        def rolled_back() -> T:
            with self.engine.execution_options(writes=True).connect() as connection:
                return change(connection)  # closing the connection rolls back

        with translated_errors(self.engine):
            return with_retries(rolled_back)

    def _read(self, query: Callable[[Connection], T]) -> T:
        engine = self.engine
        if self._is_server:  # by default each statement there sees what was committed before it
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            return query(connection)

    def _write(self, change: Callable[[Connection], T]) -> T:
        with self.engine.execution_options(writes=True).begin() as connection:
            return change(connection)

    def lock_bulk_changes(self, connection: Connection) -> None:
        """Make other changes of many rows wait for this transaction; SQLite allows only one writer anyway."""
        if self._is_server:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({BULK_CHANGE_LOCK})"))

    def analyze(self, connection: Connection, *tables: Table) -> None:
        """Update a server's statistics of tables: with those from before a large insert, a query may take minutes."""
        if self._is_server:
            connection.execute(text(f"ANALYZE {', '.join(table.name for table in tables)}"))

    def insert_missing(self, connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows; leave existing rows with the same keys unchanged."""
        for batch in batches(list(rows)):
            if self._is_server:  # compiling a statement with thousands of parameters takes ten times as long
                connection.execute(text(INSERT_JSON.format(table.name)), {"rows": json.dumps(list(batch))})
            else:
                connection.execute(sqlite.insert(table).on_conflict_do_nothing(), list(batch))

    @property
    def _is_server(self) -> bool:
        return self.engine.dialect.name == "postgresql"


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split items into batches of at most `BATCH_ROWS`."""
    return (items[start : start + BATCH_ROWS] for start in range(0, len(items), BATCH_ROWS))


def select_by(
    connection: Connection, query: Select[Any], column: ColumnElement[str], values: Sequence[str]
) -> Iterator[Row[Any]]:
    """Yield the rows of a query whose column has one of these values.

    The values are parameters, not a subquery, whose speed on a server depends on its statistics of the tables.
    """
    for batch in batches(values):
        yield from connection.execute(query.where(column.in_(batch)))


@contextmanager
def open_store(name: str, create: bool = False) -> Iterator[Store]:
    """Open a store by file name or URL; with ``create``, create it where it does not exist.

    An error anywhere in the ``with`` block, not only in a transaction, is checked for damage of the store as its cause.

    Raises:
        UsageError: where it is not a store, or has another schema version.
        StoreError: where it cannot be reached, read or written.
    """
    engine = connect_store(store_url(name), create)
    try:
        with translated_errors(engine):
            yield Store(engine)
    finally:
        engine.dispose()
