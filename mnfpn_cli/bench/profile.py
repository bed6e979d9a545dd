"""Where the time of a row goes, layer by layer, and how near it comes to what the device can do."""

from collections.abc import Sequence
from functools import lru_cache

import torch

from mnfpn_cli.bench.group import Group, Progress
from mnfpn_cli.bench.prepare import explained
from mnfpn_cli.bench.results import BenchRun, CellProfile, NoProfile, Row
from mnfpn_cli.devices.devices import device_of
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.layers import LayerTimes, Profile, time_layers
from mnfpn_cli.measure.peaks import measure_peaks
from mnfpn_cli.plan.advice import best_advice
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerWork, Peaks, network_work, roofline
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput
from mnfpn_cli.settings.measuring import LAYERED

PASSES_S = 10.0
LEAST_PASSES, MOST_PASSES = 5, 50
"""Layers are timed over so many seconds of passes, within these bounds."""


def profile_group(group: Group, rows: Sequence[Row], progress: Progress) -> list[CellProfile | NoProfile]:
    """Profile the rows of a group that were measured and run layer by layer; of one that fails, why."""
    profiles = list[CellProfile | NoProfile]()
    for row in rows:
        if row.status != "measured" or row.cell.runtime not in LAYERED:
            continue
        try:
            with explained(f"{group.doing(row.cell.runtime)}, layer by layer"):
                profiles.append(_profile(group, row, progress))
        except MnfpnError as error:
            profiles.append(NoProfile(row.cell, str(error)))
    return profiles


def _profile(group: Group, row: BenchRun, progress: Progress) -> CellProfile:
    case, item_bytes, settings = group.case, ITEM_BYTES[group.case.dtype], group.candidate.settings
    assert settings is not None  # networks of others have no plan to hold times against
    assert isinstance(group.input, NetworkInput)
    works = network_work(plan_network(settings), group.input, item_bytes)
    times = _times(group, row.cell.runtime, works, progress) if case.by_layer else None
    floors = None
    if case.roofline:
        progress(f"measuring what {group.device} can do", 0.0)
        floors = roofline(works, peaks(group.device, case.dtype, torch.get_num_threads()))
    advice = None
    if times and not row.launch_bound:  # less work for the GPU makes no pass faster that waits for the host
        advice = best_advice(settings, group.input, item_bytes, times.by_row)
    return CellProfile(row.cell, Profile(works, row.latency.median, times, floors, advice, row.launch_bound))


def _times(group: Group, name: str, works: tuple[LayerWork, ...], progress: Progress) -> LayerTimes:
    job, marks = group.job(group.case.dtype), device_of(group.device).marks()
    run = load_runtime(name).prepare(job).run  # which moves the job's network, and runs that
    seconds = device_of(group.device).timer()(run).seconds
    passes = max(LEAST_PASSES, min(MOST_PASSES, int(PASSES_S / 2 / seconds)))
    doing = f"timing each layer on {group.device}"
    return time_layers(run, job.network, works, marks, passes, lambda share: progress(doing, share))


@lru_cache
def peaks(device: torch.device, dtype: DType, _threads: int) -> Peaks:
    """What a device can do, on the CPU with so many threads; measured once."""
    return measure_peaks(device, dtype, device_of(device).timer())
