"""Which store is meant: a file, or a server."""

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from mnfpn_cli.errors import UsageError


def store_url(name: str) -> URL:
    """A file, or a URL of SQLite or PostgreSQL.

    Raises:
        UsageError: where it is neither.
    """
    if "://" not in name:
        if not name or "\0" in name:
            raise UsageError(f"--store: must be a file or a URL, got '{name}'")
        return URL.create("sqlite", database=name)
    try:
        url = make_url(name)
    except (ArgumentError, ValueError):  # its message would show the password
        raise UsageError("--store: must be a file or a URL, as postgresql+psycopg://user@host/database") from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UsageError(f"--store: must be a file, or a URL of sqlite or postgresql+psycopg, got {url.drivername}")
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError("--store: must be a file: what is in memory would be lost")
    return url


def check_file(path: Path, create: bool) -> None:
    """Make sure that a file can be a store; ``create``: or that one can be made.

    Raises:
        UsageError: where it cannot.
    """
    try:
        is_there, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
        has_folder = path.parent.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long, a folder that is closed
        raise UsageError(f"--store: must be a file that can be opened, got '{path}': {error}") from None
    if is_folder:
        raise UsageError(f"--store: must be a file, but '{path}' is a folder")
    if not has_folder:
        raise UsageError(f"--store: must be in a folder that exists, but '{path.parent}' is none")
    if not is_there and not create:
        raise UsageError(f"--store: must be a store, but there is no file '{path}'")
    if is_there and not is_file:
        raise UsageError(f"--store: must be a file, but '{path}' is a device or a pipe")
