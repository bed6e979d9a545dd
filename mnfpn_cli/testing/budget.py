"""Compare what a network costs with limits, and say what exceeds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import optional, quantity
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.report.units import inputs_title, scaled, size_in_bytes
from mnfpn_cli.space.planned import parse_bytes, parse_count
from mnfpn_cli.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnfpn_cli.documents.summary import LayerRecord, SummaryDocument

LimitValue = str | int | float
"""A quantity as text with a unit, ``"1G"`` or ``"64MiB"``, or a number in the base unit."""

LARGEST = 3
"""The contributors that a message names."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a network may cost; None means no limit."""

    macs: int | None
    parameters: int | None
    peak_memory: int | None


def limits_of(macs: LimitValue | None, parameters: LimitValue | None, peak_memory: LimitValue | None) -> Limits:
    """Read limits, each as the budget of a sweep is read.

    Raises:
        UsageError: where one is malformed, or there is none.
    """
    if macs is None and parameters is None and peak_memory is None:
        raise UsageError(Problem("", "macs, parameters or peak_memory must be given"))
    return Limits(
        optional(quantity, "macs", macs, parse_count),
        optional(quantity, "parameters", parameters, parse_count),
        optional(quantity, "peak_memory", peak_memory, parse_bytes),
    )


def exceeded(summary: SummaryDocument, limits: Limits) -> str:
    """Return a message about the limits that a network exceeds; empty where it is within all."""
    lines = [*_lines(summary, limits)]
    name = summary.model.target if summary.model else "the network of the settings"
    return "\n".join([f"{name} exceeds its budget. {inputs_title(summary.inputs)}.", *lines]) if lines else ""


def _lines(summary: SummaryDocument, limits: Limits) -> Iterator[str]:
    totals, memory = summary.totals, summary.memory
    if limits.macs is not None and totals.macs > limits.macs:
        yield _over("macs", totals.macs, limits.macs, _macs)
        yield _largest(summary, lambda row: row.macs, _macs)
    if limits.parameters is not None and totals.parameters > limits.parameters:
        yield _over("parameters", totals.parameters, limits.parameters, scaled)
        yield _largest(summary, lambda row: row.parameters if row.registered else 0, scaled)
    if limits.peak_memory is not None and memory.peak > limits.peak_memory:
        yield _over("peak_memory", memory.peak, limits.peak_memory, size_in_bytes)
        weights, activations = size_in_bytes(memory.model_bytes), size_in_bytes(memory.activation_bytes)
        yield f"    {weights} of weights, {activations} of activations at the peak"
        yield _largest(summary, lambda row: row.activations, lambda number: f"{scaled(number)} elements", "outputs")


def _macs(number: int) -> str:
    return scaled(number, "MAC")


def _over(name: str, value: int, limit: int, text: Callable[[int], str]) -> str:
    share = percent(value / limit - 1)
    return f"  {name}: {text(value)}, limit {text(limit)}: {text(value - limit)} ({share}) too much"


def _largest(
    summary: SummaryDocument, number: Callable[[LayerRecord], int], text: Callable[[int], str], of: str = "layers"
) -> str:
    """Return a line of the single layers with the largest numbers."""
    leaves = sorted((row for row in summary.layers if row.leaf and number(row)), key=number, reverse=True)
    each = [f"{row.path or 'the network itself'} {text(number(row))}" for row in leaves[:LARGEST]]
    return f"    largest {of}: {', '.join(each)}"
