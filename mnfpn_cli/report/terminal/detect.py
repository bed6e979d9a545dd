"""`mnfpn detect` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.export import weights_report
from mnfpn_cli.report.terminal.tables import Report, note, table
from mnfpn_cli.report.units import count, seconds, share, sides

if TYPE_CHECKING:
    from mnfpn_cli.documents.detect import DetectDocument, DetectedImage

MOST_BOXES = 20
"""The most boxes of an image in its table; JSON has them all."""


def detect_tables(document: DetectDocument) -> Report:
    """How the checkpoint fits, and for each image its boxes, the time that they took, and where they are drawn."""
    least = document.settings.postprocess if document.settings else None
    threshold = least.score_threshold if least else 0.0
    return [*weights_report(document.weights), *(item for one in document.images for item in _image(one, threshold))]


def _image(image: DetectedImage, threshold: float) -> Report:
    title = f"{image.file} ({sides(image.height, image.width)})"
    took = f"Network {seconds(image.network_s)}, boxes {seconds(image.postprocess_s)}"
    drawn = f"; drawn in {image.picture}" if image.picture else ""
    if not image.boxes:
        return [note(f"{title}: no box has a score above {share(threshold)}."), note(f"{took}{drawn}.")]
    made = table(title, ">Label", ">Score", ">Left", ">Top", ">Right", ">Bottom")
    for box in image.boxes[:MOST_BOXES]:
        corners = (box.left, box.top, box.right, box.bottom)
        made.add_row(str(box.label), f"{100 * box.score:.1f} %", *(f"{side:.1f}" for side in corners))
    more = len(image.boxes) - MOST_BOXES
    rest = [note(f"… and {count(more)} with lower scores, which JSON has.")] if more > 0 else []
    return [made, *rest, note(f"{took}{drawn}.")]
