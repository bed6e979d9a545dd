"""Each detector preset at its usual size, part by part, beside a detector of torchvision, in turn.

torchvision's are built of its own parts to the same shape, as far as it has them: a ResNet-50 with the same levels and
a RetinaNet head of as many classes; for FPNLite, which it lacks, its SSDLite320 on MobileNetV3. Where torchvision's own
library of suppression does not load beside this torch, both suppress in plain torch.

    python benchmarks/detectors.py
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mnfpn_cli.bench.postprocess import random_outputs
from mnfpn_cli.detection.postprocess import Postprocess
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.measure.engine import BenchRule, TimedRun, settling_of, take_samples, warm_up
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.network.network import Network, build_planned
from mnfpn_cli.plan.cost import Cost, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import Size, parse_size
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.settings.network import NetworkSettings
from tests.conftest import import_torchvision

PARTS = ("backbone", "pyramid", "head", "postprocess", "all")


class Case(NamedTuple):
    """A preset, its usual size, and torchvision's detector: its name, and what builds it."""

    preset: str
    size: str
    theirs: str
    build: Callable[[], nn.Module]


def retinanet(levels: int, classes: int) -> nn.Module:
    """Torchvision's RetinaNet on its ResNet-50, with p3 and as many levels in all, each new one by a convolution."""
    from torchvision.models import resnet50
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

    class Beyond(ExtraFPNBlock):  # type: ignore[misc]
        """LastLevelP6P7, for any number of levels."""

        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(256 if k else 2048, 256, 3, 2, 1) for k in range(levels - 3))

        def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> Any:
            y = x[-1]
            for index, conv in enumerate(self.convs):
                y = conv(y.relu() if index else y)
                results.append(y)
                names.append(f"beyond{index}")
            return results, names

    taps = {f"layer{k}": str(k) for k in (2, 3, 4)}
    backbone = BackboneWithFPN(resnet50(), taps, [512, 1024, 2048], 256, Beyond())
    sides = [4 * 2**k for k in range(3, 3 + levels)]
    sizes = tuple((side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))) for side in sides)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * levels)
    made: nn.Module = RetinaNet(backbone, classes, anchor_generator=anchors)
    return made


def ssdlite() -> nn.Module:
    """Torchvision's SSDLite320 on MobileNetV3."""
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    made: nn.Module = ssdlite320_mobilenet_v3_large(num_classes=91, weights_backbone=None)
    return made


CASES = (
    Case("mobilenetv2-fpnlite", "320x320", "ssdlite320_mobilenet_v3_large", ssdlite),
    Case("mobilenetv2-fpnlite", "640x640", "none of this size", nn.Identity),
    Case("retinanet", "512x512", "RetinaNet, ResNet-50, p3 to p7", partial(retinanet, 5, 80)),
    Case("fpnssd512", "512x512", "RetinaNet, ResNet-50, p3 to p9", partial(retinanet, 7, 21)),
)


def our_parts(settings: NetworkSettings, network: Network, x: Tensor) -> dict[str, Callable[[], object]]:
    """Each part on what the part before it returns; boxes are made of random logits."""
    size = Size(*x.shape[-2:])
    postprocess = Postprocess(settings, size)
    outputs = random_outputs(network.plan, network_input(settings, size))

    def backbone(x: Tensor) -> list[Tensor]:
        x, taps = network.stem(x), list[Tensor]()
        x = network.stem_pool(x) if network.stem_pool else x
        for index, stage in enumerate(network.stages):
            x = stage(x)
            taps += [x] if index in network.tapped else []
        return taps

    assert network.pyramid
    assert network.head
    taps = backbone(x)
    levels = network.pyramid(taps)
    return {
        "backbone": partial(backbone, x),
        "pyramid": partial(network.pyramid, taps),
        "head": partial(network.head, levels),
        "postprocess": partial(postprocess, outputs),
        "all": lambda: (network(x), postprocess(outputs)),
    }


