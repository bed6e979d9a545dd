"""Signals for tests, which may themselves run where some are ignored: under `nohup`, in the background of a shell."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from mnfpn_cli.cli.interrupts import ENDING


@contextmanager
def signals_by_default() -> Iterator[None]:
    """Have signals that ask to end do what they do by default, here and in processes that are started meanwhile."""
    default = {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, default.get(number, signal.SIG_DFL)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
