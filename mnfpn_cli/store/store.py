"""A store: an SQLite file or a PostgreSQL server, opened, read and written in transactions."""

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
from mnfpn_cli.store import rows as tables
from mnfpn_cli.store.errors import OPENING_WAITS_S, StoreError, explaining, retried, without_password


def store_url(name: str) -> URL:
    """A file, or a URL of SQLite or PostgreSQL.

    Raises:
        UsageError: where it is neither.
    """
    if "://" not in name:
        if not name or "\0" in name:
            raise UsageError(Problem("`store`", "must be a file or a URL", f"'{name}'"))
        return _kept(URL.create("sqlite", database=name), name)
    try:
        url = make_url(name)
    except (ArgumentError, ValueError):  # its message would show the password
        rule = "must be a file or a URL, as postgresql+psycopg://user@host/database"
        raise UsageError(Problem("`store`", rule)) from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        rule = "must be a file, or a URL of sqlite or postgresql+psycopg"
        raise UsageError(Problem("`store`", rule, url.drivername))
    return _kept(url, name) if url.drivername == "sqlite" else url


def _kept(url: URL, name: str) -> URL:
    """The same URL of SQLite, if what is put there is there afterwards.

    Raises:
        UsageError: where it is not.
    """
    file = url.database or ""
    if file.startswith("file:"):  # which may mean memory, or a file that others know by another name
        raise UsageError(Problem("`store`", "must be the name of a file, and no URI of SQLite's own", f"'{name}'"))
    if file in ("", ":memory:") or "memory" in url.normalized_query.get("mode", ()):
        raise UsageError(Problem("`store`", "must be a file: what is in memory would be lost", f"'{name}'"))
    return url


def store_files(name: str) -> tuple[Path, ...]:
    """The file that a store is; none where it is a server.

    Raises:
        UsageError: as `store_url`.
    """
    url = store_url(name)
    return (Path(str(url.database)),) if url.get_backend_name() == "sqlite" else ()


def check_file(path: Path, create: bool) -> None:
    """Make sure that a file can be a store; ``create``: or that one can be made.

    Raises:
        UsageError: where it cannot.
    """
    try:
        is_there, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
        has_folder = path.parent.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long, a folder that is closed
        raise UsageError(Problem("`store`", "must be a file that can be opened", f"'{path}'", f": {error}")) from None
    if is_folder:
        raise UsageError(Problem("`store`", f"must be a file, but '{path}' is a folder"))
    if not has_folder:
        raise UsageError(Problem("`store`", f"folder '{path.parent}' does not exist"))
    if not is_there and not create:
        raise UsageError(Problem("`store`", f"must be a store, but there is no file '{path}'"))
    if is_there and not is_file:
        raise UsageError(Problem("`store`", f"must be a file, but '{path}' is a device or a pipe"))


BUSY_S = 5
"""So long one try waits for a file that another process has locked."""

SERVER = {
    "connect_timeout": 5,
    # A network that swallows everything is noticed in less than a minute; without these, in hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "mnfpn",
    "prepare_threshold": None,  # poolers between us and the server do not keep prepared statements
}
"""How a server is spoken to; the URL may say otherwise. Times in seconds, but for the timeout in milliseconds."""

LIMITS = ("SET lock_timeout = '30s'", "SET idle_in_transaction_session_timeout = '60s'")
"""A process that died, or hangs, in the middle of a write holds the others up for so long at most."""

CREATING = 0x6D6E6670
"""The advisory lock under which a server's tables are made: two sweeps may come first."""


def connect(url: URL, create: bool) -> Engine:
    """An engine on a store that is there and of this version; ``create``: made where there is none yet.

    Raises:
        UsageError: where it is no store, or a newer mnfpn's.
        StoreError: where it cannot be reached, read or written.
    """
    is_file = url.get_backend_name() == "sqlite"
    if is_file:
        check_file(Path(str(url.database)), create)
    engine = _engine(url, is_file)
    try:
        with explaining(engine):
            known = retried(lambda: _read_version(engine), OPENING_WAITS_S)
            if not known and create:
                retried(lambda: _make(engine), OPENING_WAITS_S)
                known = retried(lambda: _read_version(engine), OPENING_WAITS_S)
        _check_version(url, known)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _engine(url: URL, is_file: bool) -> Engine:
    if is_file:
        engine = create_engine(url, connect_args={"timeout": BUSY_S})
        event.listen(engine, "connect", _no_transactions_of_its_own)
        event.listen(engine, "begin", _begin)
        return engine
    said = {name: value for name, value in SERVER.items() if name not in url.query}
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=said)
    except (ImportError, NoSuchModuleError):
        needs = "a PostgreSQL server needs psycopg, which is not installed: pip install 'mnfpn[postgres]'"
        raise MnfpnError(Problem("`store`", needs)) from None
    event.listen(engine, "connect", _limited)
    return engine


def _no_transactions_of_its_own(connection: Any, _record: Any) -> None:
    """Leave transactions to SQLAlchemy: Python's sqlite3 begins them late, and some statements end them."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    """Take the lock of a writer at once: one that only reads first could not get it later without starting over."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _limited(connection: Any, _record: Any) -> None:
    for limit in LIMITS:
        connection.execute(limit)
    connection.commit()


