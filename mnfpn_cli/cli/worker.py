"""The process that measures one cell: `mnfpn` itself, which ends with the process that started it."""

import os
import sys
import threading

from mnfpn_cli.cli.main import run
from mnfpn_cli.errors import INTERRUPTED, UNAVAILABLE, UnavailableError


def _end_with_parent() -> None:
    """Wait until standard input closes: whoever holds its other end is gone, however that came."""
    while os.read(0, 1024):
        pass
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code = run(sys.argv[1:], {UnavailableError: UNAVAILABLE})
    sys.stdout.flush()
    os._exit(code)  # libraries' threads have nothing to tidy up, and some take seconds for it
