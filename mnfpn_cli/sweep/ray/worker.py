"""Functions that run on the nodes of a Ray cluster: they check whether a node can measure, and measure there.

Ray sends this module by value, so that it also runs on a node without mnfpn: functions import what they need when they
run, and return plain values.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mnfpn_cli import __version__
from mnfpn_cli.space.runs import KEY_VERSION

CHECK = """
import json
from importlib.util import find_spec
found = {"torch": find_spec("torch") is not None}
try:
    import mnfpn_cli
    found["version"] = mnfpn_cli.__version__
    from mnfpn_cli.space.runs import KEY_VERSION
    found["key_version"] = KEY_VERSION
except ImportError:
    pass
print(json.dumps(found))
"""


class Measurer:
    """An actor that holds reserved cores or a GPU of its node, and calls one function at a time there."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns."""
        return function(*arguments)


def prepare() -> dict[str, Any]:
    """Prepare a node for measuring; return what it has, for `problem_of`.

    A new process looks for packages, as a new process will measure: Ray adds folders to the path of its own processes.
    ``OMP_NUM_THREADS``, which Ray sets to the reserved cores, is removed, so that a run has its usual threads.

    Returns:
        ``python``: its interpreter; ``torch``: whether it is installed; ``version`` and ``key_version`` of mnfpn where
        that is installed; ``actor`` and ``gpus``: Ray's ids of this actor and of the GPUs reserved for it.
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
    reserved = {"actor": context.get_actor_id(), "gpus": context.get_accelerator_ids().get("GPU", [])}
    return {"python": sys.executable, **reserved, **json.loads(printed)}


def problem_of(found: Mapping[str, Any]) -> str:
    """Return why a node cannot measure, from what `prepare` found there; empty where it can."""
    version = found.get("version")
    if version is None:
        return f"its Python ({found['python']}) has no mnfpn: pip install mnfpn=={__version__}"
    if version != __version__:
        return f"it has mnfpn {version}, this is {__version__}"
    if found.get("key_version") != KEY_VERSION:
        return f"its mnfpn measures runs of version {found.get('key_version')}, this one of {KEY_VERSION}"
    return "" if found["torch"] else f"its Python ({found['python']}) has no torch"
