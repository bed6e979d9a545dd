"""Starting the command line as a terminal would."""

import sys

MNFPN = [sys.executable, "-m", "mnfpn_cli"]

RESET = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def heeding_signals(command: list[str]) -> list[str]:
    """The command under signals that end it: a process ignores what its parent does, as `nohup` and `&` make it."""
    return [sys.executable, "-c", RESET, *command]
