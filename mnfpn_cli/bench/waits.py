"""What each part of a network waits for: where its time goes beyond the least that the device needs for it.

The floor, compute or memory, is the first share of a part's time. What is beyond it is found by runs in which one
thing differs:

- *Page faults* are counted between the layers, and each takes as long as was measured for one with as many threads.
- *Calls*: with the smallest images there is next to nothing to compute, so the time beyond that floor is what the calls
  themselves take.
- *Threads*: what several threads take longer than one thread's time divided by their number.

Two more follow from the plan: norms, activations and paddings that are operations of their own read and write the maps
once more, and the last vector of a layer's channels may be partly empty. The rest is *other*: what kernels lose.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from mnfpn_cli.bench.group import Group
from mnfpn_cli.bench.parts import LayerSum, sum_parts, sum_rows
from mnfpn_cli.bench.prepare import explained
from mnfpn_cli.bench.results import RunKey
from mnfpn_cli.devices.allocator import page_fault_s
from mnfpn_cli.devices.cpu import vector_bytes
from mnfpn_cli.devices.threads import cpu_threads
from mnfpn_cli.documents.bench import PartWaits
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.layer_times import LayerTimes
from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.plan.roofline import LayerWork, Peaks, network_work, roofline
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.input import ITEM_BYTES, Size
from mnfpn_cli.settings.measuring import LAYERED
from mnfpn_cli.text import ReportProgress

PASSES_S = 10.0
LEAST_PASSES, MOST_PASSES = 5, 50
"""Layers are timed for about ``PASSES_S`` seconds, in at least and at most these numbers of passes."""

LEAST_ON_ONE_THREAD = 2
"""Fewer, as one thread takes long."""


@dataclass(frozen=True)
class WaitMeasurements:
    """What the times of a run's parts are compared with.

    Attributes:
        threads: how many the run has.
        fault_s: what a page fault takes these threads, in seconds.
        fault_alone_s: what it takes one thread.
        calls: seconds that calls take, by part; None where the smallest images are not possible.
        on_one_thread: the time on one thread in seconds, by part; None where the run has one, or cannot have another
            number.
        joins: whether the runtime joins norms and activations with the convolutions before them.
    """

    threads: int = 1
    fault_s: float = 0.0
    fault_alone_s: float = 0.0
    calls: Mapping[str, float] | None = None
    on_one_thread: Mapping[str, float] | None = None
    joins: bool = False


def time_layers_of(
    group: Group,
    key: RunKey,
    works: Sequence[LayerWork],
    pass_s: float,
    how: str,
    progress: ReportProgress,
    least: int = LEAST_PASSES,
) -> LayerTimes:
    """Time each layer of a run.

    Args:
        group: the network, its input, and the case.
        key: the run.
        works: the layers.
        pass_s: about how long a pass takes, in seconds.
        how: where or how it runs, for the progress.
        progress: is called with what is being done.
        least: the fewest passes.

    Raises:
        UnavailableError: where the runtime cannot tell its layers apart.
        MnfpnError: where it fails.
    """
    passes = max(least, min(MOST_PASSES, int(PASSES_S / 2 / pass_s)))
    doing = f"timing each layer of {key.runtime} {how}"
    progress(doing, 0.0)
    runtime, job = load_runtime(key.runtime), group.job(key.dtype)
    return runtime.time_layers(job, works, passes, lambda share: progress(doing, share))


def measure_waits(
    group: Group, key: RunKey, works: Sequence[LayerWork], times: LayerTimes, peaks: Peaks, progress: ReportProgress
) -> tuple[PartWaits, ...]:
    """Time a run on one thread, and with the smallest images; return what each part waits for.

    Elsewhere than on a CPU nothing is returned: the shares are of the host's time.

    Args:
        group: the network, its input, and the case.
        key: the run.
        works: its layers.
        times: their times.
        peaks: of the device.
        progress: is called with what is being done.
    """
    if group.device.type != "cpu":
        return ()
    threads = torch.get_num_threads()
    measured = WaitMeasurements(
        threads=threads,
        fault_s=page_fault_s(threads),
        fault_alone_s=page_fault_s(),
        calls=_calls(group, key, peaks, progress),
        on_one_thread=_on_one_thread(group, key, works, threads * times.undisturbed, progress) if threads > 1 else None,
        joins=key.runtime not in LAYERED,
    )
    roof = roofline(works, peaks, vector_bytes() // ITEM_BYTES[key.dtype])
    seconds = _by_part(times)
    return tuple(
        part_waits(part, replace(total, seconds=seconds.get(part, 0.0)), measured)
        for part, total in sum_parts(sum_rows(works, times, roof)).items()
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
    if origin.settings.made_for:
        return None  # its head takes one size
    side = plan_levels(origin.settings).stride
    input = network_input(origin.settings, Size(side, side), int(group.input.batch))
    works, how = network_work(origin.plan, input, ITEM_BYTES[key.dtype]), f"on images of {input.size}"
    try:
        with explained(how):
            times = time_layers_of(replace(group, input=input), key, works, PASSES_S / 2 / MOST_PASSES, how, progress)
    except MnfpnError:
        return None  # what a runtime cannot do at this size is no reason to lose the times at the other
    floors = {part: one.floor for part, one in sum_parts(sum_rows(works, times, roofline(works, peaks))).items()}
    return {part: max(0.0, time - floors.get(part, 0.0)) for part, time in _by_part(times).items()}


def _on_one_thread(
    group: Group, key: RunKey, works: Sequence[LayerWork], pass_s: float, progress: ReportProgress
) -> dict[str, float] | None:
    how = "on one thread"
    try:
        with cpu_threads(1), explained(how):
            return _by_part(time_layers_of(group, key, works, pass_s, how, progress, LEAST_ON_ONE_THREAD))
    except MnfpnError:
        return None  # as where a process of ExecuTorch has one number of threads


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
    count = total.faults or 0.0
    faults = None if total.faults is None else share(count * measured.fault_s)
    calls = None if measured.calls is None else share(measured.calls.get(part, 0.0))
    threads = 0.0 if measured.threads == 1 else None
    if measured.on_one_thread is not None:
        # Threads share the work, but not the calls; page faults they share as they do, which is measured.
        alone = measured.on_one_thread.get(part, 0.0) - count * measured.fault_alone_s - (calls or 0.0)
        threads = share(total.seconds - (faults or 0.0) - (calls or 0.0) - max(0.0, alone) / measured.threads)
    repeated, unfilled = share(0.0 if measured.joins else total.repeated), share(total.unfilled)
    return PartWaits(
        part=part,
        seconds=total.seconds,
        compute_s=compute,
        memory_s=memory,
        page_faults_s=faults,
        calls_s=calls,
        threads_s=threads,
        repeated_s=repeated,
        unfilled_s=unfilled,
        other_s=left,
    )
