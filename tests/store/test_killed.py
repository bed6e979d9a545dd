"""SIGKILL at any moment loses the run in flight and nothing else."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.read import pending_keys, read_runs
from mnfpn_cli.store.store import open_store
from tests.store.made import swept

RUNS, KILLS = 120, 5

WRITER = """
import sys
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.read import pending_keys
from mnfpn_cli.store.store import open_store
from tests.store.made import result
with open_store(sys.argv[1]) as store:
    claims, sweep = Claims(store), int(sys.argv[2])
    for key in pending_keys(store, sweep):
        if claims.claim(key) and claims.finish(key, result(sweep, [0.001] * 500)):
            sys.stdout.write(key + "\\n")
            sys.stdout.flush()
"""


HALF = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE mnfpn_runs SET status = 'done'")
for index in range(99):
    connection.execute("INSERT INTO mnfpn_store VALUES (?, zeroblob(10000))", [f"n{index}"])
os.kill(os.getpid(), signal.SIGKILL)
"""


def _write_until_killed(name: str, sweep: int, seed: int) -> list[str]:
    """Have a process write rows, kill it after a few, and return the keys that it reported as finished."""
    rows = random.Random(seed)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, name, str(sweep)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    reported = [writer.stdout.readline().strip() for _ in range(rows.randint(1, 8))]
    # Anywhere in the writing of a row: as long as a claim and a commit take, or a part of that.
    time.sleep(rows.uniform(0, 0.02))
    writer.kill()
    rest, _ = writer.communicate()
    return [key for key in [*reported, *rest.split()] if len(key) == 32]


@pytest.mark.slow
def test_a_writer_that_is_killed_loses_the_run_in_flight_and_nothing_else(name: str) -> None:
    """Every result that it reported is there, the store is sound, and its claim expires."""
    with open_store(name, create=True) as store:
        sweep, keys = swept(store, RUNS)
    reported = list[str]()
    for seed in range(KILLS):
        before = len(reported)
        reported += _write_until_killed(name, sweep, seed)
        assert len(reported) > before
        with open_store(name) as store:
            Claims(store).release_expired()
            done = [one.key for one in read_runs(store, status="done")]
            assert set(reported) <= set(done)
            assert len(done) - len(reported) <= seed + 1  # the last report may be lost with the process
            assert sorted([*done, *pending_keys(store, sweep)]) == sorted(keys)
            if store.engine.dialect.name == "sqlite":
                check = store.read(lambda connection: connection.execute(text("PRAGMA integrity_check")).scalar_one())
                assert check == "ok"


def test_a_file_whose_writer_died_in_a_commit_is_unchanged(tmp_path: Path) -> None:
    """The next process that opens the file rolls back the pages that were written."""
    path = tmp_path / "x.db"
    with open_store(str(path), create=True) as store:
        swept(store)
    subprocess.run([sys.executable, "-c", HALF, str(path)], check=False)
    assert Path(f"{path}-journal").stat().st_size > 0
    with open_store(str(path)) as store:
        assert {one.status for one in read_runs(store)} == {"pending"}


def test_a_store_whose_creation_was_interrupted_is_created_by_the_next_process(tmp_path: Path) -> None:
    """The interrupted creation leaves an empty file."""
    path = tmp_path / "x.db"
    path.touch()
    with open_store(str(path), create=True) as store:
        assert read_runs(store) == []
