"""A store that is open: what reads and writes it, as a whole or not at all."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, Table, text
from sqlalchemy.dialects import sqlite

from mnfpn_cli.store.connect import connect, store_url
from mnfpn_cli.store.errors import retried, shown, told

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
        return shown(self.engine.url)

    @property
    def argument(self) -> str:
        """The same as a shell takes it; a password is to be filled in."""
        return shlex.quote(self.name[1:-1])

    def read(self, query: Callable[[Connection], T]) -> T:
        """What a query gives; all of its statements see the store as it was at one moment.

        Raises:
            StoreError: where the store cannot be read.
        """
        with told(self.engine):
            return retried(lambda: self._read(query))

    def write(self, change: Callable[[Connection], T]) -> T:
        """Make a change, whole or not at all.

        It is tried again where its answer was lost, though it may have come through by then: it must be one that, done
        twice, is as if it were done once.

        Raises:
            StoreError: where the store cannot be written.
        """
        with told(self.engine):
            return retried(lambda: self._write(change))

    def rehearse(self, change: Callable[[Connection], T]) -> T:
        """What a change would return; the store stays as it is.

        Raises:
            StoreError: where the store cannot be written.
        """

        def undone() -> T:
            with self.engine.execution_options(writes=True).connect() as connection:
                return change(connection)  # nobody commits it

        with told(self.engine):
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
        with told(engine):
            yield Store(engine)
    finally:
        engine.dispose()
