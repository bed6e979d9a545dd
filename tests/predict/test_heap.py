"""The memory that the system gives in each pass, as it follows from the plan."""

import platform
import subprocess
import sys

import pytest

from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import network_work
from mnfpn_cli.predict.facts import run_facts
from mnfpn_cli.predict.heap import MAX_THRESHOLD, THRESHOLD, TOP_PAD, Heap
from mnfpn_cli.settings.input import Size
from mnfpn_cli.space.planned import Planned
from tests.predict.machines import networks, planned

MIB = 2**20


def test_a_freed_block_is_used_again() -> None:
    """Without memory from the system, whole or in part; freed neighbours are one block."""
    heap = Heap()
    one, two, _kept = (heap.take(50_000) for _ in range(3))
    fresh = heap.fresh
    heap.give(one)
    assert heap.take(20_000)[0] == one[0]
    heap.give((one[0], one[0] + 20_080))
    heap.give(two)
    assert heap.take(100_000)[0] == one[0]
    assert heap.fresh == fresh


def test_large_blocks_are_mapped_until_the_threshold_has_grown() -> None:
    """The first time, a block of 4 MiB has a mapping of its own; the second time, it comes from the heap."""
    heap = Heap()
    block = heap.take(4 * MIB)
    assert block[0] < 0
    heap.give(block)
    assert heap.take(4 * MIB)[0] >= 0
    huge = heap.take(MAX_THRESHOLD + 1)
    heap.give(huge)
    assert heap.take(MAX_THRESHOLD + 1)[0] < 0


def test_a_large_free_top_goes_back() -> None:
    """Below the trim threshold, memory stays; what was given back is fresh again."""
    heap = Heap()
    heap.give(heap.take(THRESHOLD - 10_000))
    kept = heap.fresh
    heap.give(heap.take(THRESHOLD - 10_000))
    assert heap.fresh == kept
    blocks = [heap.take(100_000) for _ in range(4)]
    for block in reversed(blocks):
        heap.give(block)
    before = heap.fresh
    heap.take(THRESHOLD - 200)
    heap.take(THRESHOLD - 200)
    assert heap.fresh - before >= 2 * (THRESHOLD - 200) - TOP_PAD - 4096 > 0


def test_facts_are_those_of_the_plan() -> None:
    """Each layer once, by the ids of its work; MACs add up to the network's."""
    for one in networks(10):
        plan, facts = plan_network(one.run.settings), run_facts(one.run)
        works = network_work(plan, one.run.input, 4)
        assert {layer.id: layer.macs for layer in facts} == {work.id: work.macs for work in works}
        assert {layer.id: 4 * (layer.moved + layer.weights) for layer in facts} == {
            work.id: work.bytes for work in works
        }
        assert sum(layer.macs for layer in facts) == network_cost(plan, one.run.size).total.macs


def test_a_runtime_with_its_own_memory_takes_none() -> None:
    """Of the C library's heap."""
    taken = {
        runtime: sum(layer.fresh for layer in run_facts(planned(1.0, 128, "conv", Size(640, 640), runtime).run))
        for runtime in ("channels-last", "eager", "fused", "openvino")
    }
    assert taken["openvino"] == taken["fused"] == 0 < taken["eager"] == taken["channels-last"]


COUNT = """
import resource, sys, torch
from mnfpn_cli.network.network import build_network
from mnfpn_cli.settings.network import NetworkSettings
settings = NetworkSettings.model_validate_json(sys.argv[1])
network = build_network(settings).eval().to(memory_format=torch.channels_last)
image = torch.rand(1, 3, int(sys.argv[2]), int(sys.argv[3])).to(memory_format=torch.channels_last)
counts = []
with torch.inference_mode():
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        network(image)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(counts[4:])[1] * resource.getpagesize())
"""


def _counted(one: Planned) -> int:
    size = one.run.size
    arguments = [one.run.settings.model_dump_json(), str(size.height), str(size.width)]
    done = subprocess.run([sys.executable, "-c", COUNT, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap is glibc's")
def test_passes_take_the_memory_that_was_predicted() -> None:
    """Page faults of passes in new processes, counted by the system: at least half of them within a fifth."""
    runs = [
        planned(width, 96, "conv", Size(side, side))
        for width, side in ((0.5, 320), (0.75, 448), (1.0, 224), (1.0, 576))
    ]
    close = 0
    for one in runs:
        predicted = sum(layer.fresh for layer in run_facts(one.run))
        counted = min(_counted(one) for _ in range(2))  # other programs add faults, and take none away
        close += abs(predicted - counted) <= max(0.2 * counted, 2 * MIB)
    assert close >= 2
