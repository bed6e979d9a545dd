"""What a row of a store must hold: one that was changed by hand, or by a fault of the disk, is told, and not used."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError
from sqlalchemy import JSON, Column, Connection, Float, Integer, Row, Table, select

from mnfpn_cli.settings.input import ITEM_BYTES
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.store import tables as t
from mnfpn_cli.store.rows import Status

Amount = Annotated[float, Field(ge=1e-12, le=1e9)]
"""A time in seconds: whatever is worked out of some of them stays finite."""
Samples = Annotated[list[Amount], Field(min_length=1)]


class DamagedError(Exception):
    """A row is not what a store holds; the message names the row and the rule. `store.errors.told` names the store."""


class _Document(BaseModel):
    """What reports rely on; what is not said here may be anything."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Latency(_Document):
    median: Amount
    samples: Samples


class _Run(_Document):
    device: str
    latency_s: _Latency
    threads: NonNegativeInt | None = None
    ended_by: str | None = None
    peak_memory_bytes: int | None = None


class _Warning(_Document):
    kind: str
    cause: str
    helps: str


class _Environment(_Document):
    cpu: str
    cores: int | None
    gpu: str | None


class _Part(_Document):
    part: str
    seconds: float | None


class _Layer(_Part):
    path: str | None


class _Advice(_Document):
    sentence: Annotated[str, Field(min_length=1)]


class _Profile(_Document):
    measured_s: Amount
    advice: _Advice | None = None
    parts: list[_Part]
    layers: list[_Layer]


class _Measured(_Document):
    run: _Run
    warnings: list[_Warning]
    environment: _Environment
    profile: _Profile | None


class _Space(_Document):
    cells: NonNegativeInt
    repeated: NonNegativeInt = 0
    all_runtimes: bool = False


class _Plan(_Document):
    command: str = ""
    measure: str = "all"
    space: _Space | None = None
    invalid: dict[str, NonNegativeInt] = {}
    cut: dict[str, NonNegativeInt] = {}


DOCUMENTS: dict[Column[Any], TypeAdapter[Any]] = {
    t.results.c.document: TypeAdapter(_Measured | None),
    t.sweeps.c.plan: TypeAdapter(_Plan),
    t.references.c.samples: TypeAdapter(Samples),
    t.networks.c.settings: TypeAdapter(NetworkSettings),
}
"""What the columns of JSON must hold."""

CHOICES: dict[Column[Any], tuple[str, ...]] = {
    t.cells.c.status: get_args(Status),
    t.results.c.status: ("done", "failed"),
    t.cells.c.dtype: tuple(ITEM_BYTES),
}
"""The words that there are for some columns."""

MOMENTS = {t.results.c.started, t.results.c.finished, t.sweeps.c.started, t.references.c.finished}
MAY_BE_ZERO = {t.cells.c.beat, t.results.c.sweep, t.members.c.position}

NAMES = {
    t.cells: "cell",
    t.results: "result",
    t.sweeps: "sweep",
    t.references: "time of a reference",
    t.networks: "network",
}
DIGITS = 8


@dataclass(frozen=True, slots=True)
class _Check:
    """What the value of a column must be: ``fits`` says whether it is, ``problem`` what is wrong with it."""

    name: str
    may_be_null: bool
    fits: Callable[[Any], bool]
    problem: Callable[[Any], str]


def checked(row: Row[Any], table: Table) -> Row[Any]:
    """A row with all columns of a table, if it holds what one must.

    Raises:
        DamagedError: where it does not.
    """
    for value, check in zip(row, _checks(table), strict=True):
        if not (check.fits(value) or (value is None and check.may_be_null)):
            key = str(getattr(row, next(iter(table.primary_key)).name))[:DIGITS]
            raise DamagedError(f"{NAMES.get(table, 'row')} {key}: {check.name}{check.problem(value)}")
    return row


def find_damage(connection: Connection) -> str:
    """Look through a whole store, and name the first thing in it that no store holds; nothing where it is sound.

    Raises:
        Exception: of any kind, where the database cannot even be looked through.
    """
    for table in t.metadata.sorted_tables:
        there = connection.exec_driver_sql(f"SELECT * FROM {table.name} LIMIT 0").keys()
        lacking = [one.name for one in table.columns if one.name not in there]
        if lacking:
            return f"{table.name} lacks the column {lacking[0]}"
        try:
            for row in connection.execute(select(table)):
                checked(row, table)
        except DamagedError as error:
            return str(error)
        except (ValueError, RecursionError) as error:
            return f"it holds text that should be JSON: {error}"
    return _broken_link(connection) if connection.dialect.name == "sqlite" else ""


def _broken_link(connection: Connection) -> str:
    """The first row that refers to one which is not there; a server keeps such rows out."""
    for child, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        return f"a row of {child} refers to one that {parent} lacks"
    return "; ".join(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars()).removesuffix("ok")


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong with a document, behind the name of what holds it."""
    problem = error.errors(include_url=False)[0]
    where = "".join(f".{one}" for one in problem["loc"])
    return f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


@lru_cache
def _checks(table: Table) -> tuple[_Check, ...]:
    return tuple(_check(column) for column in table.columns)


def _check(column: Column[Any]) -> _Check:
    if isinstance(column.type, JSON):
        return _Check(column.name, bool(column.nullable), *_of_document(DOCUMENTS[column]))
    if isinstance(column.type, Integer):
        least = 0 if column in MAY_BE_ZERO else 1
        fits, rule = lambda value: isinstance(value, int) and value >= least, f"must be a whole number, {least} or more"
    elif isinstance(column.type, Float):
        fits, rule = lambda value: isinstance(value, int | float) and value > 0, "must be a number above 0"
    elif column in MOMENTS:
        fits, rule = _is_moment, "must be a moment, as 2026-01-31T12:00:00+00:00"
    elif column in CHOICES:
        words = CHOICES[column]
        fits, rule = lambda value: value in words, f"must be one of {', '.join(words)}"
    else:
        fits, rule = lambda value: isinstance(value, str), "must be text"
    return _Check(column.name, bool(column.nullable), fits, lambda value: f": {rule}, got {str(value)[:60]!r}")


def _of_document(kind: TypeAdapter[Any]) -> tuple[Callable[[Any], bool], Callable[[Any], str]]:
    def problem(value: Any) -> str:
        try:
            kind.validate_python(value)
        except ValidationError as error:
            return first_problem(error)
        return ""

    return lambda value: not problem(value), problem


def _is_moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
