"""Scores of networks, as somebody measured them: written, and read for the runs of the same network, size and dtype."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from secrets import token_hex

from sqlalchemy import Connection

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.read import Networks
from mnfpn_cli.store.rows import StoredRun, StoredScore
from mnfpn_cli.store.store import Store

RESERVED = ("macs", "imagenet-top1", "coco-map")
"""Metrics that mnfpn has itself."""

METRIC = re.compile(r"[A-Za-z][A-Za-z0-9_.:@/-]{0,79}")


@dataclass(frozen=True, slots=True)
class NewScore:
    """A score to be stored, and what it is of: all runs of a network at a size in a dtype."""

    settings: NetworkSettings
    size: Size
    dtype: DType
    score: StoredScore


def check_metric(where: str, name: str) -> str:
    """Return the name of a metric.

    Raises:
        UsageError: where it is malformed, or a metric that mnfpn has itself.
    """
    if not METRIC.fullmatch(name):
        raise UsageError(Problem(where, "must name a metric, with a letter first, as map or acc@1", f"'{name}'"))
    if name in RESERVED:
        raise UsageError(Problem(where, "must be another metric than mnfpn has itself", f"'{name}'"))
    return name


def check_score(where: str, value: object) -> float:
    """Return a score, given as a number or as text.

    Raises:
        UsageError: where it is not a finite number.
    """
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(Problem(where, "must be a finite number, of which more is better", f"'{value}'"))
    return number


def of_run(run: StoredRun, score: StoredScore) -> NewScore:
    """Return a new score of the network of a run, at its size in its dtype."""
    return NewScore(run.settings, run.size, run.execution.dtype, score)


def add_scores(store: Store, scores: Sequence[NewScore]) -> None:
    """Insert scores, all or none; earlier scores stay, and the newest counts.

    Raises:
        StoreError: where the store cannot be written.
    """
    store.write(inserting(store, scores))


def inserting(store: Store, scores: Sequence[NewScore]) -> Callable[[Connection], None]:
    """Return the change that inserts scores, as a part of a transaction."""
    networks = Networks(one.settings for one in scores)
    rows = [
        {
            "id": token_hex(16),
            "network": networks.id_of(one.settings),
            "height": one.size.height,
            "width": one.size.width,
            "dtype": one.dtype,
            **asdict(one.score),
        }
        for one in scores
    ]

    def change(connection: Connection) -> None:
        store.lock_bulk_changes(connection)
        store.insert_missing(connection, t.networks, networks.rows())
        store.insert_missing(connection, t.scores, rows)

    return change


def runs_reached(runs: Iterable[StoredRun], scores: Iterable[NewScore]) -> list[StoredRun]:
    """Return the runs that scores are of."""
    scored = {(one.settings, one.size, one.dtype) for one in scores}
    return [one for one in runs if (one.settings, one.size, one.execution.dtype) in scored]
