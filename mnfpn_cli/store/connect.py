"""Opening a store: an engine on a file or a server, its tables, and their version."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import NoSuchModuleError

from mnfpn_cli import __version__
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.store import tables
from mnfpn_cli.store.errors import StoreError, shown
from mnfpn_cli.store.tries import OPENING_WAITS_S, retried, told
from mnfpn_cli.store.urls import check_file

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
        with told(url):
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
        raise MnfpnError(
            "--store: a PostgreSQL server needs psycopg, which is not installed: pip install 'mnfpn[postgres]'"
        ) from None
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
                raise UsageError(
                    f"--store: must be a store of mnfpn, but {shown(engine.url)} holds other tables: {names[0]}, …"
                )
            return {}
        values = {row.name: row.value for row in connection.execute(select(tables.store))}
        if not {"schema_version", "mnfpn_version"} <= values.keys():
            raise StoreError(f"--store: {shown(engine.url)} is damaged: it does not say which version it is of")
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
        raise UsageError(f"--store: must be a store of mnfpn, but {shown(url)} has no tables of one")
    version, made_by = known["schema_version"], known["mnfpn_version"]
    if version != str(tables.SCHEMA_VERSION):
        raise UsageError(
            f"--store: {shown(url)} has version {version} of the tables and was made by mnfpn {made_by}; "
            f"this is mnfpn {__version__}, which reads version {tables.SCHEMA_VERSION}"
        )
