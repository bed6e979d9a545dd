"""Open a store, a file or a server: an engine, its tables, and their version."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from mnfpn_cli import __version__
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.store import tables
from mnfpn_cli.store.errors import OPENING_WAITS_S, StoreError, retried, shown, told


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
        with told(engine):
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
                rule = f"must be a store of mnfpn, but {shown(engine.url)} holds other tables: {names[0]}, …"
                raise UsageError(Problem("`store`", rule))
            return {}
        values = {row.name: row.value for row in connection.execute(select(tables.store))}
        if not {"schema_version", "mnfpn_version"} <= values.keys():
            rule = f"{shown(engine.url)} is damaged: it does not say which version it is of"
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
        raise UsageError(Problem("`store`", f"must be a store of mnfpn, but {shown(url)} has no tables of one"))
    version, made_by = known["schema_version"], known["mnfpn_version"]
    if version != str(tables.SCHEMA_VERSION):
        newer = version.isdecimal() and int(version) > tables.SCHEMA_VERSION
        remedy = "update mnfpn" if newer else "sweep into a new store"
        rule = (
            f"{shown(url)} has version {version} of the tables and was made by mnfpn {made_by}; "
            f"this is mnfpn {__version__}, which reads version {tables.SCHEMA_VERSION}: {remedy}"
        )
        raise UsageError(Problem("`store`", rule))
