"""What can go wrong with a store, in words."""

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mnfpn_cli.errors import MnfpnError, UsageError


class StoreError(MnfpnError):
    """The store could not be read or written; what it holds is as it was."""


PASSING = ("database is locked", "database table is locked", "disk i/o error", "unable to open database")
"""What SQLite says of a file that may be well again in a moment."""

LASTING = {
    "file is not a database": (UsageError, "must be a store of mnfpn, but it is no SQLite database"),
    "file is encrypted": (UsageError, "must be a store of mnfpn, but it is no SQLite database"),
    "malformed": (StoreError, "is damaged: SQLite finds its pages malformed"),
    "readonly database": (StoreError, "could not be written: it is read-only"),
    "disk is full": (StoreError, "could not be written: the disk is full"),
    "locked": (StoreError, "is locked by another process"),
    "unable to open": (StoreError, "could not be opened: is its folder there, and may it be written?"),
    "disk i/o error": (StoreError, "could not be read or written: the disk reports an error"),
}
"""What SQLite says, and what it means."""


def passes(error: Exception) -> bool:
    """Whether trying again may help: a server that went away, a file that another process holds."""
    if not isinstance(error, DBAPIError):
        return False
    text = str(error.orig).lower()
    if error.dialect_name == "sqlite" if hasattr(error, "dialect_name") else "sqlite" in type(error.orig).__module__:
        return any(sign in text for sign in PASSING)
    return error.connection_invalidated or "connect" in text or "shut" in text or "recovery" in text


def explained(error: Exception, url: URL) -> MnfpnError:
    """The error of a database as one of ours."""
    name = shown(url)
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = str(cause).strip().partition("\n")[0]
    if url.get_backend_name() == "sqlite":
        for sign, (kind, words) in LASTING.items():
            if sign in text.lower():
                return kind(f"--store: {name} {words}")
    if isinstance(error, SQLAlchemyError):
        return StoreError(f"--store: {name}: {text}")
    raise error


def shown(url: URL) -> str:
    """A store as messages name it: a file, or a server without its password."""
    if url.get_backend_name() == "sqlite":
        return f"'{url.database}'"
    return f"'{url.render_as_string(hide_password=True)}'"
