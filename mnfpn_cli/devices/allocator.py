"""What the C library does with memory that a pass frees: give it back to the system, or keep it for the next pass.

PyTorch's tensors on a CPU come from the C library's heap. glibc gives large blocks back to the system when they are
freed. The next pass gets them anew, and the system prepares each page when it is first written: a page fault. How many
there are depends on the order and the sizes of all blocks, and on what the process did before.
"""

import ctypes
import mmap
import os
import sys
import time
from collections.abc import Callable
from ctypes.util import find_library
from functools import cache
from pathlib import Path
from typing import Any

from mnfpn_cli.devices.machine import read_or_none
from mnfpn_cli.errors import MnfpnError, Problem, UnavailableError
from mnfpn_cli.settings.measuring import Allocator

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""

JEMALLOC_SETTINGS = "oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1"
"""jemalloc(3) gives freed memory back after ten seconds, and of blocks above 8 MiB at once: with these settings never,
as is usual for torch."""

TRIED_BYTES = 8 * 2**20
TRIES = 5
"""The memory that is written to learn what a page fault takes, and how often: some ten milliseconds in all."""

_used: list[Allocator] = ["system"]


def allocator_in_use() -> Allocator:
    """Return what happens to freed memory in this process."""
    return _used[0]


def use_allocator(allocator: Allocator) -> None:
    """Have the C library give freed memory back, or keep it. What is kept once is kept until the process ends.

    Raises:
        UnavailableError: where the C library is not glibc, or jemalloc is not there.
        MnfpnError: where this process keeps memory already and is not to, or did not start with jemalloc.
    """
    if allocator == _used[0]:
        return
    if allocator == "system":
        rule = "must be keep: this process keeps freed memory since an earlier measurement, and cannot go back"
        raise MnfpnError(Problem("`allocator`", rule))
    if allocator == "jemalloc":
        _check_jemalloc()
    elif not can_keep():
        raise UnavailableError(Problem("`allocator` keep", "needs Linux with glibc"))
    else:
        _keep()
    _used[0] = allocator


def _keep() -> None:
    libc = ctypes.CDLL(None)
    if not (libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1)):
        raise MnfpnError(Problem("`allocator`", "could not be set: glibc's mallopt refused it", "'keep'"))


def _check_jemalloc() -> None:
    """Check that this process takes its memory from jemalloc: that is decided where it starts."""
    allocator_environment("jemalloc")
    if "jemalloc" not in (read_or_none(Path("/proc/self/maps").read_text) or ""):
        raise MnfpnError(Problem("`allocator` jemalloc", "needs a process that started with it: `isolate`, or a sweep"))


def allocator_environment(allocator: Allocator) -> dict[str, str]:
    """Return the variables of the environment with which a process must start to have an allocator.

    Raises:
        UnavailableError: where the library is not there.
    """
    if allocator != "jemalloc":
        return {}
    library = find_library("jemalloc") if sys.platform == "linux" else None
    if library is None:
        rule = "needs Linux and the library jemalloc: on Debian and Ubuntu, apt install libjemalloc2"
        raise UnavailableError(Problem("`allocator` jemalloc", rule))
    others, settings = os.environ.get("LD_PRELOAD", ""), os.environ.get("MALLOC_CONF", JEMALLOC_SETTINGS)
    return {"LD_PRELOAD": f"{library}:{others}" if others else library, "MALLOC_CONF": settings}


@cache
def can_keep() -> bool:
    """Whether the C library can keep freed memory."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def page_faults() -> int | None:
    """Return the page faults of this process so far that needed no disk; None where the system does not count them."""
    resource = _resource()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else None


@cache
def _resource() -> Any:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource


@cache
def page_fault_s(threads: int = 1) -> float:
    """Return the seconds that a page fault adds: what new memory takes longer than memory that is written again.

    That is to get it, to write it, and to give it back. Threads prepare pages at the same time, though not as fast as
    their number. Both are the least of several tries, as whatever else runs adds to them.

    Args:
        threads: how many write.
    """
    from mnfpn_cli.devices.threads import cpu_threads  # imports torch, which who only chooses an allocator does without

    with cpu_threads(threads):
        anew, faults = min(_time_new() for _ in range(TRIES))
        with _new_memory() as kept:
            _write(kept)
            again = min(_time(lambda: _write(kept)) for _ in range(TRIES))
    return max(0.0, anew - again) / max(1, faults)


def _time_new() -> tuple[float, int]:
    """Return the seconds that new memory takes, and its page faults: fewer than pages where the system joins some."""
    before = page_faults() or 0
    seconds = _time(_write_new)
    return seconds, (page_faults() or 0) - before


def _write_new() -> None:
    with _new_memory() as memory:
        _write(memory)


def _new_memory() -> mmap.mmap:
    """Return memory as the C library gets it from the system: by default Python's is shared, which takes longer."""
    if sys.platform == "win32":
        return mmap.mmap(-1, TRIED_BYTES)
    return mmap.mmap(-1, TRIED_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _write(memory: mmap.mmap) -> None:
    import torch

    torch.frombuffer(memory, dtype=torch.uint8).fill_(1)


def _time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
