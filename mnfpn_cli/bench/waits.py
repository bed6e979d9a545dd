"""What each part of a network waits for: where its time goes beyond the least that the device needs for it.

The floor, compute or memory, is the first share of a part's time. What is beyond it is told apart by runs in which one
thing differs:

- *Page faults* are counted between the layers, and each takes a core as long as was measured for one.
- *Calls*: with the smallest images there is next to nothing to compute, so the time beyond that floor is what the calls
  themselves take.
- *Threads*: what several threads take longer than one thread's time divided by their number.

Two more follow from the plan: norms, activations and paddings that are operations of their own read and write the maps
once more, and the last vector of a layer's channels may be partly empty. The rest is *other*: what the kernels lose.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from mnfpn_cli.bench.group import Group
from mnfpn_cli.bench.parts import LayerSum, row_owners, sum_parts, sum_rows
from mnfpn_cli.bench.results import RunKey
from mnfpn_cli.devices.allocator import page_fault_s
from mnfpn_cli.devices.cpu import vector_floats
from mnfpn_cli.documents.bench import PartWaits
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.plan.roofline import LayerWork, Peaks, Roofline, network_work, roofline
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.input import ITEM_BYTES, Size
from mnfpn_cli.settings.measuring import LAYERED
from mnfpn_cli.text import ReportProgress

PASSES_ON_ONE_THREAD = 5
PASSES_OF_SMALLEST = 30


@dataclass(frozen=True)
class WaitMeasurements:
    """What the times of a run's parts are compared with; all are seconds by part.

    Attributes:
        threads: how many the run has.
        fault_s: what a page fault takes.
        calls: what calls take; None where the smallest images are not possible.
        on_one_thread: the times on one thread; None where the run has one, or cannot have another number.
        repeated: what the maps take that separate operations read and write once more.
        lanes: what the empty lanes of vectors take.
    """

    threads: int = 1
    fault_s: float = 0.0
    calls: Mapping[str, float] | None = None
    on_one_thread: Mapping[str, float] | None = None
    repeated: Mapping[str, float] = field(default_factory=dict)
    lanes: Mapping[str, float] = field(default_factory=dict)


def measure_waits(
    group: Group,
    key: RunKey,
    works: Sequence[LayerWork],
    times: LayerTimes,
    roof: Roofline,
    progress: ReportProgress,
) -> tuple[PartWaits, ...]:
    """Time a run on one thread, and with the smallest images; return what each part waits for.

    On a GPU, where work is queued, there is nothing of that to find out: nothing is returned.

    Args:
        group: the network, its input, and the case.
        key: the run.
        works: its layers.
        times: their times.
        roof: their floors.
        progress: is called with what is being done.

    Raises:
        MnfpnError: where the run fails.
    """
    if group.device.type != "cpu":
        return ()
    threads = torch.get_num_threads()
    measured = WaitMeasurements(
        threads=threads,
        fault_s=page_fault_s(),
        calls=_calls(group, key, roof.peaks, progress),
        on_one_thread=_on_one_thread(group, key, works, progress) if threads > 1 else None,
        repeated=_repeated(works, times, roof.peaks) if key.runtime in LAYERED else {},
        lanes=_lanes(works, times, roof, vector_floats()),
    )
    parts = sum_parts(sum_rows(works, times, roof))
    seconds = _by_part(times)
    return tuple(
        part_waits(part, replace(total, seconds=seconds.get(part, 0.0)), measured) for part, total in parts.items()
    )


def _by_part(times: LayerTimes) -> dict[str, float]:
    """Return the time of each part, less what timing it took."""
    seconds = defaultdict[str, float](float)
    for (_, part), time in times.without_marks.items():
        seconds[part] += time
    return dict(seconds)


def _calls(group: Group, key: RunKey, peaks: Peaks, progress: ReportProgress) -> dict[str, float] | None:
    """Return what the calls of each part take: its time with the smallest images, beyond their floor."""
    origin = group.workload.origin
    assert isinstance(origin, FromSettings)
    side = plan_levels(origin.settings).stride
    try:
        input = network_input(origin.settings, Size(side, side))
        works = network_work(origin.plan, input, ITEM_BYTES[key.dtype])
        small, how = replace(group, input=input), f"on an image of {input.size}"
        times = _times(small, key, works, PASSES_OF_SMALLEST, how, progress)
    except MnfpnError:
        return None  # its head is made for one size, or the runtime cannot run it at this one
    floors = {part: total.floor for part, total in sum_parts(sum_rows(works, times, roofline(works, peaks))).items()}
    return {part: max(0.0, time - floors.get(part, 0.0)) for part, time in _by_part(times).items()}


def _on_one_thread(
    group: Group, key: RunKey, works: Sequence[LayerWork], progress: ReportProgress
) -> dict[str, float] | None:
    with _one_thread():
        try:
            return _by_part(_times(group, key, works, PASSES_ON_ONE_THREAD, "on one thread", progress))
        except MnfpnError:
            return None  # a process of ExecuTorch has one number of threads


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _times(
    group: Group, key: RunKey, works: Sequence[LayerWork], passes: int, how: str, progress: ReportProgress
) -> LayerTimes:
    doing = f"timing each layer of {key.runtime} {how}"
    progress(doing, 0.0)
    runtime, job = load_runtime(key.runtime), group.job(key.dtype)
    return runtime.time_layers(job, works, passes, lambda share: progress(doing, share))


def _repeated(works: Sequence[LayerWork], times: LayerTimes, peaks: Peaks) -> dict[str, float]:
    return _sum_by_part(times, {work: work.repeated / peaks.bytes_per_s for work in works})


def _lanes(works: Sequence[LayerWork], times: LayerTimes, roof: Roofline, width: int) -> dict[str, float]:
    """Return what each part's floor would be longer if channels came in whole vectors."""
    more = dict[LayerWork, float]()
    for work, floor in zip(works, roof.floors, strict=True):
        if work.channels:
            filled = -(-work.channels // width) * width / work.channels
            more[work] = max(0.0, filled * work.macs / roof.peaks.macs_per_s - floor.seconds)
    return _sum_by_part(times, more)


def _sum_by_part(times: LayerTimes, seconds: Mapping[LayerWork, float]) -> dict[str, float]:
    owners, total = row_owners(times), defaultdict[str, float](float)
    for work, time in seconds.items():
        total[owners.get(work.id, (work.id,))[0][1]] += time
    return dict(total)


def part_waits(part: str, total: LayerSum, measured: WaitMeasurements) -> PartWaits:
    """Share the time of a part out to what it waits for; the shares add up to it.

    What comes first has its whole share, as far as the time goes: a floor that is longer than the time takes all of it.

    Args:
        part: its name.
        total: its time, its floors and its page faults.
        measured: what the time is compared with.
    """
    left = total.seconds

    def share(seconds: float) -> float:
        nonlocal left
        taken = min(left, max(0.0, seconds))
        left -= taken
        return taken

    compute, memory = share(total.bounds.get("compute", 0.0)), share(total.bounds.get("memory", 0.0))
    faults = None if total.faults is None else share(total.faults * measured.fault_s)
    calls = None if measured.calls is None else share(measured.calls.get(part, 0.0))
    threads = None
    if measured.on_one_thread is not None:
        fixed = (faults or 0.0) + (calls or 0.0)
        alone = max(0.0, measured.on_one_thread.get(part, 0.0) - fixed)
        threads = share(total.seconds - fixed - alone / measured.threads)
    repeated, lanes = share(measured.repeated.get(part, 0.0)), share(measured.lanes.get(part, 0.0))
    return PartWaits(
        part=part,
        seconds=total.seconds,
        compute_s=compute,
        memory_s=memory,
        page_faults_s=faults,
        calls_s=calls,
        threads_s=threads,
        repeated_s=repeated,
        lanes_s=lanes,
        other_s=left,
    )
