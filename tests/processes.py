"""Starting the command line as a terminal would."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mnfpn_cli.cli.interrupts import ENDING

MNFPN = [sys.executable, "-m", "mnfpn_cli"]


@contextmanager
def signals_by_default() -> Iterator[None]:
    """Have signals that ask to end do so, here and in processes started meanwhile; under `nohup` they are ignored."""
    default = {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, default.get(number, signal.SIG_DFL)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
