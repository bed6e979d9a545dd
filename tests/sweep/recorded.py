"""The recorded exchange with a real worker, from whose response pools that measure nothing make theirs.

`MNFPN_RECORD=1 python -m pytest tests/sweep/test_recorded.py` records it anew.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mnfpn_cli.documents.base import Record
from mnfpn_cli.documents.bench import RunProfile
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.documents.worker import Measured, RunRequest, RunResponse, SamplingRecord
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.settings.network import NetworkSettings
from tests.sweep.works import work

FILE = Path(__file__).with_name("recorded.json")

WORK = work(
    settings=NetworkSettings.model_validate({"stages": [[1, 8, 1, 2], [6, 8, 1, 2]]}),
    **{"height": 32, "width": 32, "threads": 1, "sampling": SamplingRecord(passes=8, warmup=2), "by_layer": True},
)
"""The recorded run: a tiny network, with layer times."""

NEUTRAL = {
    "cpu": "a CPU",
    "cores": 2,
    "memory_bytes": 2**34,
    "platform": "Linux-x86_64",
    "date": "2026-11-21T00:00:00+00:00",
}
"""Neutral values in the recorded environment, in place of those of the machine that recorded it."""


class Exchange(Record):
    """A request, and the response of a real worker to it."""

    request: RunRequest
    response: RunResponse


def recorded() -> Measured:
    """Return the recorded measurement."""
    measured = Exchange.model_validate_json(FILE.read_text()).response.measured
    assert measured is not None
    return measured


def made_up(
    samples: Sequence[float],
    warnings: Sequence[WarningRecord] = (),
    profile: RunProfile | None = None,
    **run: object,
) -> Measured:
    """Return the recorded measurement with other samples; ``run``: other changes of its run."""
    was = recorded()
    changes = {"latency_s": latency_record(Latency(tuple(samples))), **run}
    other = {"run": was.run.model_copy(update=changes), "warnings": tuple(warnings), "profile": profile}
    return was.model_copy(update=other)


def record(measured: Measured) -> None:
    """Write the exchange that gave a measurement as the record, without the names of its machine."""
    neutral = measured.model_copy(update={"environment": measured.environment.model_copy(update=NEUTRAL)})
    exchange = Exchange(request=WORK, response=WORK.respond("done", measured=neutral))
    FILE.write_text(exchange.model_dump_json(indent=1) + "\n")


def unlike(one: Any, other: Any, machine: str = "") -> Iterator[str]:
    """Yield where two documents differ in keys or types. None, an unknown value, is like anything."""
    if one is None or other is None:
        return
    if type(one) is not type(other):
        yield f"{machine}: {type(one).__name__} is not {type(other).__name__}"
    elif isinstance(one, dict):
        yield from (f"{machine}.{key}: is in one alone" for key in sorted(one.keys() ^ other.keys()))
        for key in sorted(one.keys() & other.keys()):
            yield from unlike(one[key], other[key], f"{machine}.{key}")
    elif isinstance(one, list) and one and other:
        for index, item in enumerate(other):
            yield from unlike(one[0], item, f"{machine}[{index}]")
