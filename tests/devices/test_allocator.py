"""Memory that is freed goes back to the system, or is kept. Each test of keep has a process of its own."""

import json
import subprocess
import sys

import pytest

from mnfpn_cli.devices import allocator
from mnfpn_cli.devices.allocator import allocator_in_use, can_keep, page_fault_s, use_allocator
from mnfpn_cli.errors import UnavailableError

glibc = pytest.mark.skipif(not can_keep(), reason="needs Linux with glibc")

PASSES = """
import ctypes, json
from mnfpn_cli.devices.allocator import allocator_in_use, page_faults, use_allocator
from mnfpn_cli.errors import MnfpnError

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def one_pass():
    before = page_faults()
    blocks = [libc.malloc(size * 2**20) for size in (40, 3, 48)]
    for block, size in zip(blocks, (40, 3, 48)):
        ctypes.memset(block, 1, size * 2**20)
    for block in blocks:
        libc.free(block)
    return page_faults() - before

system = [one_pass() for _ in range(4)][-1]
use_allocator("keep")
kept = [one_pass() for _ in range(4)][-1]
use_allocator("keep")
try:
    use_allocator("system")
except MnfpnError as error:
    refused = error.message
print(json.dumps([system, kept, allocator_in_use(), refused]))
"""


@glibc
def test_kept_memory_is_not_taken_again() -> None:
    """After the first passes there are hardly any page faults; a process that keeps memory cannot go back."""
    done = subprocess.run([sys.executable, "-c", PASSES], capture_output=True, text=True, check=True)
    system, kept, used, refused = json.loads(done.stdout)
    pages = 88 * 2**20 // 4096
    assert system > pages / 600  # as few as that where the system has pages of 2 MiB
    assert kept < system / 10
    assert used == "keep"
    assert refused.startswith("`allocator`: must be keep: this process keeps freed memory")


def test_this_process_has_what_the_library_does_by_default() -> None:
    """To ask for that changes nothing."""
    use_allocator("system")
    assert allocator_in_use() == "system"


def test_keep_is_refused_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, on Windows, or with musl."""
    monkeypatch.setattr(allocator, "can_keep", lambda: False)
    with pytest.raises(UnavailableError, match=r"^allocator keep: needs Linux with glibc$"):
        use_allocator("keep")
    assert allocator_in_use() == "system"


def test_a_page_fault_takes_a_moment() -> None:
    """More than nothing, and less than a tenth of a millisecond; it is measured once."""
    assert 0 <= page_fault_s() < 1e-4
    assert page_fault_s() == page_fault_s()
