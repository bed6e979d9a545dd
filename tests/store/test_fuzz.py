"""Stores with bytes, rows or tables changed at random: every command ends in a message, and none in a traceback.

`MNFPN_FUZZ=60` changes sixty stores a kind of damage; a failure prints the seed that makes its store again.
"""

import json
import os
import random
import shutil
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table

from mnfpn_cli.documents.bench import AdviceRecord, LayerTimeRecord, PartTime
from mnfpn_cli.store import rows as t
from mnfpn_cli.store import store as connect_module
from mnfpn_cli.store.claims import Claims
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.rows import BaselineTiming, StoredScore
from mnfpn_cli.store.scores import add_scores, of_run
from mnfpn_cli.store.store import open_store
from mnfpn_cli.store.sweeps import add_baseline, now
from mnfpn_cli.sweep.process import Outcome
from tests.conftest import Mnfpn
from tests.store.made import MACHINE, measure, measured, result, swept
from tests.sweep.recorded import recorded

STORES = int(os.environ.get("MNFPN_FUZZ", "16"))
TABLES = [table for table in t.metadata.sorted_tables if table is not t.store]
PAGE = 4096
STARTED = "2026-01-01T00:00:00.000+00:00"
VALUES = (None, 0, -1, 2**62, 1.5, float("inf"), "", "x", "[1", "{}", "[]", "null", "9" * 5000, "[" * 5000, b"\xff\xfe")
"""What a column may hold that it should not."""

NODE_VALUES: tuple[Any, ...] = (None, 0, -1, 1.5, True, "", "x", [], {}, [None], {"a": 1})
"""What a key of a document may hold that it should not."""

Damage = Callable[[Path, random.Random], None]


def flip_bytes(path: Path, chance: random.Random) -> None:
    """Change up to 40 bytes anywhere in the file."""
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 3, 10, 40))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def flip_text(path: Path, chance: random.Random) -> None:
    """Change letters only: the file stays a database, and its words become others."""
    content = bytearray(path.read_bytes())
    letters = [at for at, byte in enumerate(content) if byte in b"abcdefghijklmnopqrstuvwxyz_"]
    for at in chance.sample(letters, chance.choice((1, 5, 20))):
        content[at] = chance.choice(b"abcxyz_0\xff")
    path.write_bytes(content)


def truncate(path: Path, chance: random.Random) -> None:
    """Cut the file off anywhere."""
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def swap_pages(path: Path, chance: random.Random) -> None:
    """Exchange two pages of the database."""
    content = path.read_bytes()
    pages = [content[at : at + PAGE] for at in range(0, len(content), PAGE)]
    one, other = chance.sample(range(len(pages)), 2)
    pages[one], pages[other] = pages[other], pages[one]
    path.write_bytes(b"".join(pages))


def _a_column(chance: random.Random) -> tuple[Table, str]:
    """A column that takes any value: all but the number of a sweep, which SQLite itself keeps whole."""
    table = chance.choice(TABLES)
    return table, chance.choice([one.name for one in table.columns if one is not t.sweeps.c.id])


def rename_a_column(path: Path, chance: random.Random) -> None:
    """Give a column another name, in the text of the schema alone."""
    table, column = _a_column(chance)
    other = chance.choice((column[:-1], "renamed", f"{column}é", chance.choice(table.columns.keys())))
    edit_schema(path, table.name, f"\t{column} ", f"\t{other} ")


def break_text(path: Path, chance: random.Random) -> None:
    """Put bytes that are not UTF-8 into a column."""
    table, column = _a_column(chance)
    run(
        path,
        f"UPDATE OR IGNORE {table.name} SET {column} = CAST(? AS TEXT)",
        chance.choice((b"\xff", b"ab\xc3", b"\xed\xa0\x80")),
    )


def change_a_value(path: Path, chance: random.Random) -> None:
    """Put a value of another kind into a column, also nothing where there must be something."""
    table, column = _a_column(chance)
    edit_schema(path, table.name, " NOT NULL", "")
    run(path, f"UPDATE OR IGNORE {table.name} SET {column} = ?", chance.choice(VALUES))


def delete_rows(path: Path, chance: random.Random) -> None:
    """Delete rows that others refer to."""
    for table in chance.sample(TABLES, chance.choice((1, 2))):
        rows = [row for (row,) in run(path, f"SELECT rowid FROM {table.name} ORDER BY rowid")]
        for row in chance.sample(rows, chance.randint(0, len(rows))):
            run(path, f"DELETE FROM {table.name} WHERE rowid = ?", row)


def change_a_document(path: Path, chance: random.Random) -> None:
    """Change, or remove, one key anywhere in a JSON document."""
    table, column, key = chance.choice(
        (("mnfpn_results", "document", "id"), ("mnfpn_sweeps", "plan", "id"), ("mnfpn_networks", "settings", "id"))
    )
    rows = run(path, f"SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY {key}")
    for name, text in rows:
        document = json.loads(text)
        _change(document, chance)
        run(path, f"UPDATE {table} SET {column} = ? WHERE {key} = ?", json.dumps(document), name)


def _change(document: Any, chance: random.Random) -> None:
    items = list(_items(document))
    if not items:
        return
    parent, key = chance.choice(items)
    if isinstance(parent, dict) and chance.random() < 0.4:
        del parent[key]
    else:
        parent[key] = chance.choice(NODE_VALUES)


