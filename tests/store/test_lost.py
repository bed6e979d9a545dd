"""Lost answers, servers that disconnect, locked files: nothing is done twice, and nothing hangs."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, StatementError

from mnfpn_cli.documents.records import StatusCounts
from mnfpn_cli.store import store as connect_module
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.errors import WAITS_S, StoreError, is_transient, without_password
from mnfpn_cli.store.merge import merge_stores
from mnfpn_cli.store.read import read_run, read_runs
from mnfpn_cli.store.rows import BaselineTiming
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.store.sweeps import add_baseline, read_baselines, read_sweeps
from tests.store.conftest import NewStore
from tests.store.made import measure, result, swept

LOST = sqlite3.OperationalError("database is locked")
LOST.sqlite_errorcode = sqlite3.SQLITE_BUSY


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    waits = list[float]()
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.fixture
def answers_lost(monkeypatch: pytest.MonkeyPatch, waited: list[float]) -> None:
    """Commit every write, and lose its first answer."""
    write = Store._write

    def lose(store: Store, change: Callable[[Connection], object]) -> object:
        done = write(store, change)
        if not waited:
            raise OperationalError("COMMIT", None, LOST)
        waited.clear()
        return done

    monkeypatch.setattr(Store, "_write", lose)


@pytest.mark.usefixtures("answers_lost")
def test_every_change_is_idempotent(store: Store, new_name: NewStore) -> None:
    """Where the answer to a commit is lost, the retry changes nothing."""
    sweep, keys = swept(store)
    claims, one = Claims(store), result(sweep)
    assert claims.claim(keys[0])
    assert claims.finish(keys[0], one)
    baseline = BaselineTiming("1" * 32, sweep, keys[0], "here", one.finished, (0.5,))
    add_baseline(store, baseline)
    with open_store(new_name(), create=True) as other:
        merge_stores(other, store)
        assert len(read_sweeps(other)) == 1
        assert read_run(other, keys[0])[1] == [one]
    assert [one.counts for one in read_sweeps(store)] == [StatusCounts(done=1, pending=3)]
    assert read_baselines(store) == [baseline]


def _backends_ended(name: str) -> None:
    """End all connections to a store, as a server does when it shuts down."""
    url = make_url(name)
    engine = create_engine(url.set(query={}))
    with engine.begin() as connection:
        ours = f"application_name = '{url.query['application_name']}'"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}"))
    engine.dispose()


@pytest.fixture
def server(new_schema: NewStore) -> Iterator[tuple[str, Store]]:
    """A store on a server, and its name."""
    name = new_schema()
    with open_store(name, create=True) as store:
        yield name, store


@pytest.mark.slow
def test_a_write_is_retried_on_a_server_that_restarts(server: tuple[str, Store], waited: list[float]) -> None:
    """Whether its connections end within a write or between two writes."""
    name, store = server
    sweep, keys = swept(store)
    _backends_ended(name)
    assert measure(store, keys[0], result(sweep))
    ended = list[int]()

    def end_once(_connection: Connection) -> None:
        if not ended:
            ended.append(1)
            _backends_ended(name)

    event.listen(store.engine, "commit", end_once)
    assert measure(store, keys[1], result(sweep))
    assert [one.status for one in read_runs(store, sweep)] == ["done", "done", "pending", "pending"]
    assert waited == list(WAITS_S[:1])


@pytest.mark.slow
def test_a_server_that_stays_unreachable_is_an_error(server: tuple[str, Store], waited: list[float]) -> None:
    """After all retries; what was committed is still there."""
    name, store = server
    sweep, keys = swept(store)
    measure(store, keys[0], result(sweep))
    claims = Claims(store)
    claims.claim(keys[1])
    there = store.engine.url

    def away(_dialect: object, _record: object, _arguments: object, parameters: dict[str, object]) -> None:
        parameters["port"] = 1  # where nobody listens

    event.listen(store.engine, "do_connect", away)
    _backends_ended(name)
    with pytest.raises(StoreError, match="Connection refused") as caught:
        claims.finish(keys[1], result(sweep))
    assert str(there.password) not in str(caught.value)
    assert waited == list(WAITS_S)
    with open_store(name) as again:
        assert [one.status for one in read_runs(again, sweep)] == ["done", "pending", "pending", "pending"]


def test_a_write_to_a_locked_file_is_retried(
    tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It succeeds when the other process releases the lock."""
    monkeypatch.setattr(connect_module, "BUSY_S", 0.01)
    path = tmp_path / "x.db"
    with open_store(str(path), create=True) as store:
        sweep, keys = swept(store)
        holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN EXCLUSIVE")

        def wait(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                holder.rollback()

        monkeypatch.setattr("time.sleep", wait)
        assert measure(store, keys[0], result(sweep))
        assert waited == list(WAITS_S[:3])
        holder.close()


@pytest.mark.parametrize("verb", ["read", "written"])
def test_a_file_that_stays_locked_is_an_error(
    verb: str, tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all retries; its content is unchanged."""
    monkeypatch.setattr(connect_module, "BUSY_S", 0.01)
    path = tmp_path / "x.db"
    with open_store(str(path), create=True) as store:
        sweep, keys = swept(store)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="could not be read or written: another process has locked it"):
            measure(store, keys[0], result(sweep)) if verb == "written" else read_runs(store)
        assert waited == list(WAITS_S)
        holder.rollback()
        holder.close()
        assert len(read_runs(store)) == 4


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    """The content of the store is unchanged."""
    path = tmp_path / "x.db"
    with open_store(str(path), create=True) as store:
        sweep, keys = swept(store)
        pages = store.read(lambda connection: connection.execute(text("PRAGMA page_count")).scalar_one())
        store.engine.dispose()
        event.listen(store.engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages}"))
        claims = Claims(store)
        claims.claim(keys[0])
        with pytest.raises(StoreError, match="could not be written: the disk is full"):
            claims.finish(keys[0], result(sweep, [0.1] * 5000))
        assert len(read_runs(store)) == 4


def test_a_bug_is_not_reported_as_an_error_of_the_store(store: Store) -> None:
    """Its exception passes unchanged."""
    for statement in ("SELEC 1", "SELECT nonsense FROM mnfpn_runs"):
        with pytest.raises(DBAPIError):
            store.read(lambda connection, sql=statement: connection.execute(text(sql)))  # type: ignore[misc]
    with pytest.raises(StatementError):
        store.write(lambda connection: connection.execute(text("SELECT :a"), {}))
    with pytest.raises(ZeroDivisionError):
        store.write(lambda _: 1 / 0)


def test_missing_tables_are_reported(store: Store) -> None:
    """Another program dropped one."""
    store.write(lambda connection: connection.execute(text("DROP TABLE mnfpn_baselines")))
    with pytest.raises(StoreError, match="lacks tables that a store of mnfpn has"):
        read_baselines(store)


class ServerError(Exception):
    """An exception with the attributes of psycopg that are read."""

    def __init__(self, sqlstate: str | None, words: str = "") -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "words", "may_pass"),
    [
        ("57P01", "terminating connection due to administrator command", True),
        ("57P03", "the database system is starting up", True),
        ("08006", "connection failure", True),
        ("40P01", "deadlock detected", True),
        ("53300", "sorry, too many clients already", True),
        ("55P03", "canceling statement due to lock timeout", True),
        ("53100", "No space left on device", False),
        ("25006", "cannot execute INSERT in a read-only transaction", False),
        (None, "connection failed: Connection refused", True),
        (None, "server closed the connection unexpectedly", True),
        (None, 'FATAL: password authentication failed for user "x"', False),
        (None, 'FATAL: database "x" does not exist', False),
    ],
)
def test_transient_errors_are_recognized(state: str | None, words: str, may_pass: bool) -> None:
    """By the code of the server, or its message where there is no code."""
    assert is_transient(OperationalError("SELECT 1", None, ServerError(state, words))) is may_pass


def test_a_bug_in_a_statement_is_not_transient() -> None:
    """Nor is an exception that is not the database's."""
    assert not is_transient(ProgrammingError("SELEC", None, ServerError("42601")))
    assert not is_transient(ValueError())


@pytest.mark.parametrize("query", [{}, {"password": "secret"}, {"options": "-c secret"}])
def test_a_servers_name_has_no_password(query: dict[str, str]) -> None:
    """Wherever the URL holds it."""
    url = make_url("postgresql+psycopg://me:secret@host/db").set(query=query)
    assert without_password(url) == "'postgresql+psycopg://me:***@host/db'"
