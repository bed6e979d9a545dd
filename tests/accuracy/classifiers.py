"""Settings of classifiers, and Google's figures of theirs."""

from typing import Any

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import Source

MACS = {
    1.4: (582,),
    1.3: (509,),
    1.0: (300, 221, 154, 99, 56),
    0.75: (209, 153, 107, 69, 39),
    0.5: (97, 71, 50, 32, 18),
    0.35: (59, 43, 30, 20, 11),
}
"""The MACs that Google gives for its checkpoints, in millions, by width; at 224, 192, 160, 128 and 96 pixels."""

SIDES = (224, 192, 160, 128, 96)


def classifier(width_mult: float = 1.0, **changes: Any) -> NetworkSettings:
    """The settings of MobileNetV2's classifier with changes."""
    values = {"head": {"kind": "classifier"}, "width_mult": width_mult, **changes}
    return resolve([Source("a test", values)])
