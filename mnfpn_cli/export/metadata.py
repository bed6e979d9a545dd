"""What travels along in every file: the settings, from which the network can be built again, and who wrote it."""

import json

from mnfpn_cli import __version__
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.weights.header import SETTINGS_KEY

VERSION_KEY = "mnfpn_version"


def metadata(settings: NetworkSettings) -> dict[str, str]:
    """The settings as JSON, and the version of mnfpn, under the keys that they have in files."""
    compact = json.dumps(settings.model_dump(mode="json"), separators=(",", ":"), allow_nan=False)
    return {SETTINGS_KEY: compact, VERSION_KEY: __version__}
