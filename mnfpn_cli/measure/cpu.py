"""The CPU's name. No torch here: it is read while torch is imported."""

import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from cpuinfo import get_cpu_info


@contextmanager
def reading_cpu_name() -> Iterator[Callable[[], str]]:
    """Read the CPU's model name beside other work, and give a function that waits for it.

    py-cpuinfo starts a process, which takes a second: it must have ended before anything is timed, and is asked once.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_cpu_name).result


@cache
def _cpu_name() -> str:
    return str(get_cpu_info().get("brand_raw") or platform.processor() or platform.machine())
