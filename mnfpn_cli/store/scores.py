"""Scores of networks, as somebody measured them: written, and read for the runs of the same network, size and dtype."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real
from secrets import token_hex

from sqlalchemy import Connection

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.store import rows as t
from mnfpn_cli.store.read import Networks
from mnfpn_cli.store.rows import StoredRun, StoredScore
from mnfpn_cli.store.store import Store
from mnfpn_cli.text import did_you_mean

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


def check_metric(where: str, name: object) -> str:
    """Return the name of a metric.

    Raises:
        UsageError: where it is malformed, or a metric that mnfpn has itself.
    """
    if not isinstance(name, str) or not METRIC.fullmatch(name):
        raise UsageError(Problem(where, "must name a metric, with a letter first, as map or acc@1", f"'{name}'"))
    if name in RESERVED:
        raise UsageError(Problem(where, "must be another metric than mnfpn has itself", f"'{name}'"))
    return name


def check_score(where: str, value: object) -> float:
    """Return a score, given as a number or as text.

    Raises:
        UsageError: where it is not a finite number.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)  # numpy's numbers are real numbers too
    is_text = isinstance(value, str) and "_" not in value  # Python takes 1_000 for a number, but no other program does
    try:
        number = float(value) if is_number or is_text else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(Problem(where, "must be a finite number, of which more is better", f"'{value!s:.40}'"))
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


def with_metric(runs: Sequence[StoredRun], metric: str) -> list[StoredRun]:
    """Return the runs that have a score of a metric, without their scores of other metrics.

    Raises:
        UsageError: where no run has one.
    """
    scored = [replace(one, scores={metric: one.scores[metric]}) for one in runs if metric in one.scores]
    if not scored:
        known = sorted({name for one in runs for name in one.scores})
        rule = f"must be a metric that a run has a score of ({', '.join(known) or 'none has any'})"
        raise UsageError(Problem("`metric`", rule, f"'{metric}'", did_you_mean(metric, known)))
    return scored
