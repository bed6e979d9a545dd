"""Wait for a process that a sweep has started, until its time is over or the sweep is stopped."""

import subprocess
import time
from collections.abc import Callable

POLL_S = 0.05
"""Seconds between two looks at what is waited for."""


def wait_for_exit(process: "subprocess.Popen[bytes]", timeout_s: float, stopped: Callable[[], bool]) -> int | None:
    """Wait for a process to end, and return its exit code; None where it has not ended in time.

    Args:
        process: the process.
        timeout_s: the most seconds to wait.
        stopped: polled; the wait ends when it returns true.
    """
    end = time.monotonic() + timeout_s
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if stopped() or time.monotonic() > end:
                return None