def their_parts(model: Any, x: Tensor) -> dict[str, Callable[[], object]]:
    """As ours; SSDLite has no pyramid. Their outputs are replaced by random logits for making boxes."""
    from torchvision.models.detection.image_list import ImageList

    sizes = [tuple(x.shape[-2:])]
    body = getattr(model.backbone, "body", model.backbone)
    maps = body(x)
    levels = list(model.backbone(x).values())
    generator = torch.Generator().manual_seed(0)
    outputs = {key: torch.randn(y.shape, generator=generator) for key, y in model.head(levels).items()}
    anchors = model.anchor_generator(ImageList(x, sizes), levels)
    if hasattr(model.backbone, "body"):
        counts = [y.shape[-2] * y.shape[-1] * 9 for y in levels]
        split = {key: list(torch.split(y, counts, dim=1)) for key, y in outputs.items()}
        boxes = partial(model.postprocess_detections, split, [list(anchors[0].split(counts))], sizes)
    else:
        boxes = partial(model.postprocess_detections, outputs, anchors, sizes)
    parts: dict[str, Callable[[], object]] = {
        "backbone": partial(body, x),
        "head": partial(model.head, levels),
        "postprocess": boxes,
        "all": lambda: (model.head(list(model.backbone(x).values())), boxes()),
    }
    return parts | ({"pyramid": partial(model.backbone.fpn, maps)} if hasattr(model.backbone, "body") else {})


def counted(model: Any, x: Tensor) -> dict[str, tuple[int, int]]:
    """Parameters and MACs of the parts of torchvision's, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    def macs(run: Callable[[], object]) -> int:
        with FlopCounterMode(display=False) as counter:
            run()
        return int(counter.get_total_flops()) // 2

    parts = their_parts(model, x)
    modules = {"backbone": getattr(model.backbone, "body", model.backbone), "head": model.head}
    modules |= {"pyramid": model.backbone.fpn} if "pyramid" in parts else {}
    return {name: (sum(p.numel() for p in part.parameters()), macs(parts[name])) for name, part in modules.items()}


def row(name: str, figures: Mapping[str, tuple[int, int]], times: Mapping[str, Latency]) -> None:
    """Print a detector: a line for each part, and one for all."""
    total = tuple(sum(figure[k] for figure in figures.values()) for k in (0, 1))
    print(name)
    for part in PARTS:
        if part not in times:
            continue
        parameters, macs = total if part == "all" else figures.get(part, (0, 0))
        counts = f"{parameters:>12,} {macs / 1e9:>9.3f} G" if macs else f"{'':>24}"
        print(f"  {part:12} {counts} {times[part].median * 1e3:>10.1f} ms")


@torch.inference_mode()
def main() -> None:
    """Time the parts of both detectors of a case in turn, there and back again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=20)
    options = parser.parse_args()
    import_torchvision()
    timer = device_of(choose_devices(["cpu"])[0]).timer()
    for case in CASES:
        settings, size = resolve([read_preset(case.preset)]), parse_size(case.size)
        plan, x = plan_network(settings), torch.rand(1, 3, *size)
        runs = {("ours", name): run for name, run in our_parts(settings, build_planned(plan, 0), x).items()}
        theirs = case.build().eval()
        has_theirs = not isinstance(theirs, nn.Identity)
        if has_theirs:
            runs |= {("theirs", name): run for name, run in their_parts(theirs, x).items()}
        timed = {key: TimedRun(run, timer) for key, run in runs.items()}
        for run in timed.values():
            warm_up(run.run_pass, run.timer)
        rule = BenchRule(Sampling(passes=options.passes, min_time_s=0.0))
        take_samples(list(timed.values()), rule, settling=settling_of("cpu", ["eager"] * len(timed)))
        times = {key: Latency(tuple(run.samples)) for key, run in timed.items()}
        cost = network_cost(plan, size)
        ours: dict[str, Cost] = cost.parts
        figures = {name: (part.parameters, part.macs) for name, part in ours.items()}
        row(
            f"{case.preset}, {case.size}",
            figures,
            {name: time for (side, name), time in times.items() if side == "ours"},
        )
        if has_theirs:
            named = {name: time for (side, name), time in times.items() if side == "theirs"}
            row(f"torchvision: {case.theirs}", counted(theirs, x), named)


if __name__ == "__main__":
    main()
