"""Find objects in image files: check all, run the network on each, and draw the boxes."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mnfpn_cli.detection.images import as_input, as_tensor, check_images, draw, import_pillow, read_image
from mnfpn_cli.detection.postprocess import Detections, Postprocess
from mnfpn_cli.documents.detect import DetectDocument, DetectedBox, DetectedImage
from mnfpn_cli.documents.records import ImageSize, WeightsRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.files import write_whole
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.detection import SSDHead
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import ReportProgress


def check_detection(settings: NetworkSettings, size: Size, files: Sequence[Path], folder: Path | None) -> None:
    """Check, before a network is built, that it detects, that all files are images, and that pictures can be written.

    Raises:
        UsageError: where the settings have no detection head, a file is no image, or two pictures would be one file.
        MnfpnError: where Pillow is not installed, or a file cannot be read.
    """
    Postprocess(settings, size)
    import_pillow()
    check_images(files, settings.in_channels)
    if folder is not None:
        _check_pictures(files, folder)


def _check_pictures(files: Sequence[Path], folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(Problem("`output`", "must be a folder", f"'{folder}'"))
    parent = folder if folder.exists() else folder.absolute().parent
    if not parent.is_dir():
        raise UsageError(Problem("`output`", f"folder '{parent}' does not exist"))
    if not os.access(parent, os.W_OK):
        raise UsageError(Problem("`output`", f"must be a folder that can be written, but '{parent}' cannot"))
    pictures = dict[Path, Path]()
    for file in files:
        picture = picture_of(file, folder)
        if picture in pictures:
            both = f"'{pictures[picture]}' and '{file}' would both be drawn in '{picture}'"
            raise UsageError(Problem("`output`", f"must have a file of its own for each image, but {both}"))
        if any(picture.exists() and picture.samefile(one) for one in files):
            raise UsageError(Problem("`output`", f"must not be where it replaces an image that is read: '{picture}'"))
        pictures[picture] = file


def picture_of(file: Path, folder: Path) -> Path:
    """Return the file that the boxes of an image are drawn into."""
    return folder / f"{file.stem}.png"


def detect_images(
    network: Network,
    settings: NetworkSettings,
    size: Size,
    files: Sequence[Path],
    folder: Path | None,
    weights: WeightsRecord,
    progress: ReportProgress,
) -> DetectDocument:
    """Find objects in images, one after the other, and then draw them: no picture is written before all are done.

    Args:
        network: with its weights.
        settings: of the network.
        size: what images are resized to: stretched with ssd and ssdlite, else fitted into it with their shape kept.
        files: the images.
        folder: where pictures are written, made if it is not there; None for no pictures.
        weights: the checkpoint that was loaded.
        progress: is called with what is being done and the share of it that is done.

    Raises:
        UsageError: where a file is no image any more.
        MnfpnError: where a file cannot be read or written.
    """
    ready, found = dict[Size, Postprocess](), list[DetectedImage]()
    for index, file in enumerate(files):
        progress(f"detecting in {file.name}", index / len(files))
        found.append(_detect(network, settings, size, file, folder, ready))
    if folder is not None:
        folder.mkdir(exist_ok=True)
        for index, (file, image) in enumerate(zip(files, found, strict=True)):
            progress(f"drawing {file.name}", index / len(files))
            picture = draw(read_image(file, settings.in_channels), image.boxes)
            write_whole(picture_of(file, folder), picture)
    return DetectDocument(
        settings=settings,
        model=None,
        size=ImageSize(height=size.height, width=size.width),
        weights=weights,
        images=tuple(found),
    )


@torch.inference_mode()
def _detect(
    network: Network,
    settings: NetworkSettings,
    size: Size,
    file: Path,
    folder: Path | None,
    ready: dict[Size, Postprocess],
) -> DetectedImage:
    """Find objects in one image; ``ready`` keeps the anchors of each size of the network's input."""
    image = as_tensor(read_image(file, settings.in_channels))
    assert settings.preprocess  # a detector has it
    x = as_input(image, settings.preprocess, size, stretch=isinstance(settings.head, SSDHead))
    resized, original = Size(*x.shape[-2:]), Size(*image.shape[-2:])
    is_first = not ready
    if resized not in ready:
        ready[resized] = Postprocess(settings, resized)
    if is_first:
        ready[resized](network(x))  # warms up
    start = time.perf_counter()
    outputs = network(x)
    between = time.perf_counter()
    (found,) = ready[resized](outputs)
    end = time.perf_counter()
    return DetectedImage(
        file=str(file),
        height=original.height,
        width=original.width,
        resized=ImageSize(height=resized.height, width=resized.width),
        boxes=tuple(_boxes(found, resized, original)),
        network_s=between - start,
        postprocess_s=end - between,
        picture=None if folder is None else str(picture_of(file, folder)),
    )


def _boxes(found: Detections, resized: Size, original: Size) -> list[DetectedBox]:
    """Return boxes in pixels of the original image."""
    ratio = torch.tensor([original.width / resized.width, original.height / resized.height])
    corners: Tensor = found["boxes"] * ratio.repeat(2)
    rows = zip(found["labels"].tolist(), found["scores"].tolist(), corners.tolist(), strict=True)
    return [
        DetectedBox(label=label, score=score, left=left, top=top, right=right, bottom=bottom)
        for label, score, (left, top, right, bottom) in rows
    ]
