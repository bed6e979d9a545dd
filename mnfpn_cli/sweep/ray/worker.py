"""What runs on the nodes of a Ray cluster, and whether a node can measure.

Ray sends this module by value, so that a node without mnfpn can say so: functions import what they need when they run,
and return plain values.
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
    """An actor: calls functions on its node, one at a time, and reserves cores or a GPU for them."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function."""
        return function(*arguments)


def prepare() -> dict[str, Any]:
    """Return what a node has: mnfpn (``version``, ``key_version``), ``torch``, and what Ray gave this ``actor``.

    A fresh process looks, as one will measure: Ray adds folders to the path of its own. OpenMP gets its usual number
    of threads again, which Ray sets to the cores reserved.
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
    here = ray.get_runtime_context()
    given = {"actor": here.get_actor_id(), "gpus": here.get_accelerator_ids().get("GPU", [])}
    return {"python": sys.executable, **given, **json.loads(printed)}


def problem_of(found: Mapping[str, Any]) -> str:
    """Return why a node with this cannot measure; empty where it can."""
    version = found.get("version")
    if version is None:
        return f"its Python ({found['python']}) has no mnfpn: pip install mnfpn=={__version__}"
    if version != __version__:
        return f"it has mnfpn {version}, this is {__version__}"
    if found.get("key_version") != KEY_VERSION:
        return f"its mnfpn measures runs of version {found.get('key_version')}, this one of {KEY_VERSION}"
    return "" if found["torch"] else f"its Python ({found['python']}) has no torch"
