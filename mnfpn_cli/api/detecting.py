"""Detectors: boxes in images, and torchvision's classes on our networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import (
    checkpoint_of,
    file_name,
    optional,
    quantity,
    size_text,
    type_of,
    whole_number,
)
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.rules import choose_size, network_input
from mnfpn_cli.settings.measuring import MAX_SEED, parse_share
from mnfpn_cli.settings.network import NetworkSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from mnfpn_cli.api.arguments import FileName, Share, Sides
    from mnfpn_cli.documents.detect import DetectDocument
    from mnfpn_cli.settings.input import Size
    from mnfpn_cli.text import ReportProgress
    from mnfpn_cli.weights.file import WeightsFile


def detector(
    settings: NetworkSettings,
    weights: FileName | None = None,
    seed: int = 0,
    size: Sides | None = None,
    *,
    weights_key: str | None = None,
    weights_partial: str | None = None,
) -> nn.Module:
    """Return a detector of torchvision (`RetinaNet`, `FCOS` or `SSD`) on backbone, pyramid and head of our network.

    In eval mode it takes a list of images (3, h, w) with values from 0 to 1, and returns for each ``boxes`` in its
    pixels, ``scores`` and ``labels``. In training mode it takes targets too, and returns losses. A state dict of it is
    a checkpoint of the network for all commands.

    Args:
        settings: what `settings` returns, with a head that detects.
        weights: a checkpoint to load.
        seed: of the random weights.
        size: what images are resized to, height first; 600x900 where it is not given. SSD stretches images; the others
            keep their shape.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.

    Raises:
        UsageError: where an argument is wrong, or torchvision has no detector with such a head, as with rpn.
        MnfpnError: where torchvision is not installed, or the checkpoint cannot be read.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import torch
        >>> small = {"width_mult": 0.35, "pyramid.channels": 8, "head.kind": "retinanet", "head.classes": 3}
        >>> model = mnfpn.detector(mnfpn.settings(overrides=small), size=64)
        >>> sorted(model([torch.rand(3, 48, 64)])[0])
        ['boxes', 'labels', 'scores']
    """
    settings, image = _at(settings, size)
    number = whole_number("seed", seed, 0, MAX_SEED)
    checkpoint = checkpoint_of(weights, weights_key, weights_partial)
    network_input(settings, image)

    from mnfpn_cli.detection.detector import torchvision_detector, trainable_head
    from mnfpn_cli.external.torchvision import import_torchvision
    from mnfpn_cli.plan.network import plan_network
    from mnfpn_cli.weights.load import build_with_weights

    trainable_head(settings)
    import_torchvision("detector()")
    network, _ = build_with_weights(plan_network(settings), settings, number, checkpoint)
    return torchvision_detector(network, settings, image)


def detect(
    settings: NetworkSettings,
    images: FileName | Sequence[FileName],
    weights: FileName,
    *,
    size: Sides | None = None,
    score_threshold: Share | None = None,
    output: FileName | None = None,
    weights_key: str | None = None,
    weights_partial: str | None = None,
    progress: Progress = None,
) -> DetectDocument:
    """Find objects in image files with a trained detector, and draw their boxes if there is a folder for them.

    Args:
        settings: what `settings` returns, with a head that detects.
        images: an image, or a list of them.
        weights: the checkpoint to load.
        size: what images are resized to, height first; 600x900 where it is not given. ssd and ssdlite stretch images;
            the others keep their shape.
        score_threshold: the least score of a box, as ``"50%"`` or ``0.5``; that of the settings where it is not given.
        output: a folder for the images with their boxes, as PNG.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Raises:
        UsageError: where an argument is wrong, the settings detect nothing, or a file is no image or no checkpoint.
        MnfpnError: where Pillow is not installed, or a file cannot be read or written.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import tempfile, torch
        >>> from PIL import Image
        >>> small = {"width_mult": 0.35, "pyramid.channels": 8, "head.kind": "retinanet", "head.classes": 3}
        >>> network = mnfpn.settings(overrides=small)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(mnfpn.build_network(network).state_dict(), f"{folder}/net.pth")
        ...     Image.new("RGB", (64, 48)).save(f"{folder}/black.png")
        ...     found = mnfpn.detect(network, f"{folder}/black.png", f"{folder}/net.pth", size=64)
        >>> found.images[0].height, found.images[0].boxes
        (48, ())
    """
    settings, image = _at(settings, size)
    named = [images] if isinstance(images, str) or hasattr(images, "__fspath__") else list(images)
    files = [Path(file_name("images", one)) for one in named]
    threshold = optional(quantity, "score_threshold", score_threshold, partial(parse_share, zero=True))
    folder = None if output is None else Path(file_name("output", output))
    checkpoint = checkpoint_of(weights, weights_key, weights_partial)
    with reporting(progress) as report:
        return detected(settings, image, files, checkpoint, threshold, folder, report)


def detected(
    settings: NetworkSettings,
    size: Size,
    files: Sequence[Path],
    weights: WeightsFile | None,
    score_threshold: float | None,
    folder: Path | None,
    progress: ReportProgress,
) -> DetectDocument:
    """Find objects in image files. Everything is checked before the network is built.

    Args:
        settings: of the network.
        size: what images are resized to.
        files: the images.
        weights: the checkpoint to load.
        score_threshold: the least score of a box; None for that of the settings.
        folder: where pictures are written; None for none.
        progress: is called with what is being done and the share of it that is done.

    Raises:
        UsageError: where the settings detect nothing, there are no images or weights, or a file is none of these.
        MnfpnError: where Pillow is not installed, or a file cannot be read or written.
    """
    if weights is None:
        raise UsageError(Problem("`weights`", "must be given: only a trained network finds objects"))
    if not files:
        raise UsageError(Problem("images", "must be one image or more", "none"))
    if score_threshold is not None and settings.postprocess:
        limits = settings.postprocess.model_copy(update={"score_threshold": score_threshold})
        settings = settings.model_copy(update={"postprocess": limits})
    network_input(settings, size)

    from mnfpn_cli.detection.detect import check_detection, detect_images
    from mnfpn_cli.plan.network import plan_network
    from mnfpn_cli.weights.load import build_with_weights

    check_detection(settings, size, files, folder)
    network, loaded = build_with_weights(plan_network(settings), settings, 0, weights)
    assert loaded
    return detect_images(network, settings, size, files, folder, loaded, progress)


def _at(settings: NetworkSettings, size: Sides | None) -> tuple[NetworkSettings, Size]:
    """Return the settings, and the size of images, or the default one.

    Raises:
        UsageError: where one is wrong.
    """
    if not isinstance(settings, NetworkSettings):
        raise UsageError(Problem("settings", "must be what settings() returns", type_of(settings)))
    return choose_size(settings, None if size is None else size_text(size))
