"""Documents of `mnfpn bench`, built by hand as dictionaries, and written to files."""

import json
from pathlib import Path
from typing import Any

from mnfpn_cli.settings.network import NetworkSettings

MACHINE = {
    "cpu": "a CPU",
    "cores": 2,
    "memory_bytes": 8_000_000_000,
    **dict.fromkeys(("gpu_name", "driver", "cuda", "tf32")),
    "torch": "2.13.0",
    "python": "3.13.1",
    "platform": "Linux",
    "mnfpn": "0.1.0",
    "date": "2026-01-01T00:00:00+00:00",
}
INPUT = {"batch": 1, "channels": 3, "height": 33, "width": 47, "shapes": None}
FIGURES = {"parameters": 1000, "macs": 50_000, "model_bytes": 4000, "activation_bytes": 600}
COST = {
    **FIGURES,
    "flops": 100_000,
    **dict.fromkeys(("fvcore_total", "fvcore_by_operator", "backbone", "pyramid", "head")),
}
STEADY = tuple(1.0 + k / 10_000 for k in range(40))
"""Samples in seconds that differ by less than half a per cent."""


def times(factor: float) -> list[float]:
    """Return steady samples, multiplied by a factor."""
    return [factor * sample for sample in STEADY]


def latency(samples: list[float], **changes: Any) -> dict[str, Any]:
    """Return a record of latency with these samples. A key whose value is ``...`` is left out."""
    made = {
        **dict.fromkeys(("median", "iqr", "min", "mad"), 1.0),
        **dict.fromkeys(("ci95", "p90", "p99")),
        "quartiles": [1.0, 1.0],
        "outliers": [],
        "samples": samples,
        **changes,
    }
    return {key: value for key, value in made.items() if value is not ...}


def run_json(samples: list[float] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a measured run. A key whose value is ``...`` is left out."""
    made = {
        "runtime": "eager",
        "device": "cpu",
        "gpu_name": None,
        "dtype": "float32",
        "batch": 1,
        "input": INPUT,
        "threads": 2,
        "train": False,
        "cold_cache": False,
        "channels_last": False,
        "first_result_s": {"prepare": 0.5, "pass": 1.0},
        "warmup": 6,
        "warmup_settled": True,
        "ended_by": "precision",
        "latency_s": latency(times(1.0) if samples is None else samples),
        "speed_up": 1.0,
        "throughput_per_s": 1.0,
        **dict.fromkeys(("enqueue_s", "max_difference", "peak_memory_bytes", "added_memory_bytes")),
        **dict.fromkeys(("gpu", "energy_j_per_image", "failure")),
        **({"batch": changes["input"]["batch"]} if "input" in changes else {}),
        **changes,
    }
    return {key: value for key, value in made.items() if value is not ...}


def result(*runs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a document of `mnfpn bench`. A key whose value is ``...`` is left out."""
    made = {
        "format_version": 2,
        "mnfpn_version": "0.1.0",
        "command": "bench",
        "settings": NetworkSettings().model_dump(mode="json"),
        "model": None,
        "complete": True,
        "input": INPUT,
        "cost": COST,
        "sizes": [],
        "runs": list(runs) or [run_json()],
        "not_run": [],
        "postprocess": None,
        "profiles": None,
        "failures": [],
        "weights": None,
        "warnings": [],
        "environment": MACHINE,
        **changes,
    }
    return {key: value for key, value in made.items() if value is not ...}


def written(folder: Path, name: str, document: Any) -> Path:
    """Write a document to a file and return its path."""
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path
