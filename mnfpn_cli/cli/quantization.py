"""The options of quantisation that several commands share: what to calibrate with, and which layers stay in float32."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from mnfpn_cli.cli.help import MORE
from mnfpn_cli.cli.paths import Reads
from mnfpn_cli.settings.quantization import QuantizationCase, parse_pixels, quantization_case

CALIBRATION_HELP = (
    "Calibrate int8 with the images of a folder, or the inputs in an .npz, and judge outputs by every fourth of them "
    "(default: random images, which tell nothing about what int8 loses)."
)


@dataclass(frozen=True)
class QuantizationOptions:
    """What to calibrate with, which layers stay in float32, and how images become inputs."""

    calibration: Annotated[Path | None, Option(help=CALIBRATION_HELP, metavar="PATH"), Reads()] = None
    keep_float: Annotated[
        list[str] | None,
        Option(
            help="Leave these layers, and all below them, in float32. Can be repeated, or hold several, by commas.",
            metavar="PATH,...",
        ),
    ] = None
    mean: Annotated[
        str | None,
        Option(
            help="Subtract this mean from each channel of an image, 0 to 1, where the settings have none "
            "(default: ImageNet's).",
            metavar="X,...",
            rich_help_panel=MORE,
        ),
    ] = None
    std: Annotated[
        str | None,
        Option(
            help="Divide each channel by this deviation, where the settings have none (default: ImageNet's).",
            metavar="X,...",
            rich_help_panel=MORE,
        ),
    ] = None

    def quantization(self) -> QuantizationCase:
        """Return the case that these options ask for.

        Raises:
            UsageError: if a value is wrong.
        """
        mean, std = (
            None if text is None else parse_pixels(where, text)
            for where, text in (("--mean", self.mean), ("--std", self.std))
        )
        return quantization_case(self.calibration, self.keep_float or (), mean, std)
