"""Where the time of a row goes, layer by layer, and how near it comes to what the device can do."""

from functools import lru_cache

import torch

from mnfpn_cli.bench.group import Group, Progress
from mnfpn_cli.bench.prepare import explained
from mnfpn_cli.bench.results import CellProfile, Row
from mnfpn_cli.measure.layers import LayerTimes, Profile, time_layers
from mnfpn_cli.measure.marks import marks_for
from mnfpn_cli.measure.peaks import measure_peaks
from mnfpn_cli.measure.runtime import load_runtime
from mnfpn_cli.measure.timers import timer_for
from mnfpn_cli.plan.advice import best_advice
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import Peaks, roofline
from mnfpn_cli.plan.work import LayerWork, network_work
from mnfpn_cli.settings.input import ITEM_BYTES, DType
from mnfpn_cli.settings.measuring import DEFAULT_RUNTIME

LAYERED = (DEFAULT_RUNTIME, "channels-last")
"""The runtimes that run layer by layer, so that each can be timed; the others join layers."""

PASSES_S = 10.0
LEAST_PASSES, MOST_PASSES = 5, 50
"""Layers are timed over so many seconds of passes, within these bounds."""


def profile_group(group: Group, rows: tuple[Row, ...], progress: Progress) -> CellProfile | None:
    """Profile the first row of a group that runs layer by layer; eager where there is none.

    Returns:
        None where that row could not be run.

    Raises:
        MnfpnError: where it cannot be run any more.
    """
    case = group.case
    name = next((runtime for runtime in case.runtimes if runtime in LAYERED), DEFAULT_RUNTIME)
    row = next((row for row in rows if row.cell.runtime == name), None)
    if row is not None and row.status != "measured":
        return None
    works = network_work(plan_network(group.settings), group.input, ITEM_BYTES[case.dtype])
    times = _times(group, name, works, progress) if case.by_layer or row is None else None
    measured = row.latency.median if row else times.undisturbed if times else 0.0
    floors = None
    if case.roofline:
        progress(f"measuring what {group.device} can do", 0.0)
        floors = roofline(works, peaks(group.device, case.dtype, torch.get_num_threads()))
    advice = best_advice(group.settings, group.input, ITEM_BYTES[case.dtype], times.by_row) if times else None
    return CellProfile(group.cell(name), Profile(works, measured, times, floors, advice))


def _times(group: Group, name: str, works: tuple[LayerWork, ...], progress: Progress) -> LayerTimes:
    job, marks = group.job(group.case.dtype), marks_for(group.device)
    with explained(f"layer by layer, {group.doing(name)}"):
        run = load_runtime(name).prepare(job).run  # which moves the job's network, and runs that
        seconds = timer_for(group.device)(run).seconds
        passes = max(LEAST_PASSES, min(MOST_PASSES, int(PASSES_S / 2 / seconds)))
        doing = f"timing each layer on {group.device}"
        return time_layers(run, job.network, works, marks, passes, lambda share: progress(doing, share))


@lru_cache
def peaks(device: torch.device, dtype: DType, _threads: int) -> Peaks:
    """What a device can do, on the CPU with so many threads; measured once."""
    return measure_peaks(device, dtype, timer_for(device))
