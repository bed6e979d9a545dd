"""Result files of `mnfpn bench`, made by hand."""

import json
from pathlib import Path
from typing import Any

from mnfpn_cli.settings.network import NetworkSettings

MACHINE = {
    "cpu": "a CPU",
    "cores": 2,
    "memory_bytes": 8_000_000_000,
    "gpu": None,
    "torch": "2.13.0",
    "date": "2026-01-01T00:00:00+00:00",
}
INPUT = {"batch": 1, "channels": 3, "height": 33, "width": 47}
COST = {"parameters": 1000, "macs": 50_000, "model_bytes": 4000, "activation_bytes": 600}
STEADY = tuple(1.0 + k / 10_000 for k in range(40))
"""Seconds that differ by less than half a per cent."""


def times(factor: float) -> list[float]:
    """Steady samples, longer by a factor."""
    return [factor * sample for sample in STEADY]


def row(samples: list[float] | None = None, **changes: Any) -> dict[str, Any]:
    """A timed row; a key whose value is ``...`` is left out."""
    made = {
        "runtime": "eager",
        "device": "cpu",
        "device_name": None,
        "dtype": "float32",
        "input": INPUT,
        "threads": 2,
        "train": False,
        "cold_cache": False,
        "latency_s": {"median": 1.0, "samples": times(1.0) if samples is None else samples},
        **changes,
    }
    return {key: value for key, value in made.items() if value is not ...}


def result(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A result of `mnfpn bench`; a key whose value is ``...`` is left out."""
    made = {
        "format_version": 1,
        "mnfpn_version": "0.1.0",
        "command": "bench",
        "settings": NetworkSettings().model_dump(mode="json"),
        "complete": True,
        "input": INPUT,
        "cost": COST,
        "sizes": [],
        "runs": list(rows) or [row()],
        "warnings": [],
        "environment": MACHINE,
        **changes,
    }
    return {key: value for key, value in made.items() if value is not ...}


def written(folder: Path, name: str, document: Any) -> Path:
    """A document as a file."""
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path
