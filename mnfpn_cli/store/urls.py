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
        return _kept(URL.create("sqlite", database=name), name)
    try:
        url = make_url(name)
    except (ArgumentError, ValueError):  # its message would show the password
        raise UsageError("--store: must be a file or a URL, as postgresql+psycopg://user@host/database") from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UsageError(f"--store: must be a file, or a URL of sqlite or postgresql+psycopg, got {url.drivername}")
    return _kept(url, name) if url.drivername == "sqlite" else url


def _kept(url: URL, name: str) -> URL:
    """The same URL of SQLite, if what is put there is there afterwards.

    Raises:
        UsageError: where it is not.
    """
    file = url.database or ""
    if file.startswith("file:"):  # which may mean memory, or a file that others know by another name
        raise UsageError(f"--store: must be the name of a file, and no URI of SQLite's own, got '{name}'")
    if file in ("", ":memory:") or "memory" in url.normalized_query.get("mode", ()):
        raise UsageError(f"--store: must be a file: what is in memory would be lost, got '{name}'")
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
        raise UsageError(f"--store: must be a file that can be opened, got '{path}': {error}") from None
    if is_folder:
        raise UsageError(f"--store: must be a file, but '{path}' is a folder")
    if not has_folder:
        raise UsageError(f"--store: must be in a folder that exists, but '{path.parent}' is none")
    if not is_there and not create:
        raise UsageError(f"--store: must be a store, but there is no file '{path}'")
    if is_there and not is_file:
        raise UsageError(f"--store: must be a file, but '{path}' is a device or a pipe")