def _items(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each object or list of a document with each of its keys or indices."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield node, key
        yield from _items(child)


def run(path: Path, statement: str, *values: Any) -> list[Any]:
    """Run a statement as another program would: without the store's own rules."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def edit_schema(path: Path, table: str, old: str, new: str) -> None:
    """Change the text of a table's schema."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    where = "type = 'table' AND name = ?"
    connection.execute(f"UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE {where}", (old, new, table))
    connection.close()


KINDS: list[Damage] = [
    flip_bytes,
    flip_text,
    truncate,
    swap_pages,
    rename_a_column,
    break_text,
    change_a_value,
    delete_rows,
    change_a_document,
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all that one may hold, the same bytes each time: runs measured, with layers, failed and pending."""
    path, chance = tmp_path_factory.mktemp("fuzz") / "sound.db", random.Random(0)
    was, stem = recorded().profile, {"seconds": 0.01, "macs": 10, "bytes": 10, "floor_s": None, "bound": None}
    assert was is not None
    advice = AdviceRecord(part="stem", share=0.5, option="--stem-channels", speed_up=1.5, sentence="It takes half.")
    parts, layers = (PartTime(part="stem", **stem),), (LayerTimeRecord(part="stem", path="stem.conv", **stem),)
    profile = was.model_copy(update={"measured_s": 0.01, "advice": advice, "parts": parts, "layers": layers})
    with pytest.MonkeyPatch.context() as patch, open_store(str(path), create=True) as store:
        for module in ("mnfpn_cli.store.sweeps", "tests.store.made"):
            patch.setattr(f"{module}.token_hex", lambda count: chance.randbytes(count).hex())
        patch.setattr("mnfpn_cli.store.sweeps.now", lambda: STARTED)
        sweep, keys = swept(store)
        claims, first = Claims(store, me="me"), result(sweep)
        layered = replace(first, measured=measured((0.01, 0.011), profile))
        measure(store, keys[0], layered, claims)
        measure(store, keys[1], result(sweep, (0.02, 0.021, 0.022)), claims)
        measure(store, keys[2], result(sweep, status="failed", reason="out of memory"), claims)
        add_baseline(store, BaselineTiming("1" * 32, sweep, keys[0], "here", first.finished, first.samples))
        patch.setattr("mnfpn_cli.store.scores.token_hex", lambda count: chance.randbytes(count).hex())
        add_scores(store, [of_run(one, StoredScore("map", 0.5, "a file", STARTED)) for one in read_runs(store)[:2]])
    return path


def commands(store: str, key: str, other: str) -> list[tuple[str, ...]]:
    """All that reads a store; those that change it come last."""
    at = ("--store", store)
    return [
        ("runs", "list", *at),
        ("runs", "list", "--json", *at),
        ("runs", "show", key, *at),
        ("runs", "show", key, "--json", *at),
        ("runs", "export", "--format", "csv", *at),
        ("runs", "export", "--format", "csv", "--metric", "map", *at),
        ("runs", "export", *at),
        ("report", *at),
        ("report", "--json", *at),
        ("recommend", "--max-latency", "1s", *at),
        ("sweep", "--width-mult", "0.25,0.26", "--size", "64", "--by-layer", "--dry-run", *at),
        ("runs", "score", key, "map=0.6", *at),
        ("runs", "merge", store, "--store", other),
        ("runs", "merge", other, *at),
        ("sweep", "--resume", *at),
        ("runs", "prune", "--failed", "--superseded", *at),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("damage", KINDS, ids=[one.__name__ for one in KINDS])
def test_no_damage_ends_in_a_traceback(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sound: Path, damage: Damage
) -> None:
    """Whatever bytes a file has: exit code 0, or 1 or 2 with one line that begins with ``error:``."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(connect_module, "BUSY_S", 0.01)
    monkeypatch.setattr("mnfpn_cli.sweep.case.this_machine", lambda: MACHINE)
    monkeypatch.setattr(
        "mnfpn_cli.sweep.pool.run_on_worker", lambda *_: Outcome("failed", "here", *2 * (now(),), "no time")
    )
    monkeypatch.chdir(tmp_path)
    ((key,),) = run(sound, "SELECT key FROM mnfpn_results WHERE document LIKE '%stem.conv%'")
    failures = list[str]()
    for seed in range(STORES):
        path, other = tmp_path / f"{seed}.db", tmp_path / f"{seed}-other.db"
        shutil.copyfile(sound, path)
        damage(path, random.Random(seed))
        for command in commands(str(path), key[:8], str(other)):
            problem = _problem(mnfpn, command)
            if problem:
                failures.append(f"seed {seed}: mnfpn {' '.join(command)}\n{problem}")
    assert not failures, f"{len(failures)} commands\n" + "\n".join(failures[:20])


def _problem(mnfpn: Mnfpn, command: tuple[str, ...]) -> str:
    """What is wrong with how a command ended; nothing where that is well."""
    try:
        done = mnfpn(*command)
    except Exception:  # noqa: BLE001 - whatever it is, it must not come out
        return traceback.format_exc(limit=-4)
    is_explained = done.err.startswith("error: ") or "\nerror: " in done.err
    well = done.code == 0 or (done.code in (1, 2) and is_explained)
    return "" if well else f"exit code {done.code}: {done.err}"
