"""Empty stores of both kinds: files, and schemas of the PostgreSQL server whose URL is in MNFPN_TEST_POSTGRES."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from sqlalchemy import create_engine, text

from mnfpn_cli.store.store import Store, open_store

SERVER = "MNFPN_TEST_POSTGRES"

NewStore = Callable[[], str]


@pytest.fixture
def new_schema() -> Iterator[NewStore]:
    """Return a function that creates an empty schema on the server and returns its URL."""
    if SERVER not in os.environ:
        pytest.skip(f"{SERVER} names no PostgreSQL server")
    engine, made = create_engine(os.environ[SERVER]), list[str]()

    def make() -> str:
        made.append(f"mnfpn_{token_hex(4)}")
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {made[-1]}"))
        return f"{os.environ[SERVER]}?options=-csearch_path%3D{made[-1]}&application_name={made[-1]}"

    yield make
    with engine.begin() as connection:
        for name in made:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def new_name(request: pytest.FixtureRequest, tmp_path: Path) -> NewStore:
    """Return a function that returns names of new stores, of either kind."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"{token_hex(4)}.db")
    schemas: NewStore = request.getfixturevalue("new_schema")
    return schemas


@pytest.fixture
def name(new_name: NewStore) -> str:
    """The name of a store that does not exist yet."""
    return new_name()


@pytest.fixture
def store(name: str) -> Iterator[Store]:
    """An empty store."""
    with open_store(name, create=True) as opened:
        yield opened
