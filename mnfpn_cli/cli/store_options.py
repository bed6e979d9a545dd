"""The options that name a store, and the metric of its runs."""

from pathlib import Path
from typing import Annotated

from typer import Option

from mnfpn_cli.cli.paths import Reads


def files_of_store(name: str) -> tuple[Path, ...]:
    """Return the file of a store; nothing for a server.

    Raises:
        UsageError: if the name is neither a file nor the URL of a server.
    """
    from mnfpn_cli.store.store import store_files

    return store_files(name)


STORE_HELP = "Use this SQLite file or PostgreSQL URL as the store."
OptionalStoreOption = Annotated[
    str | None,
    Option(help=STORE_HELP, metavar="STORE"),
    Reads(files_of_store),
]
StoreOption = Annotated[
    str,
    Option(help=STORE_HELP, metavar="STORE"),
    Reads(files_of_store),
]
MetricOption = Annotated[
    str | None,
    Option(
        help="Compare runs by this metric, as map or macs; more is better (default: the one that most runs have).",
        metavar="NAME",
    ),
]
