"""Files and servers that are not stores, or cannot be used: the message of the command line for each."""

import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from mnfpn_cli.store import store as connect_module
from mnfpn_cli.store.errors import OPENING_WAITS_S, WAITS_S
from mnfpn_cli.store.rows import BaselineTiming
from mnfpn_cli.store.store import BUSY_S, open_store
from mnfpn_cli.store.sweeps import add_baseline
from tests.conftest import Mnfpn
from tests.store.conftest import NewStore
from tests.store.made import measure, result, swept

NOBODY = 65534


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    waits = list[float]()
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr(connect_module, "BUSY_S", 0.01)
    return waits


def write(content: bytes) -> Callable[[Path], None]:
    """Make a file of some bytes."""

    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def other_program(path: Path) -> None:
    """Make a database of another program."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (id)")
    connection.close()


def changed(statement: str) -> Callable[[Path], None]:
    """Make a store, and change something in it."""

    def make(path: Path) -> None:
        with open_store(str(path), create=True) as store:
            store.write(lambda connection: connection.execute(text(statement)))

    return make


def damaged(path: Path) -> None:
    """Make a store whose pages are overwritten."""
    with open_store(str(path), create=True) as store:
        sweep, keys = swept(store)
        measure(store, keys[0], result(sweep))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


READS = "has version {} of the tables and was made by mnfpn 0.1.0; this is mnfpn 0.1.0, which reads version 5"
NEWER = "UPDATE mnfpn_store SET value = '9' WHERE name = 'schema_version'"
NEWER_RULE = READS.format(9) + ": update mnfpn"
OLDER = "UPDATE mnfpn_store SET value = '1' WHERE name = 'schema_version'"
OLDER_RULE = READS.format(1) + ": sweep into a new store"

FILES: list[tuple[str, Callable[[Path], None], int, str]] = [
    ("nothing", lambda _: None, 2, "must be a store, but there is no file '{}'"),
    ("folder", Path.mkdir, 2, "must be a file, but '{}' is a folder"),
    ("pipe", lambda path: os.mkfifo(path), 2, "must be a file, but '{}' is a device or a pipe"),
    ("text", write(b"hello " * 1000), 2, "must be a store of mnfpn, but is not an SQLite database: '{}'"),
    ("empty", write(b""), 2, "must be a store of mnfpn, but '{}' has no tables of one"),
    ("other program", other_program, 2, "must be a store of mnfpn, but '{}' holds other tables: photos, …"),
    ("damaged", damaged, 1, "'{}' is damaged: SQLite reports malformed pages"),
    ("newer", changed(NEWER), 2, f"'{{}}' {NEWER_RULE}"),
    ("older", changed(OLDER), 2, f"'{{}}' {OLDER_RULE}"),
    ("versionless", changed("DELETE FROM mnfpn_store"), 1, "'{}' is damaged: its version is missing"),
    ("tables gone", changed("DROP TABLE mnfpn_runs"), 1, "'{}' lacks tables that a store of mnfpn has"),
]


@pytest.mark.parametrize(("make", "code", "rule"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_file_that_is_not_a_store_is_refused(
    mnfpn: Mnfpn, waited: list[float], tmp_path: Path, make: Callable[[Path], None], code: int, rule: str
) -> None:
    """Without a retry: the message says what it is, standard output is empty, and the file is unchanged."""
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for command in (["list"], ["export"], ["show", "abcd"], ["prune", "--failed"]):
        done = mnfpn("runs", *command, "--store", str(path))
        assert (done.code, done.out, done.err) == (code, "", f"error: --store: {rule.format(path)}\n")
    assert (path.read_bytes() if path.is_file() else None) == before
    assert waited == []


DAMAGE: list[tuple[str, str]] = [
    ("UPDATE mnfpn_results SET finished = 'yesterday'", "result {result}: finished: must be a moment, as 2026-01-31"),
    ("UPDATE mnfpn_results SET started = '2026-01-01'", "result {result}: started: must be a moment, as 2026-01-31"),
    ("UPDATE mnfpn_results SET status = 'fine'", "result {result}: status: must be one of done, failed, got 'fine'"),
    ("UPDATE mnfpn_results SET document = '{}'", "result {result}: document.run: is required"),
    ("UPDATE mnfpn_results SET document = '[1'", "mnfpn_results holds invalid JSON"),
    (
        "UPDATE mnfpn_results SET document = json_set(document, '$.run.latency_s.samples', json('[]'))",
        "samples: must have at least 1 item, got []",
    ),
    (
        "UPDATE mnfpn_results SET document = json_set(document, '$.run.latency_s.median', 'x')",
        "median: must be a number, got 'x'",
    ),
    (
        "UPDATE mnfpn_results SET document = json_set(document, '$.profile', 1)",
        "document.profile: must be an object, got 1",
    ),
    ("UPDATE mnfpn_results SET worker = CAST(x'ff' AS TEXT)", "could not decode to UTF-8 column 'worker'"),
    ("UPDATE mnfpn_runs SET height = 'tall'", "run {run}: height: must be a whole number, 1 or more, got 'tall'"),
    ("UPDATE mnfpn_runs SET levels = -1", "run {run}: levels: must be a whole number"),
    ("UPDATE mnfpn_scores SET value = 'good'", "score 22222222: value: must be a finite number, got 'good'"),
    ("UPDATE mnfpn_scores SET value = 9e999", "score 22222222: value: must be a finite number, got 'inf'"),
    ("UPDATE mnfpn_scores SET date = 'May'", "score 22222222: date: must be a moment, as 2026-01-31T12:00:00+00:00"),
    ("UPDATE mnfpn_scores SET dtype = 'int3'", "score 22222222: dtype: must be one of float32, bfloat16, float16"),
    ("UPDATE mnfpn_scores SET height = 0", "score 22222222: height: must be a whole number, 1 or more, got '0'"),
    ("ALTER TABLE mnfpn_scores RENAME COLUMN metric TO name", "mnfpn_scores lacks the column metric"),
    ("UPDATE mnfpn_runs SET status = 'lost'", "run {run}: status: must be one of pending, done, failed, got 'lost'"),
    ("UPDATE mnfpn_runs SET dtype = 'int3'", "run {run}: dtype: must be one of float32, bfloat16, float16"),
    ("ALTER TABLE mnfpn_runs RENAME COLUMN macs TO mac", "mnfpn_runs lacks the column macs"),
    ("DELETE FROM mnfpn_networks", "network {network}: is missing, but a run refers to it"),
    ("UPDATE mnfpn_networks SET settings = '[]'", "network {network}: settings: must be an object, got []"),
    ("UPDATE mnfpn_sweeps SET plan = '5'", "sweep 1: plan: must be an object, got 5"),
    (
        "UPDATE mnfpn_sweeps SET plan = json_set(plan, '$.space', 5)",
        "sweep 1: plan.space: must be an object, got 5",
    ),
    ("UPDATE mnfpn_sweeps SET plan = json_remove(plan, '$.measuring')", "sweep 1: plan.measuring: is required"),
    (
        "UPDATE mnfpn_results SET document = json_set(document, '$.run.threads', 'two')",
        "run.threads: must be a whole number, got 'two'",
    ),
    (
        "UPDATE mnfpn_results SET document = json_remove(document, '$.environment.cpu')",
        "environment.cpu: is required",
    ),
    (
        "UPDATE mnfpn_sweeps SET plan = json_set(plan, '$.space.runs', -1)",
        "sweep 1: plan.space.runs: must be at least 0, got -1",
    ),
    (
        "UPDATE mnfpn_sweeps SET plan = json_set(plan, '$.over_budget', json('{\"--max-macs\": -1}'))",
        "sweep 1: plan.over_budget.--max-macs: must be at least 0, got -1",
    ),
    (
        "UPDATE mnfpn_results SET document = json_set(document, '$.run.latency_s.median', 1e-99)",
        "median: must be at least 1e-12, got 1e-99",
    ),
    (
        "UPDATE mnfpn_sweeps SET started = ''",
        "sweep 1: started: must be a moment, as 2026-01-31T12:00:00+00:00, got ''",
    ),
    ("UPDATE mnfpn_baselines SET finished = 'x'", "baseline timing 11111111: finished: must be a moment"),
    (
        "UPDATE mnfpn_baselines SET samples = '[0]'",
        "baseline timing 11111111: samples[0]: must be at least 1e-12, got 0",
    ),
]


def test_an_error_of_the_program_is_not_reported_as_damage(tmp_path: Path) -> None:
    """Where the store is sound, an exception while it is read passes unchanged."""
    path = tmp_path / "x.db"
    put_and_damage(path, "SELECT 1")
    with open_store(str(path)) as store, pytest.raises(ZeroDivisionError):
        store.read(lambda _: 1 // 0)
    with open_store(str(path)) as store, pytest.raises(OperationalError, match="no such column: nowhere"):
        store.read(lambda connection: connection.execute(text("SELECT nowhere FROM mnfpn_runs")))


MISSING = ["mnfpn_results", "mnfpn_runs", "mnfpn_sweep_runs", "mnfpn_sweeps", "mnfpn_baselines", "mnfpn_scores"]

COMMANDS: list[tuple[str, ...]] = [
    ("runs", "list"),
    ("runs", "list", "--json"),
    ("runs", "export", "--format", "csv"),
    ("runs", "prune", "--failed", "--superseded", "--dry-run"),
    ("report",),
    ("recommend", "--max-latency", "1s"),
    ("sweep", "--resume"),
    ("sweep", "--width-mult", "0.25", "--size", "64", "--by-layer", "--dry-run"),
]


def put_and_damage(path: Path, statement: str) -> dict[str, str]:
    """A store with one run that was measured, changed by hand; its identifiers as messages have them."""
    with open_store(str(path), create=True) as store:
        sweep, (key,) = swept(store, 1)
        one = result(sweep)
        measure(store, key, one)
        add_baseline(store, BaselineTiming("1" * 32, sweep, key, "here", one.finished, one.samples))
    with sqlite3.connect(path) as connection:
        ((network,),) = connection.execute("SELECT network FROM mnfpn_runs")
        row = ("2" * 32, network, 64, 64, "float32", "map", 0.5, "a file", one.finished)
        connection.execute(f"INSERT INTO mnfpn_scores VALUES ({','.join('?' * len(row))})", row)
        connection.execute(statement)
    connection.close()
    return {"result": one.id[:8], "run": key[:8], "network": network[:8]}


@pytest.mark.parametrize(("statement", "rule"), DAMAGE, ids=[statement[7:60] for statement, _ in DAMAGE])
def test_a_row_that_was_damaged_is_named(mnfpn: Mnfpn, tmp_path: Path, statement: str, rule: str) -> None:
    """With the store and the rule; every command that reads or merges the store ends with an error message."""
    path = tmp_path / "x.db"
    names = put_and_damage(path, statement)
    ended = [mnfpn(*command, "--store", str(path)) for command in (("runs", "list"), ("runs", "show", names["run"]))]
    done = next(one for one in ended if one.code)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith(f"error: --store: '{path}' is damaged: ")
    assert re.sub("{(.*?)}", lambda found: names.get(found[1], found[0]), rule) in done.err
    merged = mnfpn("runs", "merge", str(path), "--store", str(tmp_path / "other.db"))
    assert merged.code in (0, 1)
    assert merged.code == 0 or merged.err.startswith(f"error: --store: '{path}' is damaged: ")


@pytest.mark.parametrize("table", MISSING)
def test_missing_rows_cause_no_traceback(mnfpn: Mnfpn, tmp_path: Path, table: str) -> None:
    """Commands show the rows that are there, or end with an error message."""
    path = tmp_path / "x.db"
    put_and_damage(path, f"DELETE FROM {table}")
    for command in COMMANDS:
        assert mnfpn(*command, "--store", str(path)).code in (0, 1)
    assert mnfpn("runs", "merge", str(path), "--store", str(tmp_path / "other.db")).code in (0, 1)


NAMES: list[tuple[str, str]] = [
    ("", "must be a file or a URL, got ''"),
    ("none/x.db", "folder 'none' does not exist"),
    ("x" * 300, "must be a file that can be opened, got "),
    ("mysql://me:secret@host/db", "must be a file, or a URL of sqlite or postgresql+psycopg, got mysql"),
    ("postgresql+asyncpg://me:secret@host/db", "must be a file, or a URL of sqlite or postgresql+psycopg"),
    ("://me:secret@host", "must be a file or a URL, as postgresql+psycopg://user@host/database"),
    ("postgresql://me:secret@host:port/db", "must be a file or a URL, as postgresql+psycopg://user@host/database"),
    ("sqlite://", "must be a file: a database in memory would be lost, got 'sqlite://'"),
    ("sqlite:///", "must be a file: a database in memory would be lost, got 'sqlite:///'"),
    ("sqlite:///:memory:", "must be a file: a database in memory would be lost, got 'sqlite:///:memory:'"),
    (":memory:", "must be a file: a database in memory would be lost, got ':memory:'"),
    ("file::memory:", "must be the name of a file, not an SQLite URI, got 'file::memory:'"),
    ("file:x.db?mode=memory", "must be the name of a file, not an SQLite URI"),
    ("sqlite:///file:x?mode=memory&uri=true", "must be the name of a file, not an SQLite URI"),
    ("sqlite:///x.db?mode=memory", "must be a file: a database in memory would be lost"),
]


@pytest.mark.parametrize(("name", "rule"), NAMES, ids=[name[:30] for name, _ in NAMES])
def test_a_name_that_cannot_be_a_store_is_refused(mnfpn: Mnfpn, name: str, rule: str) -> None:
    """Also where a store would be created; the message does not show a password in the name."""
    for where, arguments in (("--store", ["list"]), ("OTHER", ["merge", name])):
        done = mnfpn("runs", *arguments, "--store", name)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: {where}: {rule}")
        assert done.err.count("\n") == 1
        assert "secret" not in done.err


@contextmanager
def as_nobody() -> Iterator[None]:
    """Run the block without root's permissions, which ignore file modes."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can read; those of pytest are private."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "code", "rule"),
    [
        (0o444, 0o755, 1, "'{}' could not be written: it, or its folder, is read-only"),
        (0o666, 0o555, 1, "'{}' could not be written: it, or its folder, is read-only"),
        (0o000, 0o755, 1, "'{}' could not be opened: may this user read and write it and its folder?"),
        (0o666, 0o000, 2, "must be a file that can be opened, got '{}': [Errno 13] Permission denied: '{}'"),
    ],
)
def test_a_store_without_permission_to_write_is_refused(
    mnfpn: Mnfpn, folder: Path, file_mode: int, folder_mode: int, code: int, rule: str
) -> None:
    """It is unchanged, and can be read where its modes allow it."""
    path = folder / "x.db"
    with open_store(str(path), create=True) as store:
        swept(store)
    for command in (("prune", "--failed"), ("list",)):  # what a command imports may be closed to nobody
        mnfpn("runs", *command, "--store", str(path))
    before = path.read_bytes()
    path.chmod(file_mode)
    folder.chmod(folder_mode)
    with as_nobody():
        done = mnfpn("runs", "prune", "--pending", "--store", str(path))
        listed = mnfpn("runs", "list", "--store", str(path))
    folder.chmod(0o755)
    assert (done.code, done.out, done.err) == (code, "", f"error: --store: {rule.format(path, path)}\n")
    assert listed.code == (0 if file_mode & 0o444 and folder_mode & 0o111 else code)
    path.chmod(0o644)
    assert path.read_bytes() == before


