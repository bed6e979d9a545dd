"""`mnfpn detect`."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.options import (
    NetworkOptions,
    OutputOptions,
    SizeOption,
    WeightsOptions,
    json_option,
    share_parser,
)
from mnfpn_cli.cli.paths import Reads


@grouped
def detect(
    *,
    images: Annotated[list[Path], Argument(help="Images, as PNG or JPEG.", metavar="IMAGE..."), Reads()],
    size: SizeOption = None,
    score_threshold: Annotated[
        float | None,
        Option(
            help="Leave out boxes with lower scores (default: the settings').",
            metavar="SHARE",
            parser=share_parser("--score-threshold", zero=True),
        ),
    ] = None,
    output: Annotated[
        Path | None, Option(help="Draw the boxes on each image, as PNG in this folder.", metavar="FOLDER")
    ] = None,
    network: NetworkOptions,
    weights: WeightsOptions,
    json: Annotated[bool, json_option()] = False,
) -> None:
    """Find objects in images with a trained detector, and draw their boxes.

    Examples:
        mnfpn detect street.jpg --preset mobilenetv2-fpnlite --weights trained.pth
        mnfpn detect *.jpg --config detector.json --weights trained.pth --output boxes
    """
    from mnfpn_cli.api.detecting import detected
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.plan.rules import choose_size
    from mnfpn_cli.report.terminal.detect import detect_tables

    checkpoint = weights.file()
    settings, image = choose_size(network.settings(checkpoint), size)
    with progress_bar() as progress:
        progress("loading torch", 0.0)
        with ending_at_once():
            import mnfpn_cli.detection.detect  # noqa: F401 - torch
        document = detected(settings, image, images, checkpoint, score_threshold, output, progress)
    emit(detect_tables(document), document, OutputOptions(json))
