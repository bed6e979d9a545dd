"""Small runs that tests measure."""

from typing import Any

from mnfpn_cli.documents.records import InputRecord
from mnfpn_cli.documents.worker import RunRequest, SamplingRecord
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.sweep.process import Task

LONG = SamplingRecord(min_time_s=60)


def work(**changes: Any) -> RunRequest:
    """A small network on the CPU, timed for ten passes, with some fields changed."""
    sides: dict[str, int] = {side: changes.pop(side) for side in ("batch", "height", "width") if side in changes}
    made: dict[str, Any] = {
        "settings": NetworkSettings(width_mult=0.35),
        "input": InputRecord(**({"batch": 1, "channels": 3, "height": 64, "width": 64} | sides), shapes=None),
        "runtime": "eager",
        "device": "cpu",
        "dtype": "float32",
        "threads": None,
        "train": False,
        "sampling": SamplingRecord(passes=10, warmup=2),
        "by_layer": False,
        **changes,
    }
    return RunRequest(**made)


def settings_of(task: Task) -> NetworkSettings:
    """The settings of the network that a task measures."""
    assert task.work.settings is not None
    return task.work.settings


def width_of(task: Task) -> float:
    """Its width multiplier."""
    return settings_of(task).width_mult


def task(timeout_s: float = 60, **changes: Any) -> Task:
    """The task that measures it, for at most this many seconds."""
    return Task(work(**changes), timeout_s)
