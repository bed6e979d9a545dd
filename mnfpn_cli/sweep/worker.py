"""The process that measures one run: a document comes in, another goes out; it ends with the process that started it.

The run is a line of standard input. The result goes to the file descriptor that the only argument names: what is
measured may print whatever it likes.
"""

import os
import sys
import threading

from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.errors import INTERRUPTED


def _end_with_parent() -> None:
    """Wait until standard input closes: whoever holds its other end is gone, however that came."""
    while os.read(0, 1024):
        pass
    os._exit(INTERRUPTED)


def _read_line() -> bytes:
    """Read the run and no more, as the rest of standard input is waited for."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 65536)
        if not more:
            os._exit(INTERRUPTED)
        line += more
    return line


if __name__ == "__main__":
    answer = int(sys.argv[1])
    os.set_inheritable(answer, False)
    work = RunRequest.model_validate_json(_read_line())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from mnfpn_cli.bench.measure_run import measure_run  # torch, whose import ends with the parent too

    with os.fdopen(answer, "wb") as file:
        file.write(measure_run(work).model_dump_json().encode())
    os._exit(0)  # libraries' threads have nothing to tidy up, and some take seconds for it
