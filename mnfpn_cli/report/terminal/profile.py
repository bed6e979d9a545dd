"""Where the time of a run goes, as tables: the parts of its network, their floors, and the advice."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mnfpn_cli.documents.bench import PartTime, ProfileRecord, RooflineRecord
from mnfpn_cli.report.terminal.tables import Report, note, table, warning
from mnfpn_cli.report.units import per_cent, scaled, seconds
from mnfpn_cli.text import counted, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.bench import Bound
    from mnfpn_cli.report.terminal.tables import Table

REST = "rest"
"""The part that is not a layer: what runs between the layers."""

LEAST_SHARE_OF_ROW = 0.001
"""The share of the time from which a part without MACs and bytes has a row."""

LEAST_SHARE_EXPLAINED = 0.01
"""The share of the time from which a note explains the rest."""

MOST_APART = 0.25
"""The relative difference between the times of a pass, with and without timed layers, that gives a warning."""


def layers_tables(title: str, profile: ProfileRecord) -> Report:
    """A row for each part of the network, notes on the times and the floors, and the advice."""
    report: Report = [_table(title, profile)]
    if profile.undisturbed_s is not None and profile.marked_s is not None:
        report += _time_notes(profile, profile.undisturbed_s, profile.marked_s)
        report += _fault_notes(profile.parts)
        report += _joined_notes(profile)
        report += _disagreement(profile.undisturbed_s, profile.measured_s)
    if profile.roofline:
        report += _floor_notes(profile.roofline, profile.measured_s)
    if profile.advice:
        sentence = profile.advice.sentence
        report.append(note(f"{sentence[0].upper()}{sentence[1:]}."))
    return report


def _table(title: str, profile: ProfileRecord) -> Table:
    total = _total(profile)
    timed = (">Time", ">%", ">MACs", ">%", ">MACs/s") if profile.undisturbed_s else (">MACs", ">%")
    floors = (">Floor", "Bound") if profile.roofline else ()
    reached = (">Reached %",) if profile.roofline and profile.undisturbed_s else ()
    made = table(title, "Part", *timed, *floors, *reached)
    for part in profile.parts:
        if part.macs or part.bytes or (part.seconds or 0) >= LEAST_SHARE_OF_ROW * (total.seconds or 0):
            made.add_row(part.part, *_cells(part, total, profile))
    made.add_section()
    made.add_row(total.part, *_cells(total, total, profile))
    return made


def _total(profile: ProfileRecord) -> PartTime:
    """Add up all parts; their bound is what sets most of the floor of the layers."""
    parts, floors = profile.parts, defaultdict["Bound", float](float)
    for layer in profile.layers:
        if layer.bound:
            floors[layer.bound] += layer.floor_s or 0.0
    return PartTime(
        part="total",
        seconds=sum(part.seconds or 0.0 for part in parts),
        macs=sum(part.macs for part in parts),
        bytes=sum(part.bytes for part in parts),
        floor_s=sum(part.floor_s or 0.0 for part in parts),
        bound=max(floors, key=lambda bound: floors[bound], default=None),
    )


def _cells(part: PartTime, total: PartTime, profile: ProfileRecord) -> list[str]:
    took, floor = part.seconds or 0.0, part.floor_s or 0.0
    cells = [scaled(part.macs) if part.macs else "", per_cent(part.macs, total.macs)]
    if profile.undisturbed_s:
        rate = scaled(part.macs / took) if part.macs and took else ""
        cells = [seconds(took), per_cent(took, total.seconds or 0.0), *cells, rate]
    if profile.roofline:
        cells += [seconds(floor) if floor else "", part.bound or ""]
        cells += [per_cent(floor, took)] if profile.undisturbed_s else []
    return cells


def _time_notes(profile: ProfileRecord, undisturbed: float, marked: float) -> Report:
    layers = sum(layer.seconds or 0.0 for layer in profile.layers)
    text = f"The layers add up to {seconds(layers)}; a pass took {seconds(undisturbed)} undisturbed"
    more = f" ({percent(marked / undisturbed - 1, '+.1f')})" if marked > undisturbed else ""  # less is noise
    cost = f"{seconds(marked)} while they were timed{more}."
    waits = "the time that the host needs to queue it. Less work in a layer would make it no faster."
    bound = profile.launch_bound
    notes: Report = [note(f"{text}, {waits}", "yellow") if bound else note(f"{text}, {cost}", "dim")]
    rest = sum(layer.seconds or 0.0 for layer in profile.layers if layer.part == REST)
    if rest >= LEAST_SHARE_EXPLAINED * layers:
        notes.append(note("rest: what runs between the layers, such as giving back the memory of maps.", "dim"))
    return notes


def _fault_notes(parts: Sequence[PartTime]) -> Report:
    """Say how many page faults a pass has, and which part has most of them; nothing where they were not counted."""
    counts = {part.part: part.page_faults for part in parts if part.page_faults is not None}
    if not counts:
        return []
    total, most = sum(counts.values()), max(counts, key=lambda part: counts[part])
    where = f", {percent(counts[most] / total, '.0f')} of them in {most}" if round(total) else ""
    return [note(f"Page faults: {total:,.0f} in a pass while layers were timed{where}.", "dim")]


def _joined_notes(profile: ProfileRecord) -> Report:
    """Name the parts whose rows also hold layers of other parts."""
    several = [layer for layer in profile.layers if layer.joined]
    if not several:
        return []
    inside = dict[str, dict[str, None]]()
    for layer in several:
        for other in layer.joined:
            if other.part != layer.part:
                inside.setdefault(layer.part, {})[other.part] = None
    parts = "; ".join(f"{part} has layers of {' and '.join(others)}" for part, others in inside.items())
    text = f"Joined: {counted(len(several), 'row')} of `json` hold several layers, in the part with most of the work"
    return [note(f"{text}{f': {parts}' if parts else ''}.", "dim")]


def _disagreement(undisturbed: float, measured: float) -> Report:
    """Warn that a pass took another time while the layers were timed than when the run was."""
    if abs(undisturbed / measured - 1) <= MOST_APART:
        return []
    passes = f"a pass took {seconds(measured)} before, and {seconds(undisturbed)} while layers were timed"
    return [warning(f"{passes}: the shares are not those of the latency above.")]


def _floor_notes(roofline: RooflineRecord, measured: float) -> Report:
    rates = f"{scaled(roofline.macs_per_s, 'MAC/s')} (large product or convolution)"
    rates += f" and {scaled(roofline.bytes_per_s, 'B/s')} (large copy, read plus written)"
    text = (
        f"This device does {rates}: the network's floor is {seconds(roofline.floor_s)}. "
        f"A pass took {seconds(measured)}: {per_cent(roofline.floor_s, measured)} % of what the device can do."
    )
    meaning = (
        "Floors: direct convolution, layer by layer, maps in memory. Winograd, joined layers and caches can beat it."
    )
    return [note(text), note(meaning, "dim")]
