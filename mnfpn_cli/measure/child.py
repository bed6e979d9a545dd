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


def signal_name(number: int) -> str:
    """Return the name of a signal, as SIGKILL; real-time signals have none."""
    return next((one.name for one in signal.Signals if one == number), f"signal {number}")


def why_it_ended(code: int, output: bytes) -> str:
    """Return why a process ended with this exit code and this output."""
    if code < 0:
        name = signal_name(-code)
        hint = ", as Linux does when memory runs out" if name == "SIGKILL" else ""
        return f"the process that measured it was killed by {name}{hint}"
    lines = output[-OUTPUT_BYTES:].decode(errors="replace").strip().splitlines()
    if code and lines:  # an exception of Python, or a message of the library that ended the process
        return lines[-1].replace("`", "'")
    return f"the process that measured it ended with exit code {code}"


def take_standard_streams() -> tuple[int, int]:
    """Return the descriptors of standard input and output; put nothing and standard error in their places.

    What is measured may read and print, and must not read requests or write answers.
    """
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def read_line(descriptor: int = 0) -> bytes:
    """Read a line of a descriptor and no more; end this process where it is closed: the parent is gone."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(descriptor, 1)
        if not more:
            os._exit(INTERRUPTED)
        line += more
    return line
