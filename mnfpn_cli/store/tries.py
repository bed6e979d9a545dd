"""Doing again what a database may fail at for a moment, and telling in words what it fails at for good."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from mnfpn_cli.store.damage import DamagedError
from mnfpn_cli.store.errors import StoreError, explained, passes, shown

T = TypeVar("T")

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between tries where a server has gone away in the middle, or a file is locked: half a minute in all."""

OPENING_WAITS_S = (0.5, 1.0)
"""The same when a store is opened: nothing is lost then, and a name that is wrong stays wrong."""


def retried(
    work: Callable[[], T], waits: tuple[float, ...] | None = None, sleep: Callable[[float], Any] | None = None
) -> T:
    """Do what a database may fail at for a moment, again and again with growing waits (`WAITS_S`)."""
    for wait in WAITS_S if waits is None else waits:
        try:
            return work()
        except DBAPIError as error:
            if not passes(error):
                raise
        (sleep or time.sleep)(wait)
    return work()


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Tell errors of the database in words; those of this program stay what they are.

    Raises:
        UsageError: where it is no store.
        StoreError: where it cannot be read or written.
    """
    try:
        yield
    except DBAPIError as error:
        said = explained(error, url)
        if said is None:
            raise
        raise said from error
    except DamagedError as error:
        raise StoreError(f"--store: {shown(url)} is damaged: {error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"--store: {shown(url)} is damaged: it holds text that should be JSON: {error}") from error
