"""What every file holds beside the network, and a file read back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mnfpn_cli import __version__
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.header import SETTINGS_KEY


@dataclass(frozen=True)
class Opened:
    """What a file says of itself, and the network in it: images (n, in_channels, h, w) to outputs by name."""

    metadata: Mapping[str, str]
    run: Callable[[Tensor], Mapping[str, Tensor]]


VERSION_KEY = "mnfpn_version"


def metadata(settings: NetworkSettings) -> dict[str, str]:
    """The settings as JSON, and the version of mnfpn, under the keys that they have in files."""
    compact = json.dumps(settings.model_dump(mode="json"), separators=(",", ":"), allow_nan=False)
    return {SETTINGS_KEY: compact, VERSION_KEY: __version__}