def _read_version(engine: Engine) -> dict[str, str]:
    """What the store says of its tables; nothing where there are none."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        if tables.store.name not in names:
            if names and engine.dialect.name == "sqlite":
                rule = f"must be a store of mnfpn, but {without_password(engine.url)} holds other tables: {names[0]}, …"
                raise UsageError(Problem("`store`", rule))
            return {}
        values = {row.name: row.value for row in connection.execute(select(tables.store))}
        if not {"schema_version", "mnfpn_version"} <= values.keys():
            rule = f"{without_password(engine.url)} is damaged: it does not say which version it is of"
            raise StoreError(Problem("`store`", rule))
        return values


def _make(engine: Engine) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({CREATING})"))
        if inspect(connection).has_table(tables.store.name):
            return
        tables.metadata.create_all(connection)
        version = {"schema_version": str(tables.SCHEMA_VERSION), "mnfpn_version": __version__}
        connection.execute(insert(tables.store), [{"name": name, "value": value} for name, value in version.items()])


def _check_version(url: URL, known: dict[str, str]) -> None:
    if not known:
        raise UsageError(
            Problem("`store`", f"must be a store of mnfpn, but {without_password(url)} has no tables of one")
        )
    version, made_by = known["schema_version"], known["mnfpn_version"]
    if version != str(tables.SCHEMA_VERSION):
        newer = version.isdecimal() and int(version) > tables.SCHEMA_VERSION
        remedy = "update mnfpn" if newer else "sweep into a new store"
        rule = (
            f"{without_password(url)} has version {version} of the tables and was made by mnfpn {made_by}; "
            f"this is mnfpn {__version__}, which reads version {tables.SCHEMA_VERSION}: {remedy}"
        )
        raise UsageError(Problem("`store`", rule))


T = TypeVar("T")

AT_ONCE = 1000
"""Rows in one statement: servers have limits."""

AS_JSON = "INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, :rows) ON CONFLICT DO NOTHING"
"""How a server takes rows that have all columns of a table."""

CHANGING = 0x6D6E6671
"""The advisory lock of changes of many rows: two of them would wait for each other's rows."""


@dataclass(frozen=True)
class Store:
    """A store. Every read and every write is one transaction, tried again where a server went away for a moment."""

    engine: Engine

    @property
    def name(self) -> str:
        """How messages call it: a server without its password."""
        return without_password(self.engine.url)

    @property
    def argument(self) -> str:
        """The same as a shell takes it; a password is to be filled in."""
        return shlex.quote(self.name[1:-1])

    def read(self, query: Callable[[Connection], T]) -> T:
        """What a query gives; all of its statements see the store as it was at one moment.

        Raises:
            StoreError: where the store cannot be read.
        """
        with explaining(self.engine):
            return retried(lambda: self._read(query))

    def write(self, change: Callable[[Connection], T]) -> T:
        """Make a change, whole or not at all.

        It is tried again where its answer was lost, though it may have come through by then: it must be one that, done
        twice, is as if it were done once.

        Raises:
            StoreError: where the store cannot be written.
        """
        with explaining(self.engine):
            return retried(lambda: self._write(change))

    def rehearse(self, change: Callable[[Connection], T]) -> T:
        """What a change would return; the store stays as it is.

        Raises:
            StoreError: where the store cannot be written.
        """

        def undone() -> T:
            with self.engine.execution_options(writes=True).connect() as connection:
                return change(connection)  # nobody commits it

        with explaining(self.engine):
            return retried(undone)

    def _read(self, query: Callable[[Connection], T]) -> T:
        engine = self.engine
        if self._is_server:  # there, each statement would see what others wrote since the one before it
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            return query(connection)

    def _write(self, change: Callable[[Connection], T]) -> T:
        with self.engine.execution_options(writes=True).begin() as connection:
            return change(connection)

    def alone(self, connection: Connection) -> None:
        """Keep other changes of many rows waiting until this one is through; a file is its writer's anyway."""
        if self._is_server:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({CHANGING})"))

    def look_at(self, connection: Connection, *tables: Table) -> None:
        """Have a server count what tables hold now: by what it knew before, a query may take minutes."""
        if self._is_server:
            connection.execute(text(f"ANALYZE {', '.join(table.name for table in tables)}"))

    def put(self, connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows; those that are there stay as they are."""
        for part in parts(list(rows)):
            if self._is_server:  # all in one value: to make a statement of thousands takes ten times as long
                connection.execute(text(AS_JSON.format(table.name)), {"rows": json.dumps(list(part))})
            else:
                connection.execute(sqlite.insert(table).on_conflict_do_nothing(), list(part))

    @property
    def _is_server(self) -> bool:
        return self.engine.dialect.name == "postgresql"


def parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The same in as many parts as there must be statements."""
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def select_by(
    connection: Connection, query: Select[Any], column: ColumnElement[str], values: Sequence[str]
) -> Iterator[Row[Any]]:
    """The rows of a query whose column has one of some values.

    By value, and not by another query within: what a server makes of that depends on what it knows of the tables.
    """
    for part in parts(values):
        yield from connection.execute(query.where(column.in_(part)))


@contextmanager
def open_store(name: str, create: bool = False) -> Iterator[Store]:
    """Open the store of a name, a file or a URL; ``create``: made where there is none yet.

    What fails in the block below, not only within a transaction, is looked into: the store may be damaged.

    Raises:
        UsageError: where it is no store, or a newer mnfpn's.
        StoreError: where it cannot be reached, read or written.
    """
    engine = connect(store_url(name), create)
    try:
        with explaining(engine):
            yield Store(engine)
    finally:
        engine.dispose()
