"""What runs on the nodes of a Ray cluster.

Ray sends this module's function and class by value: a node that lacks this package must be able to say so. So they
import what they need when they run, and take and give only plain values.
"""

from collections.abc import Callable
from typing import Any

ASKED = """
import json
from importlib.util import find_spec
said = {"torch": find_spec("torch") is not None}
try:
    import mnfpn_cli
    said["version"] = mnfpn_cli.__version__
    from mnfpn_cli.space.cells import KEY_VERSION
    said["key_version"] = KEY_VERSION
except ImportError:
    pass
print(json.dumps(said))
"""
"""What is run by the Python that would measure there."""


def look_around() -> dict[str, Any]:
    """What a node has: ``version`` and ``key_version`` of this package where it is there, ``torch``, ``python``.

    A fresh process is asked, as it measures: this one's path may have what that one's has not.
    """
    import json
    import subprocess
    import sys

    printed = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, check=True, timeout=60).stdout
    return {"python": sys.executable, **json.loads(printed)}


class Measurer:
    """Measures on its node, one cell at a time: an actor that has reserved the node's cores, or a GPU."""

    def __init__(self, measure: Callable[[str, float], dict[str, Any]] | None = None) -> None:
        """Measure by ``measure``, which is given JSON and seconds; by a fresh process where that is None."""
        self._measure = measure
        if measure is None:
            import mnfpn_cli.sweep.process  # noqa: F401  the first cell need not wait for it

    def gpus(self) -> list[str]:
        """The names of the GPUs that Ray has given to this actor; that it answers says that it has its place."""
        import os

        import ray

        self._undo_threads(os.environ)
        given: dict[str, list[str]] = ray.get_runtime_context().get_accelerator_ids()
        return given.get("GPU", [])

    def measure(self, work: str, timeout_s: float) -> dict[str, Any]:
        """What came of measuring, as the fields of an `Outcome`."""
        if self._measure is not None:
            return self._measure(work, timeout_s)
        from mnfpn_cli.documents.work import Work
        from mnfpn_cli.sweep.process import Task, run_task

        return dict(vars(run_task(Task(Work.model_validate_json(work), timeout_s))))

    def _undo_threads(self, environment: Any) -> None:
        """Ray makes OpenMP use as many threads as it counts cores; the number of threads is torch's, or the user's."""
        from pathlib import Path

        try:
            started_with = Path("/proc/self/environ").read_bytes()
        except OSError:
            started_with = b""
        if b"OMP_NUM_THREADS=" not in started_with:
            environment.pop("OMP_NUM_THREADS", None)
