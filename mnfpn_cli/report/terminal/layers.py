"""Where the time of a pass goes, part by part, and how much less it could be: as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.terminal.tables import Report, note, table, warning
from mnfpn_cli.report.units import per_cent, scaled, seconds
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from rich.table import Table

    from mnfpn_cli.measure.layers import LayerTimes, Profile
    from mnfpn_cli.plan.advice import Advice
    from mnfpn_cli.plan.roofline import Roofline, Row

REST_SHOWN = 0.001
"""The share of the time from which on what runs between the layers has a row."""
REST_EXPLAINED = 0.01
MOST_APART = 0.25
"""By how much a pass may take longer or shorter, when its layers are timed, than when it was timed itself."""

NAMES = {
    "stem": "the stem takes",
    "laterals": "the laterals take",
    "top-down": "the top-down path takes",
    "smooth": "smoothing {} takes",
    "extra": "extra level {} takes",
    "head": "the head takes",
    "rest": "what runs between the layers takes",
}
"""What is said of a part, by its first word; a stage, which is not among them, is called by its path."""


@dataclass
class _Part:
    """The layers of a part together; ``bounds`` are the seconds of its floor that each kind of layer has."""

    seconds: float = 0.0
    macs: int = 0
    bytes: int = 0
    bounds: dict[str, float] = field(default_factory=dict)

    @property
    def floor(self) -> float:
        return sum(self.bounds.values())

    @property
    def bound(self) -> str:
        """What sets the larger share of the floor."""
        return max(self.bounds, key=lambda kind: self.bounds[kind], default="")

    def __add__(self, other: _Part) -> _Part:
        kinds = {**self.bounds, **other.bounds}
        bounds = {kind: self.bounds.get(kind, 0.0) + other.bounds.get(kind, 0.0) for kind in kinds}
        return _Part(self.seconds + other.seconds, self.macs + other.macs, self.bytes + other.bytes, bounds)


def layers_tables(title: str, profile: Profile) -> Report:
    """A row for each part of the network, what its marks and its floors mean, and the advice."""
    report: Report = [_table(title, profile)]
    if profile.times:
        report += [*_time_notes(profile.times, profile.launch_bound), *_disagreement(profile.times, profile.measured)]
    if profile.roofline:
        report += _floor_notes(profile.roofline, profile.measured)
    if profile.advice:
        sentence = advice_sentence(profile.advice)
        report.append(note(f"{sentence[0].upper()}{sentence[1:]}."))
    return report


def advice_sentence(advice: Advice) -> str:
    """What takes most of the time, and what would help: a sentence without its full stop."""
    kind, _, which = advice.part.partition(" ")
    takes = NAMES.get(kind, "stage {} takes").format(which or advice.part)
    share, times = percent(advice.share, ".0f"), f"{advice.speedup:.1f} ×"
    return f"{takes} {share} of the time: `{advice.option}` would make the network about {times} faster"


def _by_row(profile: Profile) -> dict[Row, _Part]:
    """What is known of each layer, by its path and part: those with work first, in the order in which they run."""
    rows = {work.row: _Part(macs=work.macs, bytes=work.bytes) for work in profile.works}
    for floor in profile.roofline.floors if profile.roofline else ():
        rows[floor.row].bounds[floor.kind] = floor.seconds
    for time in profile.times.rows if profile.times else ():
        rows.setdefault(time.row, _Part()).seconds = time.seconds
    return rows


def _by_part(profile: Profile) -> dict[str, _Part]:
    parts: dict[str, _Part] = {}
    for (_, part), numbers in _by_row(profile).items():
        parts[part] = parts.get(part, _Part()) + numbers
    return parts


def _table(title: str, profile: Profile) -> Table:
    parts = _by_part(profile)
    total = sum(parts.values(), _Part())
    timed = (">Time", ">%", ">MACs", ">%", ">MACs/s") if profile.times else (">MACs", ">%")
    floors = (">Floor", "Bound") if profile.roofline else ()
    reached = (">Reached %",) if profile.roofline and profile.times else ()
    made = table(title, "Part", *timed, *floors, *reached)
    for name, part in parts.items():
        if part.macs or part.bytes or part.seconds >= REST_SHOWN * total.seconds:
            made.add_row(name, *_cells(part, total, profile))
    made.add_section()
    made.add_row("total", *_cells(total, total, profile))
    return made


def _cells(part: _Part, total: _Part, profile: Profile) -> list[str]:
    cells = [scaled(part.macs) if part.macs else "", per_cent(part.macs, total.macs)]
    if profile.times:
        rate = scaled(part.macs / part.seconds) if part.macs and part.seconds else ""
        cells = [seconds(part.seconds), per_cent(part.seconds, total.seconds), *cells, rate]
    if profile.roofline:
        cells += [seconds(part.floor) if part.floor else "", part.bound]
        cells += [per_cent(part.floor, part.seconds)] if profile.times else []
    return cells


def _time_notes(times: LayerTimes, launch_bound: bool) -> Report:
    text = f"The layers add up to {seconds(times.seconds)}; a pass took {seconds(times.undisturbed)} undisturbed"
    cost = f"{seconds(times.marked)} while they were timed ({percent(times.marked / times.undisturbed - 1, '+.1f')})."
    waits = "the time that the host needs to queue it. Less work in a layer would make it no faster."
    notes: Report = [note(f"{text}, {waits}", "yellow") if launch_bound else note(f"{text}, {cost}", "dim")]
    rest = sum(row.seconds for row in times.rows if row.part == "rest")
    if rest >= REST_EXPLAINED * times.seconds:
        notes.append(note("rest: what runs between the layers; on a CPU, giving back the memory of maps.", "dim"))
    return notes


def _disagreement(times: LayerTimes, measured: float) -> Report:
    """That the layers were timed on a machine in another state than the row was."""
    if abs(times.undisturbed / measured - 1) <= MOST_APART:
        return []
    passes = f"a pass took {seconds(measured)} before, and {seconds(times.undisturbed)} while layers were timed"
    return [warning(f"{passes}: the shares are not those of the latency above.")]


def _floor_notes(roof: Roofline, measured: float) -> Report:
    rates = f"{scaled(roof.peaks.macs_per_s, 'MAC/s')} (large matrix product)"
    rates += f" and {scaled(roof.peaks.bytes_per_s, 'B/s')} (large copy, read plus written)"
    reached = per_cent(roof.seconds, measured)
    text = (
        f"This device does {rates}: the network's floor is {seconds(roof.seconds)}. "
        f"A pass took {seconds(measured)}: {reached} % of what the device can do."
    )
    meaning = (
        "Floors: direct convolution, layer by layer, maps in memory. Winograd, joined layers and caches can beat it."
    )
    return [note(text), note(meaning, "dim")]


def layers_document(profile: Profile) -> dict[str, Any]:
    """The same under the keys that scripts rely on, and each layer by itself; null where it was not measured.

    Times are in seconds, MACs and bytes those of the whole batch. A container's row is what it computes beside its
    layers; its work is none.
    """
    times, roof = profile.times, profile.roofline
    return {
        "measured_s": profile.measured,
        "marked_s": times.marked if times else None,
        "undisturbed_s": times.undisturbed if times else None,
        "launch_bound": profile.launch_bound,
        "roofline": {**asdict(roof.peaks), "floor_s": roof.seconds, "reached": roof.reached(profile.measured)}
        if roof
        else None,
        "advice": {**asdict(profile.advice), "sentence": advice_sentence(profile.advice)} if profile.advice else None,
        "parts": [{"part": name, **_numbers(part, profile)} for name, part in _by_part(profile).items()],
        "layers": [
            {"path": path, "part": part, **_numbers(numbers, profile)}
            for (path, part), numbers in _by_row(profile).items()
        ],
    }


def _numbers(part: _Part, profile: Profile) -> dict[str, Any]:
    return {
        "seconds": part.seconds if profile.times else None,
        "macs": part.macs,
        "bytes": part.bytes,
        "floor_s": part.floor if profile.roofline else None,
        "bound": part.bound or None,
    }
