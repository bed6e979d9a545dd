"""The CPU: free memory within a container's limit, the peak of the resident set, and the caches that Linux reports."""

import sys
from pathlib import Path
from typing import ClassVar

import psutil
import torch

from mnfpn_cli.devices.device import UNKNOWN_CACHE, Device

UNLIMITED = 2**63
"""Bytes that a control group without a limit leaves."""

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

VECTOR_BYTES = {"AVX512": 64, "AVX2": 32}
"""Bytes of a vector by what torch says that the processor has; of others the usual ones."""
OTHER_VECTOR_BYTES = 16


class Cpu(Device):
    """The CPU; memory in use is the resident set of this process, Python and torch included."""

    kind: ClassVar[str] = "cpu"

    @classmethod
    def find(cls) -> list[str]:
        """Return the CPU: every machine has one."""
        return ["cpu"]

    def free_memory(self) -> int:
        """Return the bytes that can be allocated now, within the limits of the container."""
        return min(super().free_memory(), left_in_cgroup())

    def reset_peak(self) -> int | None:
        """Reset the peak of the resident set, where the system allows it; return the resident set now, in bytes."""
        _reset_resident_peak()
        return int(psutil.Process().memory_info().rss)

    def peak(self) -> int | None:
        """Return the peak of the resident set in bytes."""
        return _resident_peak()

    def cache_bytes(self, caches: Path = CACHES) -> int:
        """Return the size of the largest cache in bytes."""
        return max((_bytes(file.read_text()) for file in caches.glob("index*/size")), default=UNKNOWN_CACHE)


def vector_bytes() -> int:
    """Return how many bytes the vectors of this processor hold."""
    return VECTOR_BYTES.get(torch.backends.cpu.get_cpu_capability(), OTHER_VECTOR_BYTES)


def left_in_cgroup(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes that this process's Linux control groups (version 2) leave; psutil reports the whole machine."""
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return UNLIMITED
    group = root / line.removeprefix("0::").lstrip("/")
    return min(_left_in(folder) for folder in (group, *group.parents) if folder.is_relative_to(root))


def _left_in(group: Path) -> int:
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, no memory controller, or "max": no limit
        return UNLIMITED
    # Cached files count as used, but are evicted when the memory is needed.
    return max(0, limit - used + int(fields.get("inactive_file", 0)))


def _bytes(text: str) -> int:
    """Parse a size such as ``32768K``."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number = text.strip()
    return int(number.rstrip("KMG")) * units.get(number[-1:], 1)


def _reset_resident_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak is then that since the process started


def _resident_peak() -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _peak_since_start()


def _peak_since_start() -> int | None:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # Unix only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
