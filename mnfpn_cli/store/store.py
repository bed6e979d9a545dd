"""A store that is open: what reads and writes it, as a whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.dialects import postgresql, sqlite

from mnfpn_cli.store.connect import connect, retried, store_url, told
from mnfpn_cli.store.errors import shown

T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """A store. Every read and every write is one transaction, tried again where a server went away for a moment."""

    engine: Engine

    @property
    def name(self) -> str:
        """How messages call it: a server without its password."""
        return shown(self.engine.url)

    def read(self, query: Callable[[Connection], T]) -> T:
        """What a query gives.

        Raises:
            StoreError: where the store cannot be read.
        """
        with told(self.engine.url):
            return retried(lambda: self._read(query))

    def write(self, change: Callable[[Connection], T]) -> T:
        """Make a change, whole or not at all. It may be tried twice: it must be one that does the same then.

        Raises:
            StoreError: where the store cannot be written.
        """
        with told(self.engine.url):
            return retried(lambda: self._write(change))

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self.engine.connect() as connection:
            return query(connection)

    def _write(self, change: Callable[[Connection], T]) -> T:
        with self.engine.execution_options(writes=True).begin() as connection:
            return change(connection)

    def upsert(self) -> Callable[..., sqlite.Insert | postgresql.Insert]:
        """The dialect's own ``insert``, which can leave rows alone that are there."""
        return postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert


@contextmanager
def open_store(name: str, create: bool = False) -> Iterator[Store]:
    """Open the store of a name, a file or a URL; ``create``: made where there is none yet.

    Raises:
        UsageError: where it is no store, or a newer mnfpn's.
        StoreError: where it cannot be reached, read or written.
    """
    engine = connect(store_url(name), create)
    try:
        yield Store(engine)
    finally:
        engine.dispose()
