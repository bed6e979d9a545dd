"""Functions that run on the nodes of a Ray cluster: they check whether a node can measure, and measure there.

Ray sends this module by value, so that it also runs on a node without mnfpn: functions import what they need when they
run, and return plain values.
"""

from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict, Field

from mnfpn_cli import __version__
from mnfpn_cli.documents.base import Record
from mnfpn_cli.space.runs import KEY_VERSION

CHECK = """
import json
from importlib.util import find_spec
found = {"torch": find_spec("torch") is not None}
try:
    import mnfpn_cli
    found["version"] = str(mnfpn_cli.__version__)
    from mnfpn_cli.space.runs import KEY_VERSION
    found["key_version"] = str(KEY_VERSION)
except Exception:
    pass
print("\\n" + json.dumps(found))
"""
"""What a new process of a node runs: any version of mnfpn may be there. The last line that it prints is the result."""


class NodeReport(Record):
    """What `prepare` found on a node. Keys that are not known are left out."""

    model_config = ConfigDict(extra="ignore")

    python: str = Field(description="Path of the interpreter.")
    torch: bool = Field(description="Whether torch is installed.")
    version: str | None = Field(None, description="Version of mnfpn; null where it is not installed.")
    key_version: str | None = Field(None, description="Version of a run's key in that mnfpn; null where it has none.")
    actor: str | None = Field(None, description="Ray's id of the actor; null for a task.")
    gpus: tuple[str, ...] = Field((), description="Ray's ids of the GPUs that are reserved for it.")

    @property
    def problem(self) -> str:
        """Why the node cannot measure; empty where it can."""
        if self.version is None:
            return f"its Python ({self.python}) has no mnfpn: pip install mnfpn=={__version__}"
        if self.version != __version__:
            return f"it has mnfpn {self.version}, this is {__version__}"
        if self.key_version != str(KEY_VERSION):
            return f"its mnfpn measures runs of version {self.key_version}, this one of {KEY_VERSION}"
        return "" if self.torch else f"its Python ({self.python}) has no torch"


class Measurer:
    """An actor that holds reserved cores or a GPU of its node, and calls one function at a time there."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns."""
        return function(*arguments)


def prepare() -> str:
    """Prepare a node for measuring; return what it has as the JSON of `NodeReport`, a class that the node may lack.

    A new process looks for packages, as a new process will measure: Ray adds folders to the path of its own processes.
    ``OMP_NUM_THREADS``, which Ray sets to the reserved cores, is removed, so that a run has its usual threads.
    """
    import json
    import os
    import subprocess
    import sys
    from pathlib import Path

    import ray

    started_with = Path("/proc/self/environ")
    if not started_with.exists() or b"OMP_NUM_THREADS=" not in started_with.read_bytes():
        os.environ.pop("OMP_NUM_THREADS", None)
    printed = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, check=True, timeout=60).stdout
    context = ray.get_runtime_context()
    gpus = [str(one) for one in context.get_accelerator_ids().get("GPU", [])]
    found = json.loads(printed.splitlines()[-1])
    return json.dumps({"python": sys.executable, "actor": context.get_actor_id(), "gpus": gpus, **found})
