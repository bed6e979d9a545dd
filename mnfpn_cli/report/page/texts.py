"""The parts of the page that are text: what was swept, on what, and what makes the figures uncertain."""

from __future__ import annotations

import re
from collections import defaultdict
from html import escape
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.terminal.sweep import asked_for
from mnfpn_cli.report.units import count, counted, size_in_bytes
from mnfpn_cli.space.names import differences
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnfpn_cli.report.points import Point, Points
    from mnfpn_cli.store.rows import Sweep

FEW = 8
"""Values of an axis that are listed."""


def subtitle_html(points: Points) -> str:
    """What was swept and when, what differs between the cells, and how many there are."""
    parts = {status: points.count(status) for status in ("done", "failed", "pending")}
    counts = ", ".join(f"{count(number)} {status}" for status, number in parts.items() if number)
    frontier = sum(map(len, points.frontier.values()))
    total = counted(len(points.all), "cell")
    lines = [
        f"<p>{total}{f': {counts}' if counts else ''}{f'; {count(frontier)} on the frontier' * bool(frontier)}.</p>"
    ]
    lines += [_sweep(one) for one in points.sweeps]
    axes = differences([one.stored.cell for one in points.all])
    chips = "".join(f"<div><dt>{escape(key)}</dt> <dd>{escape(_few(words))}</dd></div>" for key, words in axes.items())
    return "\n".join([*lines, f'<dl class="axes">{chips}</dl>' if chips else ""])


def _sweep(sweep: Sweep) -> str:
    plan, when = sweep.plan, sweep.started.partition(".")[0].replace("T", " ")
    left_out = []
    for key, words in (("invalid", "invalid"), ("cut", "over budget")):
        number = sum(plan.get(key, {}).values())
        left_out += [f"{count(number)} {words}"] if number else []
    out = f" ({', '.join(left_out)} left out)" if left_out else ""
    return f"<p>Sweep {sweep.id}, {escape(when)} UTC{escape(out)}: <code>{escape(asked_for(plan))}</code></p>"


def _few(words: Sequence[str]) -> str:
    values = sorted(set(words), key=_in_order)
    return ", ".join(values[:FEW]) + (f" and {count(len(values) - FEW)} more" if len(values) > FEW else "")


def _in_order(word: str) -> tuple[bool, list[float], str]:
    """Numbers by size, ``64x128`` too, before words."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)(?:x(\d+))?", word)
    return parts is None, [float(one) for one in parts.groups() if one] if parts else [], word


def notices_html(points: Points) -> str:
    """Why there is nothing to see, where there is not."""
    if not points.all:
        return _notice("The store has no cells yet: <code>mnfpn sweep --store STORE</code> puts some in.")
    if not points.frontier:
        return _notice("No cell is measured yet, so there is nothing to plot: the table has what is known.")
    return ""


def _notice(html: str) -> str:
    return f'<p class="notice">{html}</p>'


def no_parts_html(points: Points) -> str:
    """How to get profiles, where there are none."""
    if not points.frontier or any((one.stored.measured or {}).get("profile") for one in points.all):
        return ""
    how = "No cell has its layers timed. <code>mnfpn sweep --by-layer</code> times them too."
    return f'<section><div class="heading"><h2>Where the time goes</h2></div><p class="hint">{how}</p></section>'


def environment_html(points: Points) -> str:
    """Each machine and software that measured, once, with its cells."""
    groups = defaultdict[tuple[tuple[str, str], ...], list["Point"]](list)
    for one in points.all:
        if one.stored.measured:
            groups[_machine(one)].append(one)
    if not groups:
        return ""
    names = list(dict.fromkeys(name for group in groups for name, _ in group))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in (*names, "Measured", "Cells"))
    body = "".join(_environment(dict(group), names, some) for group, some in groups.items())
    table = f'<table class="facts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="Environment">{table}</div>'
    return f'<section id="environment"><div class="heading"><h2>Environment</h2></div>{box}</section>'


def _machine(point: Point) -> tuple[tuple[str, str], ...]:
    found: Mapping[str, Any] = (point.stored.measured or {})["environment"]
    gpu = f"{found['gpu']}, driver {found.get('driver')}, CUDA {found.get('cuda')}" if found["gpu"] else ""
    facts = {
        "Node": point.node,
        "CPU": f"{found['cpu']}, {found['cores']} cores",
        "GPU": gpu,
        "Memory": size_in_bytes(found["memory_bytes"]),
        "Software": f"torch {found['torch']}, Python {found['python']}, mnfpn {found['mnfpn']}",
        "System": found["platform"],
    }
    return tuple((name, str(value)) for name, value in facts.items() if value)


def _environment(facts: Mapping[str, str], names: Iterable[str], some: Sequence[Point]) -> str:
    dates = sorted(one.stored.result.finished[:16].replace("T", " ") for one in some if one.stored.result)
    when = f"{dates[0]} to {dates[-1]} UTC" if dates[0] != dates[-1] else f"{dates[0]} UTC"
    cells = [*(facts.get(name, "") for name in names), when, count(len(some))]
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def warnings_html(points: Points) -> str:
    """Where the machine moved, and what each measurement said of itself."""
    kinds = defaultdict[str, list[str]](list)
    for one in points.all:
        for warning in (one.stored.measured or {}).get("warnings", ()):
            kinds[str(warning["kind"])].append(f"{one.name}: {warning['cause']}. What helps: {warning['helps']}.")
    parts = _drift(points)
    for kind, lines in sorted(kinds.items()):
        parts.append(_folded(f"{kind.replace('_', ' ')}: {count(len(lines))}", lines))
    if not parts:
        return ""
    return f'<section id="warnings"><div class="heading"><h2>Warnings</h2></div>{"".join(parts)}</section>'


def _drift(points: Points) -> list[str]:
    """Where the reference cell took longer or shorter than at first."""
    if not points.moved:
        return []
    lines = [
        f"{one.finished.partition('.')[0].replace('T', ' ')} UTC on {one.node}: {one.pace:.3f} × its first time"
        for one in points.moved
    ]
    worst = max(points.moved, key=lambda one: abs(one.pace - 1))
    way = "slower" if worst.pace > 1 else "faster"
    much = f"{percent(abs(worst.pace - 1))} {way}"
    what = (
        f"The machine moved: the reference cell, timed in between, was up to {much} than at first. "
        "The column Corrected has each median over the pace of the machine at that moment."
    )
    return [f"<p>{escape(what)}</p>", _folded(f"times of the reference that moved: {count(len(lines))}", lines)]


def _folded(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>{escape(title)}</summary><ul>{items}</ul></details>"
