"""Child processes that measure: how they are started, how they end with their parent, and why one has ended.

Neither side of this file imports torch.
"""

import os
import signal
from pathlib import Path

from mnfpn_cli.errors import INTERRUPTED

OUTPUT_BYTES = 4000
"""The length of the end of a process's output that is searched for its last line."""

OOM_SCORE = "1000"
"""The highest `oom_score_adj`: when memory runs out, Linux kills the process that measures, not the one that asked."""


def kill_first_without_memory(pid: int) -> None:
    """Have Linux kill this process before others when memory runs out."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(OOM_SCORE)
    except OSError:
        return  # not Linux, or it has ended


def why_it_ended(code: int, output: bytes) -> str:
    """Return why a process ended with this exit code and this output."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", as Linux does when memory runs out" if name == "SIGKILL" else ""
        return f"the process that measured it was killed by {name}{hint}"
    lines = output[-OUTPUT_BYTES:].decode(errors="replace").strip().splitlines()
    return lines[-1].replace("`", "'") if lines else f"the process that measured it ended with exit code {code}"


def read_line() -> bytes:
    """Read a line of standard input and no more; end this process where it is closed: the parent is gone."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            os._exit(INTERRUPTED)
        line += more
    return line
