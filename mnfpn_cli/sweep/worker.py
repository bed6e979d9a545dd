"""The process that measures one run: it reads a `RunRequest`, writes a `RunResponse`, and ends with its parent process.

The request is one line of standard input. The response goes to the file descriptor that the only argument names,
because what is measured may print to standard output.
"""

import os
import sys
import threading

from mnfpn_cli.documents.read import parse_document
from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.errors import INTERRUPTED, UsageError
from mnfpn_cli.measure.child import read_line


def _end_with_parent() -> None:
    """End this process when standard input closes: then the parent, which holds its other end, is gone."""
    while os.read(0, 1024):
        pass
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    answer = int(sys.argv[1])
    os.set_inheritable(answer, False)
    try:
        work = parse_document(read_line(), RunRequest, "the request of a run", extra="forbid")
    except UsageError as error:
        sys.exit(str(error.problems[0]))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from mnfpn_cli.bench.measure_run import measure_run  # torch, whose import ends with the parent too

    with os.fdopen(answer, "wb") as file:
        file.write(measure_run(work).model_dump_json().encode())
    os._exit(0)  # without the exit handlers of libraries, some of which take seconds
