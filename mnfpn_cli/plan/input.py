"""The input of a network, held against what the network can take."""

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.settings.input import DEFAULT_SIZE, NetworkInput, Size, parse_size
from mnfpn_cli.settings.network import NetworkSettings


def sized(settings: NetworkSettings, text: str | None) -> tuple[NetworkSettings, Size]:
    """The size that was asked for, or the one that the network is made for, or the default; and settings for it.

    Raises:
        UsageError: where the text is no size.
    """
    size = parse_size(text) if text is not None else settings.made_for or parse_size(DEFAULT_SIZE)
    return settings.at(size), size


def network_input(settings: NetworkSettings, size: Size, batch: int = 1) -> NetworkInput:
    """The input of a network at a size.

    Raises:
        UsageError: where the size leaves the backbone's last map less than one cell, a side being shorter than its
            stride; or where the head is made for another size.
    """
    if settings.made_for not in (None, size):
        raise UsageError(
            f"--size: must be {settings.made_for}, which the head's dense layers are made for (head.size), got {size}"
        )
    levels = plan_levels(settings)
    if min(size) < levels.stride:
        what = "the backbone's last map" if levels.top or not levels.tapped else levels.tapped[-1]
        raise UsageError(
            f"--size: each side must be at least {levels.stride} pixels, the stride of {what}, "
            f"or not one whole cell is left of its map, got {size}"
        )
    return NetworkInput(batch, settings.in_channels, size)
