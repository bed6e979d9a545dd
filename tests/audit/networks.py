"""Networks with one mistake each, as people make them, and healthy ones: what an audit has to tell apart.

Those of torchvision and timm are imported when they are made: ``tests.conftest.import_torchvision`` goes first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mnfpn_cli.documents.audit import FindingKind
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.trace.passes import Input

SIZE = Size(224, 224)
IMAGE = (Input((1, 3, *SIZE)),)
CHANNELS = (24, 32, 96, 320)
"""Of torchvision's MobileNetV2, where strides 4, 8, 16 and 32 end."""


@dataclass(frozen=True)
class Case:
    """A network, what is wrong with it, and what it has in truth.

    Attributes:
        name: what is wrong, or of the network where nothing is.
        make: a fresh copy.
        inputs: of its forward.
        parameters: that it computes with, registered or not, each once.
        macs: of all its products: convolutions, dense layers, attention, recurrence.
        kind: of the finding that is due; None for a healthy network.
        paths: that the findings of this kind name, in order.
        also: kinds of what follows from the mistake, or is true besides.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[Input, ...]
    parameters: int
    macs: int
    kind: FindingKind | None = None
    paths: tuple[str, ...] = ()
    also: tuple[FindingKind, ...] = ()


class Backbone(nn.Module):
    """torchvision's MobileNetV2, cut where a map is tapped."""

    def __init__(self, ends: Sequence[int] = (4, 7, 14, 18)) -> None:
        super().__init__()
        features = pytest.importorskip("torchvision.models").mobilenet_v2().features
        self.parts = nn.ModuleList(features[start:end] for start, end in zip((0, *ends), ends, strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map a part, the finest first."""
        taps = []
        for part in self.parts:
            x = part(x)  # (1, channels, 224 / stride, 224 / stride)
            taps.append(x)
        return taps


Layers = Sequence[nn.Module] | nn.ModuleList


def top_down(taps: Sequence[Tensor], lateral: Layers, smooth: Layers) -> list[Tensor]:
    """Every map with what the coarser ones know, the finest first."""
    maps = [layer(tap) for layer, tap in zip(lateral, taps, strict=True)]
    for index in reversed(range(len(maps) - 1)):
        coarse = F.interpolate(maps[index + 1], size=maps[index].shape[2:], mode="bilinear")
        maps[index] = maps[index] + coarse
    return [layer(merged) for layer, merged in zip(smooth, maps, strict=True)]


class PlainLists(nn.Module):
    """The pyramid's layers in plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.lateral = [nn.Conv2d(channels, 256, 1) for channels in CHANNELS]
        self.smooth = [nn.Conv2d(256, 256, 3, padding=1) for _ in CHANNELS]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Strides 4 to 32."""
        return top_down(self.backbone(x), self.lateral, self.smooth)


class OneInFivePlaces(nn.Module):
    """Meant as five smoothing layers, with an average of the whole image on top."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, 256, 1) for channels in (*CHANNELS, CHANNELS[-1]))
        self.smooth = nn.ModuleList([nn.Conv2d(256, 256, 3, padding=1)] * 5)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Strides 4 to 32, and one cell."""
        taps = self.backbone(x)
        taps.append(F.adaptive_avg_pool2d(taps[-1], 1))
        return top_down(taps, self.lateral, self.smooth)


def torchvision_pyramid() -> nn.Module:
    """Torchvision's own, by its defaults: two maps of stride 32, and the first layers frozen (its issue 5838)."""
    utils = pytest.importorskip("torchvision.models.detection.backbone_utils")
    network: nn.Module = utils.mobilenet_backbone(backbone_name="mobilenet_v2", weights=None, fpn=True)
    return network


class ListInADictionary(nn.Module):
    """A head for each task, each a plain list of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        outputs = {"classes": 20, "boxes": 4}
        self.heads = {
            task: [nn.Conv2d(320, 64, 3, padding=1), nn.Conv2d(64, count, 1)] for task, count in outputs.items()
        }

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """What each head says of each cell."""
        top = self.backbone(x)[-1]
        return {task: last(F.relu(first(top))).flatten(2) for task, (first, last) in self.heads.items()}


class TwoHeads(nn.Module):
    """A healthy head for classes and one for boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.classes, self.boxes = nn.Conv2d(320, 24, 1), nn.Conv2d(320, 24, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """What each head says of each cell."""
        top = self.backbone(x)[-1]
        return {"classes": self.classes(top).flatten(2), "boxes": self.boxes(top).flatten(2)}


class SharedParameter(TwoHeads):
    """Both heads start from the same weights, and stay there."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes.weight = self.classes.weight


class CutOff(TwoHeads):
    """One output is detached, as for a log: its loss reaches nothing."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """What each head says of each cell."""
        outputs = super().forward(x)
        return {**outputs, "boxes": outputs["boxes"].detach()}


class OneStrideTwice(nn.Module):
    """Taps where the channels change, not the resolution: both 64 and 96 of them stand at stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone(ends=(7, 11, 14, 18))
        self.lateral = nn.ModuleList(nn.Conv2d(channels, 256, 1) for channels in (32, 64, 96, 320))
        self.smooth = nn.ModuleList(nn.Conv2d(256, 256, 3, padding=1) for _ in self.lateral)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Meant as strides 8 to 64."""
        maps = top_down(self.backbone(x), self.lateral, self.smooth)
        return {f"p{level}": one for level, one in enumerate(maps, start=3)}


class PlainTensor(nn.Module):
    """A scale for each channel, meant to be learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.scale = torch.ones(320, 1, 1)
        self.classes = nn.Linear(320, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Ten classes."""
        scaled = self.backbone(x)[-1] * self.scale
        classes: Tensor = self.classes(scaled.mean((2, 3)))
        return classes


class SmallTransformer(nn.Module):
    """Words in, words out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        self.encode = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.words = nn.Linear(64, 100)

    def forward(self, words: Tensor) -> Tensor:
        """(1, 32) to (1, 32, 100)."""
        found: Tensor = self.words(self.encode(self.embed(words)))
        return found


class Recurrent(nn.Module):
    """A series in, a number out."""

    def __init__(self) -> None:
        super().__init__()
        self.remember = nn.LSTM(32, 64, num_layers=2, batch_first=True)
        self.predict = nn.Linear(64, 1)

    def forward(self, series: Tensor) -> Tensor:
        """(1, 16, 32) to (1, 1)."""
        states, _ = self.remember(series)
        predicted: Tensor = self.predict(states[:, -1])
        return predicted


def torchvisions(name: str) -> nn.Module:
    """One of torchvision's classifiers."""
    network: nn.Module = pytest.importorskip("torchvision.models").get_model(name, weights=None)
    return network


def timms(name: str) -> nn.Module:
    """One of timm's."""
    network: nn.Module = pytest.importorskip("timm").create_model(name, pretrained=False)
    return network


def preset(name: str) -> Case:
    """One of ours; its plan knows what it has, in closed form."""
    settings = resolve([read_preset(name)]).at(SIZE)
    cost = network_cost(plan_network(settings), SIZE).total
    return Case(name, partial(build_network, settings), IMAGE, cost.parameters, cost.macs)


LATERAL = tuple(f"self.lateral[{index}]" for index in range(4))
SMOOTH = tuple(f"self.smooth[{index}]" for index in range(4))
HEADS = tuple(f"self.heads['{task}'][{index}]" for task in ("classes", "boxes") for index in range(2))
PLACES = tuple(f"smooth.{index}" for index in range(5))
WEIGHTS = ("classes.weight", "boxes.weight")
WORDS = (Input((1, 32), torch.int64),)
SERIES = (Input((1, 16, 32)),)
COUNTED: tuple[FindingKind, ...] = ("miscounted",)
FROZEN: tuple[FindingKind, ...] = ("without_gradient",)

DEFECTIVE = (
    Case(
        "layers in plain lists",
        PlainLists,
        IMAGE,
        4_293_888,
        2_770_561_920,
        "unregistered",
        LATERAL + SMOOTH,
        COUNTED,
    ),
    Case("ModuleList([conv] * 5)", OneInFivePlaces, IMAGE, 2_605_824, 2_771_233_664, "shared", PLACES, COUNTED),
    Case(
        "mobilenet_backbone(fpn=True)",
        torchvision_pyramid,
        IMAGE,
        3_739_072,
        375_360_384,
        "same_stride",
        ("0", "1"),
        FROZEN,
    ),
    Case("lists in a dictionary", ListInADictionary, IMAGE, 2_182_040, 297_562_496, "unregistered", HEADS, COUNTED),
    Case("a shared parameter", SharedParameter, IMAGE, 1_819_440, 280_176_512, "shared", WEIGHTS, COUNTED),
    Case("an output cut off", CutOff, IMAGE, 1_827_120, 280_176_512, "without_gradient", ("boxes",)),
    Case("two levels of one stride", OneStrideTwice, IMAGE, 4_304_128, 1_020_423_040, "same_stride", ("p4", "p5")),
    Case("a plain tensor", PlainTensor, IMAGE, 1_815_242, 279_427_072, "unregistered", ("self.scale",), COUNTED),
)
"""In truth, parameters and MACs in closed form from the layers' sizes."""

HEALTHY = (
    *map(preset, preset_names()),
    Case("torchvision mobilenet_v2", partial(torchvisions, "mobilenet_v2"), IMAGE, 3_504_872, 300_774_272),
    Case("timm mobilenetv2_100", partial(timms, "mobilenetv2_100"), IMAGE, 3_504_872, 300_774_272),
    Case("torchvision resnet50", partial(torchvisions, "resnet50"), IMAGE, 25_557_032, 4_089_184_256),
    Case("torchvision swin_t", partial(torchvisions, "swin_t"), IMAGE, 28_288_354, 4_490_566_656),
    Case("timm vit_tiny_patch16_224", partial(timms, "vit_tiny_patch16_224"), IMAGE, 5_717_416, 1_253_683_200),
    Case("nn.TransformerEncoder", SmallTransformer, WORDS, 79_844, 2_564_096),
    Case("nn.LSTM", Recurrent, SERIES, 58_433, 917_568),
)
"""torchvision publishes the parameters of its own three, and 0.301, 4.089 and 4.491 G (``weights.meta``)."""
