"""Detectors: torchvision's classes on our networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import MAX_SEED, checkpoint_of, size_text, type_of, whole_number
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.rules import choose_size, network_input
from mnfpn_cli.settings.network import NetworkSettings

if TYPE_CHECKING:
    from torch import nn

    from mnfpn_cli.api.arguments import FileName, Sides


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
    if not isinstance(settings, NetworkSettings):
        raise UsageError(Problem("settings", "must be what settings() returns", type_of(settings)))
    number = whole_number("seed", seed, 0, MAX_SEED)
    checkpoint = checkpoint_of(weights, weights_key, weights_partial)
    settings, image = choose_size(settings, None if size is None else size_text(size))
    network_input(settings, image)

    from mnfpn_cli.detection.detector import torchvision_detector, trainable_head
    from mnfpn_cli.external.torchvision import import_torchvision
    from mnfpn_cli.plan.network import plan_network
    from mnfpn_cli.weights.load import build_with_weights

    trainable_head(settings)
    import_torchvision("detector()")
    network, _ = build_with_weights(plan_network(settings), settings, number, checkpoint)
    return torchvision_detector(network, settings, image)
