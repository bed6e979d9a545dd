"""Format numbers in base units for people: with the unit, and four significant digits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnfpn_cli.documents.records import ScoreRecord, TensorInput
    from mnfpn_cli.settings.input import Size

MUCH_LONGER = 8
"""The factor between the ends of a range from which each has its own unit, so that the shorter keeps its digits."""


def count(number: int) -> str:
    """Format a whole number with separators: ``4,293,888``."""
    return f"{number:,}"


def scaled(number: float, unit: str = "") -> str:
    """Format a number with four significant digits and a decimal prefix: ``29.95 GMAC``."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor * 0.99995:
            return f"{_digits(number / factor)} {prefix}{unit}"
    digits = count(number) if isinstance(number, int) else _digits(number)
    return f"{digits} {unit}".rstrip()


def seconds(value: float) -> str:
    """Format a duration in seconds: ``737.2 ms``."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= factor * 0.99995:
            return f"{_digits(value / factor)} {unit}"
    return f"{_digits(value * 1e9)} ns" if value else "0 s"


def duration(value: float) -> str:
    """Format a time to wait, in seconds: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if value < 99.5:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"


def seconds_range(low: float, high: float) -> str:
    """Format a range of seconds in the unit of the longer one, ``733.1–741.9 ms``, or each in its own."""
    if high >= MUCH_LONGER * low > 0:  # the shorter one would lose its digits
        return f"{seconds(low)} – {seconds(high)}"
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if high >= factor * 0.99995 or unit == "ns":
            break
    return f"{_digits(low / factor)}–{_digits(high / factor)} {unit}"


def times(ratio: float) -> str:
    """Format a ratio: ``2.71``."""
    return f"{ratio:.3g}" if ratio >= 100 else f"{ratio:.2f}"


def tiny(number: float) -> str:
    """Format a number whose order of magnitude matters: ``1.9e-05``, ``0``."""
    return f"{number:.1e}" if number else "0"


def score(record: ScoreRecord) -> str:
    """Format a score: MACs with a prefix, any other number with four digits; an estimate to the digit of its error."""
    if record.kind == "planned":
        return scaled(record.value)
    if record.error:
        decimals = max(0, -math.floor(math.log10(record.error)))
        return f"{record.value:.{decimals}f} ± {record.error:.{decimals}f}"
    return f"{record.value:.4g}"


METRICS = {"imagenet-top1": "ImageNet top-1", "coco-map": "COCO mAP"}
"""The names of the metrics that have published scores, all in per cent."""


def accuracy(record: ScoreRecord) -> str:
    """Format a published or estimated accuracy: ``ImageNet top-1 71.8 %``, with the error of an estimate."""
    return f"{METRICS[record.metric]} {_accuracy(record)}"


def accuracies(records: Mapping[int, ScoreRecord]) -> str:
    """Format accuracies by the side of the images: ``ImageNet top-1 71.8 % at 224, 70.7 % at 192``."""
    texts = list[str]()
    for side, record in records.items():
        name = "" if texts else f"{METRICS[record.metric]} "
        texts.append(f"{name}{_accuracy(record)} at {side}")
    return ", ".join(texts)


def _accuracy(record: ScoreRecord) -> str:
    return f"{record.value:.1f}{f' ± {record.error:.1f}' if record.error else ''} %"


def share(number: float) -> str:
    """Format a share in per cent: ``1.3 %``."""
    return f"{100 * number:.2g} %" if number < 0.995 else f"{100 * number:.0f} %"


def half_width(middle: float, interval: tuple[float, float] | None) -> float | None:
    """Return the distance from the middle to the farther end of its interval, over the middle; None without either."""
    return max(interval[1] - middle, middle - interval[0]) / middle if middle and interval else None


def half_width_text(middle: float, interval: tuple[float, float] | None) -> str:
    """Format the half-width of an interval in per cent: ``1.3 %``; empty without an interval."""
    width = half_width(middle, interval)
    return "" if width is None else share(width)


def size_in_bytes(number: int) -> str:
    """Format a number of bytes in binary units: ``32.96 MiB``."""
    for factor, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= factor:
            return f"{_digits(number / factor)} {unit}"
    return f"{number} B"


def per_cent(part: float, whole: float) -> str:
    """Format a part of a whole in per cent without the sign; empty where the part is 0."""
    return f"{100 * part / whole:.1f}".replace("100.0", "100") if part and whole else ""


def shape(channels: int, size: Size) -> str:
    """Format the shape of a map of one image: ``256×150×225``."""
    return f"{channels}×{size.height}×{size.width}"


def sides(height: float, width: float) -> str:
    """Format a height and a width, which need not be whole: ``150×112.5``."""
    return f"{height:g}×{width:g}"


def inputs_title(inputs: Sequence[TensorInput]) -> str:
    """The shapes of the inputs of a network, as ``Input 1×3×600×900`` or ``Inputs 1×128 int64, 1×4``."""
    words = ["×".join(map(str, one.shape)) + (f" {one.dtype}" if one.dtype else "") for one in inputs]
    return f"Input{'s' * (len(inputs) > 1)} {', '.join(words)}"


def _digits(number: float) -> str:
    """Format four significant digits, but never fewer than those before the point."""
    decimals = 3 if number < 9.9995 else 2 if number < 99.995 else 1 if number < 999.95 else 0
    return f"{number:,.{decimals}f}"
