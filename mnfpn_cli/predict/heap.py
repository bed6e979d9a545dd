"""The memory that the C library takes from the system in each pass: what is written there first is slow.

A tensor that PyTorch makes on a CPU comes from ``malloc``. That of glibc (``sysmalloc``, ``_int_free``, ``systrim`` in
its source; mallopt(3) has the terms) takes the smallest free block that fits, else extends the top of its heap. Blocks
above the mmap threshold that fit nowhere are mapped, and unmapped when they are freed. When the free top is larger than
the trim threshold, it goes back to the system. Both thresholds grow with the mapped blocks that are freed. The system
zeroes memory page by page when it is first written: that took 0.27 ms a MiB on one machine, half of some passes. How
much of it there is in each pass follows from the order and sizes of a network's maps, and so from its plan.
"""

from bisect import insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mnfpn_cli.plan.steps import ConvStep, Step

THRESHOLD, MAX_THRESHOLD = 128 * 1024, 32 * 1024 * 1024
"""glibc's two thresholds at first, and the mmap threshold at most on 64-bit systems."""
PAGE, TOP_PAD = 4096, 128 * 1024
"""The heap grows and is trimmed in pages, and keeps so many bytes more than were asked for."""
OVERHEAD = 80
"""Bytes of a block beside its tensor: its header, and room to align it to 64 bytes."""
KEPT = 20_000
"""Bytes that the first pass allocates for each convolution and keeps: a primitive of oneDNN with its code.

They lie between maps, and keep free memory below them from going back. Of the first 22 networks that were tried, 82 %
took within 15 % of the memory that was predicted, and 68 % without these blocks.
"""
WARM_PASSES = 3
"""After so many passes, each pass takes as much memory as the one before it."""

Block = tuple[int, int]
"""The start and the end of a block, in bytes; the start is -1 for one with a mapping of its own."""


class Heap:
    """The main heap of a new process. Sizes are in bytes.

    Attributes:
        fresh: bytes that were taken from the system so far.
    """

    def __init__(self) -> None:
        self.fresh = 0
        self._mmap_threshold, self._trim_threshold = THRESHOLD, THRESHOLD
        self._top, self._end = 0, TOP_PAD
        self._free = list[Block]()  # below the top, in order, no two of them adjacent

    def take(self, size: int) -> Block:
        """Return a new block."""
        size += OVERHEAD
        best: Block | None = None
        for hole in self._free:
            if hole[1] - hole[0] >= size and (not best or hole[1] - hole[0] < best[1] - best[0]):
                best = hole
        if best:
            self._free.remove(best)
            start, end = best[0], best[0] + size
            if end < best[1]:
                insort(self._free, (end, best[1]))
            return start, end
        start, end = self._top, self._top + size
        if end > self._end:
            if size >= self._mmap_threshold:
                size = _pages(size + 32)
                self.fresh += size
                return -1, size - 1
            self.fresh += end - self._end
            self._end = _pages(end + TOP_PAD)
        self._top = end
        return start, end

    def give(self, block: Block) -> None:
        """Free a block."""
        start, end = block
        if start < 0:
            if self._mmap_threshold < end - start <= MAX_THRESHOLD:
                self._mmap_threshold, self._trim_threshold = end - start, 2 * (end - start)
            return
        for hole in list(self._free):
            if hole[1] == start:
                self._free.remove(hole)
                start = hole[0]
            elif hole[0] == end:
                self._free.remove(hole)
                end = hole[1]
        if end < self._top:
            insort(self._free, (start, end))
            return
        self._top = start
        if self._end - self._top >= self._trim_threshold:
            self._end = _pages(self._top + TOP_PAD)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def mapped_bytes(step: Step, element_bytes: int) -> int:
    """Return the bytes of a step's maps that have mappings of their own even where the heap has grown to its most.

    The arguments are those of `fresh_bytes`.
    """
    size = step.makes * element_bytes
    if size <= MAX_THRESHOLD:
        return 0
    return 2 * size if isinstance(step, ConvStep) and step.conv.norm else size


class _Map(NamedTuple):
    elements: int
    block: Block


def fresh_bytes(steps: Sequence[Step], element_bytes: int) -> list[int]:
    """Return the bytes that each step of a network takes from the system in a pass after others.

    Args:
        steps: of the network.
        element_bytes: the bytes of an element of a map, for all images of a batch.
    """
    heap = Heap()
    for number in range(WARM_PASSES):
        fresh = _pass(heap, steps, element_bytes, KEPT if number == 0 else 0)
    return fresh


def _pass(heap: Heap, steps: Sequence[Step], element_bytes: int, kept: int) -> list[int]:
    live, fresh = list[_Map](), list[int]()
    for step in steps:
        before = heap.fresh
        block = heap.take(step.makes * element_bytes)
        if kept and isinstance(step, ConvStep):
            heap.take(kept)
        if isinstance(step, ConvStep) and step.conv.norm:
            raw, block = block, heap.take(step.makes * element_bytes)
            heap.give(raw)
        live.append(_Map(step.makes, block))
        fresh.append(heap.fresh - before)
        _free(heap, live[:-1], live, step.frees)
    for one in live:
        heap.give(one.block)
    return fresh


def _free(heap: Heap, among: Sequence[_Map], live: list[_Map], elements: int) -> None:
    """Free the maps whose elements add up to what a step frees: the fewest, and the newest of them."""
    for count in range(1, 5):
        chosen = next(_sums(among[::-1], elements, count), None) if elements > 0 else []
        if chosen is not None:
            break
    for one in chosen or []:
        live.remove(one)
        heap.give(one.block)


def _sums(maps: Sequence[_Map], elements: int, count: int) -> Iterator[list[_Map]]:
    for index, one in enumerate(maps):
        if count == 1 and one.elements == elements:
            yield [one]
        elif count > 1 and one.elements < elements:
            for rest in _sums(maps[index + 1 :], elements - one.elements, count - 1):
                yield [one, *rest]
