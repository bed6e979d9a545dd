"""Settings of quantisation: what it is calibrated with, which layers stay in float32, and how images become inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnfpn_cli.errors import Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnfpn_cli.settings.detection import PreprocessSettings  # imports pydantic, which `--help` must not pay for

LARGEST_PIXEL = 1e6
"""The largest mean or deviation of a pixel, as in the settings of a detector."""


@dataclass(frozen=True, slots=True)
class QuantizationCase:
    """How a network is quantised, and what its quality is judged by.

    Attributes:
        calibration: a folder of images, or an ``.npz`` of inputs; None for random images.
        keep_float: paths of layers that stay in float32, and those below them.
        mean: of each channel, or one for all; None where it was not given.
        std: the deviation of each channel, or one for all; None where it was not given.
    """

    calibration: Path | None = None
    keep_float: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


USUAL_QUANTIZATION = QuantizationCase()
"""Random images, and every layer quantised."""


def quantization_case(
    calibration: Path | None = None,
    keep_float: Sequence[str] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> QuantizationCase:
    """Make the case of the given options; ``keep_float``: paths, or several paths separated by commas.

    Raises:
        UsageError: where a path is empty, or a mean or a deviation is out of bounds.
    """
    paths = [path.strip() for text in keep_float for path in text.split(",")]
    if not all(paths):
        given = ", ".join(f"'{text}'" for text in keep_float)
        raise UsageError(Problem("`keep_float`", "must be paths of layers, separated by commas", given))
    return QuantizationCase(
        calibration,
        tuple(dict.fromkeys(paths)),
        _checked("`mean`", mean, -LARGEST_PIXEL),
        _checked("`std`", std, 0.0),
    )


def parse_pixels(where: str, text: str) -> tuple[float, ...]:
    """Read a number for each channel, separated by commas, or one for all.

    Raises:
        UsageError: where a part is no number.
    """
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        rule = "must be a number for each channel, separated by commas, or one for all"
        raise UsageError(Problem(where, rule, f"'{text}'")) from None


def _checked(where: str, values: Sequence[float] | None, low: float) -> tuple[float, ...] | None:
    """Return values if each is from ``low``, or above it where it is 0, to `LARGEST_PIXEL`."""
    if values is None:
        return None
    rule = f"must be from {low:.0f} to {LARGEST_PIXEL:.0f}" if low else f"must be above 0, to {LARGEST_PIXEL:.0f}"
    for value in values:
        if not math.isfinite(value) or not low <= value <= LARGEST_PIXEL or value == low == 0:
            raise UsageError(Problem(where, rule, f"{value:g}"))
    return tuple(map(float, values))


def image_scaling(case: QuantizationCase, settings: PreprocessSettings | None, channels: int) -> PreprocessSettings:
    """Return the mean and deviation of images: those of the settings, else of the case, else the usual ones.

    The usual ones are those of a detector that says nothing else: ImageNet's for three channels, else 0.5 and 0.5.

    Args:
        case: which may give them, for a network whose settings do not.
        settings: those of the network; None where it has none.
        channels: of the images.

    Raises:
        UsageError: where both the settings and the case give them, or there are more or fewer than channels.
    """
    from mnfpn_cli.settings.detection import PreprocessSettings

    given = {name: values for name in ("mean", "std") if (values := getattr(case, name)) is not None}
    if settings is not None:
        for name in given:
            rule = f"cannot be used with a network whose settings have it: set preprocess.{name}"
            raise UsageError(Problem(f"`{name}`", rule))
        return settings
    for name, values in given.items():
        if len(values) not in (1, channels):
            rule = f"must have one value, or one for each of {channels} channels"
            raise UsageError(Problem(f"`{name}`", rule, str(len(values))))
    usual = {} if channels == 3 else {"mean": (0.5,), "std": (0.5,)}
    return PreprocessSettings(**{**usual, **given})
