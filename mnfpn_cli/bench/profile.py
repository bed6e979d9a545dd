"""Profile a run: time its layers, compare them with the least time that the device could take, and give advice."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from shlex import quote

import torch

from mnfpn_cli.bench.group import Group
from mnfpn_cli.bench.parts import sum_parts, sum_rows
from mnfpn_cli.bench.prepare import explained
from mnfpn_cli.bench.results import BenchRun, NoProfile, ProfiledRun, RunKey
from mnfpn_cli.bench.waits import measure_waits, time_layers_of
from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.documents.bench import (
    AdviceRecord,
    JoinedRecord,
    LayerTimeRecord,
    OperatorTimeRecord,
    PartWaits,
    ProfileRecord,
    RooflineRecord,
)
from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.measure.layer_times import LayerOperator, LayerTimes
from mnfpn_cli.measure.peaks import measure_peaks
from mnfpn_cli.plan.advice import Advice, best_advice
from mnfpn_cli.plan.roofline import LayerId, LayerWork, Peaks, Roofline, network_work, roofline
from mnfpn_cli.settings.input import ITEM_BYTES, DType, NetworkInput
from mnfpn_cli.settings.measuring import LAYERED
from mnfpn_cli.text import ReportProgress, percent


def profile_group(group: Group, runs: Sequence[BenchRun], progress: ReportProgress) -> list[ProfiledRun | NoProfile]:
    """Profile the measured runs of a group; a failure is a `NoProfile`."""
    profiles = list[ProfiledRun | NoProfile]()
    for run in runs:
        if run.status != "measured":
            continue
        try:
            record = profile_run(group, run.key, run.latency.median, run.launch_bound, progress)
            profiles.append(ProfiledRun(run.key, record))
        except MnfpnError as error:
            profiles.append(NoProfile(run.key, error.message, isinstance(error, UnavailableError)))
    return profiles


def profile_run(
    group: Group, key: RunKey, pass_s: float, launch_bound: bool, progress: ReportProgress
) -> ProfileRecord:
    """Profile one run as the case of its group asks: by layer, beside what the device can do, or both.

    Args:
        group: the network, its input, and the case.
        key: the run.
        pass_s: the median time of a pass of it, in seconds.
        launch_bound: whether the host, which queues a pass, sets its time.
        progress: called with what is being done.

    Raises:
        UnavailableError: where the runtime cannot tell its layers apart.
        MnfpnError: where the network is not from settings, or something fails.
    """
    with explained(f"{group.doing(key)}, layer by layer"):
        case, item_bytes, origin = group.case, ITEM_BYTES[key.dtype], group.workload.origin
        if not isinstance(origin, FromSettings) or not isinstance(group.input, NetworkInput):
            raise MnfpnError("only a network from settings has a plan to compare times with")
        works = network_work(origin.plan, group.input, item_bytes)
        how = f"on {group.device}"
        times = time_layers_of(group, key, works, pass_s, how, progress) if case.by_layer else None
        floors = None
        if case.roofline and key.dtype != "int8":
            progress(f"measuring what {group.device} can do", 0.0)
            floors = roofline(works, peaks(group.device, key.dtype, torch.get_num_threads()))
        if times is None and floors is None:
            raise UnavailableError("torch has no product in int8 that shows what the device can do")
        advice = None
        # A pass that waits for the host is not faster with less work for the GPU. What a change saves is worked out of
        # layers that run one by one.
        if times and key.runtime in LAYERED and not launch_bound:
            advice = best_advice(origin.settings, works, group.input, item_bytes, times.without_marks)
        waits = measure_waits(group, key, works, times, floors.peaks, progress) if times and floors else ()
        return profile_record(works, pass_s, times, floors, advice, launch_bound, waits)


@lru_cache
def peaks(device: torch.device, dtype: DType, _threads: int) -> Peaks:
    """Measure what a device can do; once for each device, dtype and number of CPU threads."""
    return measure_peaks(device, dtype, device_of(device).timer())


def profile_record(
    works: Sequence[LayerWork],
    measured: float,
    times: LayerTimes | None = None,
    roof: Roofline | None = None,
    advice: Advice | None = None,
    launch_bound: bool = False,
    waits: Sequence[PartWaits] = (),
) -> ProfileRecord:
    """Make the record of a profile: times in seconds, MACs and bytes of the whole batch, by part and by layer.

    The time of a container is that between its layers; it has no MACs and no bytes.

    Args:
        works: the MACs and bytes of each layer.
        measured: the median time of a pass.
        times: the times of the layers; None where they were not measured.
        roof: the floors of the layers; None where the peaks of the device were not measured.
        advice: the change that would help most; None where none would.
        launch_bound: whether the host, which queues a pass, sets its time.
        waits: what the parts wait for; empty where that was not measured.
    """
    layers = sum_rows(works, times, roof)
    timed, floored = times is not None, roof is not None
    reached = (
        RooflineRecord(**asdict(roof.peaks), floor_s=roof.seconds, reached=roof.reached(measured)) if roof else None
    )
    return ProfileRecord(
        measured_s=measured,
        marked_s=times.marked if times else None,
        undisturbed_s=times.undisturbed if times else None,
        launch_bound=launch_bound,
        roofline=reached,
        advice=advice_record(advice) if advice else None,
        parts=tuple(total.record(part, timed, floored) for part, total in sum_parts(layers).items()),
        layers=tuple(
            LayerTimeRecord(path=path, joined=_joined(others), **layer.record(part, timed, floored).model_dump())
            for ((path, part), *others), layer in layers.items()
        ),
        operators=tuple(_operator_records(works, times.operators)) if times else (),
        waits=tuple(waits),
    )


def _joined(layers: Sequence[LayerId]) -> tuple[JoinedRecord, ...]:
    return tuple(JoinedRecord(path=path, part=part) for path, part in layers)


def _operator_records(works: Sequence[LayerWork], operators: Sequence[LayerOperator]) -> Iterator[OperatorTimeRecord]:
    """Yield the records of operators; the MACs of a layer are those of the operator that takes most of its time."""
    macs = {work.id: work.macs for work in works if work.macs}
    computes = dict[LayerId, LayerOperator]()
    for operator in operators:
        for layer in operator.layers:
            if layer in macs and (layer not in computes or operator.seconds > computes[layer].seconds):
                computes[layer] = operator
    for operator in operators:
        yield OperatorTimeRecord(
            name=operator.name,
            kind=operator.kind,
            start_s=operator.start,
            seconds=operator.seconds,
            part=operator.layers[0][1],
            paths=tuple(dict.fromkeys(path for path, _ in operator.layers)),
            macs=sum(macs[layer] for layer in operator.layers if computes.get(layer) is operator),
        )


BEGINNINGS = {
    "stem": "the stem takes",
    "laterals": "the laterals take",
    "top-down": "the top-down path takes",
    "head": "the head takes",
    "rest": "the work between the layers takes",
}
"""The beginning of a sentence about a part, by its name; stages and parts on a level are not listed."""

BEGINNINGS_ON_LEVEL = {
    "smooth": "smoothing {} takes",
    "extra": "extra level {} takes",
    "head": "the head on {} takes",
}
"""The beginning of a sentence about a part on a level, by the first word of its name."""


def advice_record(advice: Advice) -> AdviceRecord:
    """Make the record of advice; its option and its sentence name the parameter `set` in backquotes."""
    kind, _, level = advice.part.partition(" ")
    takes = BEGINNINGS_ON_LEVEL[kind].format(level) if level else BEGINNINGS.get(kind, f"stage {kind} takes")
    option = " ".join(f"`set` {quote(override)}" for override in advice.overrides)
    return AdviceRecord(
        part=advice.part,
        share=advice.share,
        option=option,
        speed_up=advice.speed_up,
        sentence=f"{takes} {percent(advice.share, '.0f')} of the time: "
        f"{option} would make the network about {advice.speed_up:.1f} × faster",
    )