def test_a_locked_store_is_reported(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """After some waiting."""
    path = tmp_path / "x.db"
    with open_store(str(path), create=True) as store:
        swept(store)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    done = mnfpn("runs", "list", "--store", str(path))
    holder.close()
    rule = f"error: --store: '{path}' could not be read or written: another process has locked it\n"
    assert (done.code, done.err) == (1, rule)


def test_the_time_of_all_retries_is_limited() -> None:
    """To 70 seconds for reading and writing, and to 20 seconds for opening a store."""
    assert sum(WAITS_S) + BUSY_S * (len(WAITS_S) + 1) < 70
    assert sum(OPENING_WAITS_S) + BUSY_S * (len(OPENING_WAITS_S) + 1) < 20


def test_a_server_needs_psycopg(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    done = mnfpn("runs", "list", "--store", "postgresql://me:secret@127.0.0.1/db")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: --store: a PostgreSQL server needs psycopg, which is not installed: pip install 'mnfpn[postgres]'\n"
    )


def test_an_unreachable_server_is_reported(mnfpn: Mnfpn) -> None:
    """A port on which nothing listens, and a host name that does not exist."""
    pytest.importorskip("psycopg")
    for where, rule in (("127.0.0.1:1", "Connection refused"), ("nowhere.invalid", "failed to resolve host")):
        done = mnfpn("runs", "list", "--store", f"postgresql+psycopg://me:secret@{where}/db")
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert done.err.startswith(f"error: --store: 'postgresql+psycopg://me:***@{where}/db': ")
        assert rule in done.err
        assert "secret" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "code", "rule"),
    [
        ({"password": "secret"}, 1, "password authentication failed"),
        ({"database": "nono"}, 1, 'database "nono" does not exist'),
        ({"query": {"nonsense": "1"}}, 2, 'invalid connection option "nonsense"'),
        ({"query": {"options": "-csearch_path=nono"}}, 2, "must be a store of mnfpn, but"),
    ],
    ids=str,
)
def test_a_refused_connection_is_reported(
    mnfpn: Mnfpn, waited: list[float], new_schema: NewStore, change: dict[str, object], code: int, rule: str
) -> None:
    """With the reason and without the password, and without a retry."""
    url = make_url(new_schema()).set(**change)  # type: ignore[arg-type]
    done = mnfpn("runs", "list", "--store", url.render_as_string(hide_password=False))
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert rule in done.err
    assert str(url.password) not in done.err
    assert waited == []


@pytest.mark.slow
def test_a_store_of_a_newer_version_on_a_server_is_refused(mnfpn: Mnfpn, new_schema: NewStore) -> None:
    """As a file is."""
    name = new_schema()
    with open_store(name, create=True) as store:
        store.write(lambda connection: connection.execute(text(NEWER)))
    done = mnfpn("runs", "list", "--store", name)
    assert (done.code, done.out) == (2, "")
    assert NEWER_RULE in done.err


@pytest.mark.slow
def test_a_server_without_permission_to_create_tables_is_reported(
    mnfpn: Mnfpn, new_schema: NewStore, tmp_path: Path
) -> None:
    """With the server's own message."""
    source = tmp_path / "x.db"
    with open_store(str(source), create=True) as store:
        swept(store)
    url = make_url(new_schema())
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS mnfpn_guest"))
        connection.execute(text("CREATE ROLE mnfpn_guest LOGIN PASSWORD 'guest'"))
    guest = url.set(username="mnfpn_guest", password="guest", query={})
    done = mnfpn("runs", "merge", str(source), "--store", guest.render_as_string(hide_password=False))
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE mnfpn_guest"))
    engine.dispose()
    assert (done.code, done.out) == (1, "")
    assert "permission denied for schema public" in done.err
