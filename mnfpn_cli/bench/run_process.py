"""The process of one run: it prepares a network, and times a pass where it is asked to.

Requests come by standard input, a line each, and answers go to what was standard output: `mnfpn_cli.bench.messages`.
What is measured may print, so standard output leads to standard error from the start. The process ends with its parent.
"""

import os
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue

from mnfpn_cli.documents.read import parse_document
from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.errors import MnfpnError, UnavailableError, UsageError
from mnfpn_cli.measure.child import read_line, take_standard_streams


def answer_requests() -> None:
    """Answer the requests of one run."""
    requests, answers = take_standard_streams()
    try:
        request = parse_document(read_line(requests), RunRequest, "the request of a run", extra="forbid")
    except UsageError as error:
        sys.exit(str(error.problems[0]))
    commands = _commands(requests)
    from mnfpn_cli.bench.messages import (
        RunFailure,
        RunProgress,
        as_line,
    )  # torch, whose import ends with the parent too
    from mnfpn_cli.bench.run_turns import take_turns

    def progress(doing: str, share: float) -> None:
        os.write(answers, as_line(RunProgress(doing, share)))

    try:
        for answer in take_turns(request, commands, progress):
            os.write(answers, as_line(answer))
    except UnavailableError as error:
        os.write(answers, as_line(RunFailure(error.problems[0].rule, "unavailable")))
    except MnfpnError as error:
        os.write(answers, as_line(RunFailure(error.message, details=error.details)))
    finally:
        os.close(answers)
    os._exit(0)  # without the exit handlers of libraries, some of which take seconds


def _commands(requests: int) -> Iterator[bytes]:
    """Yield the lines of a descriptor; end this process where it is closed, whatever it does then."""
    lines = SimpleQueue[bytes]()

    def read() -> None:
        while True:
            lines.put(read_line(requests))

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


if __name__ == "__main__":
    answer_requests()
