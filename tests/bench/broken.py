"""Runtimes whose passes fail, or are interrupted, where a test asks for it."""

from contextlib import AbstractContextManager
from itertools import count
from types import ModuleType
from unittest.mock import patch

from mnfpn_cli.runtimes.runtime import Job, Prepared


def broken(runtime: ModuleType, at: int, error: BaseException) -> AbstractContextManager[object]:
    """Have a runtime's passes raise an error from call ``at`` on; the first two of a run come before the timed ones."""
    real, calls = runtime.prepare, count(1)

    def prepare(job: Job) -> Prepared:
        ready: Prepared = real(job)

        def run() -> object:
            if next(calls) >= at:
                raise error
            return ready.run()

        return Prepared(run)

    return patch.object(runtime, "prepare", prepare)
