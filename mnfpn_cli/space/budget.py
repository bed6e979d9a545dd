"""What a network may cost at most, and quantities as people write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.errors import UsageError

if TYPE_CHECKING:
    from mnfpn_cli.space.planned import Figures

DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
BYTES = {f"{prefix}{unit}": factor for prefix, factor in {**DECIMAL, **BINARY}.items() for unit in ("", "B")}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a cell may cost; None is no limit. The latency is known only where it was measured."""

    macs: int | None = None
    parameters: int | None = None
    memory_bytes: int | None = None
    levels: int | None = None
    latency_s: float | None = None

    def exceeded(self, figures: Figures) -> str:
        """The option whose limit a cell exceeds; nothing where it is within all that a plan can tell."""
        if self.macs is not None and figures.macs > self.macs:
            return "--max-macs"
        if self.parameters is not None and figures.parameters > self.parameters:
            return "--max-parameters"
        if self.memory_bytes is not None and figures.memory_bytes > self.memory_bytes:
            return "--max-memory"
        if self.levels is not None and figures.capacity.levels < self.levels:
            return "--min-levels"
        return ""


def parse_count(option: str, text: str) -> int:
    """Read ``5G``, ``5e9`` or ``4000000``.

    Raises:
        UsageError: where it is no number from 1 on.
    """
    return round(_quantity(option, text, DECIMAL, "a number of 1 or more, as 5G, 5e9 or 400000", least=1.0))


def parse_bytes(option: str, text: str) -> int:
    """Read ``200MiB``, ``1.5G`` or ``1000000``.

    Raises:
        UsageError: where it is no number from 1 on.
    """
    return round(_quantity(option, text, BYTES, "1 byte or more, as 200MiB, 1.5GB or 2e8", least=1.0))


def parse_duration(option: str, text: str) -> float:
    """Read ``30ms`` or ``0.5s``, into seconds.

    Raises:
        UsageError: where it has no unit, or is not above 0.
    """
    return _quantity(option, text, SECONDS, "a duration above 0 in s, ms, us or µs, as 30ms or 0.5s")


NUMBER = r"[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?"


def _quantity(option: str, text: str, units: dict[str, float], rule: str, least: float = 0.0) -> float:
    match = re.fullmatch(rf"({NUMBER})\s*([A-Za-zµ]*)", text.strip())
    value = float(match[1]) * units[match[2]] if match and match[2] in units else 0.0
    if not (value > 0 and least <= value < math.inf):
        raise UsageError(f"{option}: must be {rule}, got '{text}'")
    return value
