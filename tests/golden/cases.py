"""Every reference of `tests/golden`, and the settings that make its network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override

GOLDEN = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A reference file: the preset that it is of, what differs from it, and which outputs it holds, in which order."""

    file: str
    preset: str
    overrides: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    backwards: bool = False

    def settings(self) -> NetworkSettings:
        """The settings that make the network of the reference."""
        return resolve([read_preset(self.preset), *map(parse_override, self.overrides)])

    def reference(self) -> dict[str, Any]:
        """The content of the file."""
        content: dict[str, Any] = json.loads((GOLDEN / f"{self.file}.json").read_text())
        return content


CLASSES = "head.classes=10"
FPN = ("pyramid.channels=64", "pyramid.upsample=nearest")
FEATURES = ("stages.0", "stages.1", "stages.2", "stages.3", "stages.4", "stages.5", "stages.6", "head.last")
CASES = (
    Case("dynamic_fpn_w1", "mobilenetv2-dynamic-fpn", backwards=True),
    Case("fpnssd512_21", "fpnssd512", backwards=True),
    Case("fpnssd_fpn_2222", "fpnssd", ("backbone.blocks=[2,2,2,2]",)),
    Case("resnet_fpn_2222", "resnet-fpn"),
    Case("retina_fpn_2222", "retina-fpn"),
    Case("seed_classifier", "mobilenetv2-plain-classifier", (CLASSES,)),
    Case("timm_w05", "mobilenetv2-classifier", (CLASSES, "width_mult=0.5")),
    Case("tonylins_w075", "mobilenetv2-classifier", (CLASSES, "rounding=ceil8", "width_mult=0.75")),
    Case("torchcv_retinanet_5", "retinanet", ("head.classes=5",), backwards=True),
    Case("torchvision_w1", "mobilenetv2-classifier", (CLASSES,), FEATURES),
    Case("torchvision_w05", "mobilenetv2-classifier", (CLASSES, "width_mult=0.5"), FEATURES),
    Case("torchvision_fpn_w1", "mobilenetv2-fpn", FPN),
    Case("torchvision_fpn_maxpool_w1", "mobilenetv2-fpn", (*FPN, "pyramid.extra=maxpool")),
    Case("torchvision_fpn_p6p7_w1", "mobilenetv2-fpn", (*FPN, "pyramid.extra=conv", "pyramid.extra_relu=true")),
)
