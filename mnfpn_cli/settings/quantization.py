"""How to quantise, as users say it: what to calibrate with, and what stays in float32."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class QuantizationCase:
    """What to calibrate with and to judge outputs by, and which layers stay in float32.

    Attributes:
        calibration: a folder of images, or an ``.npz`` of inputs; None for random images.
        keep_float: paths of layers, or of modules that contain them, that are not quantised.
        mean: of each channel of the images, 0 to 1, for a network without settings; None for zeros.
        std: the deviation of each channel; None for ones.
    """

    calibration: Path | None = None
    keep_float: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


USUAL_QUANTIZATION = QuantizationCase()
"""Random images, and every layer quantised."""
