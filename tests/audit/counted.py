"""Networks, and what ptflops, thop and calflops print for them when they are called alone.

Measured under torch 2.13.0 on a CPU, Python 3.11, with ptflops 0.7.5, thop 0.1.1-2209072238 and calflops 0.3.2, on
networks in eval mode as the functions below make them: `get_model_complexity_info(as_strings=False)[0]`, `profile()[0]`
and `calculate_flops(output_as_string=False)[0]`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.trace.observe import TensorShape


class PlainList(nn.Module):
    """A convolution, batch norm and ReLU that no tool that walks the tree meets."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.hidden = [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        x = self.first(x)
        for layer in self.hidden:
            x = layer(x)
        return F.interpolate(self.norm(x) + x, scale_factor=2, mode="bilinear")


class Shared(nn.Module):
    """One convolution under three parents, called three times."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(4, 4, 3, padding=1)
        self.a = nn.Sequential(conv, nn.ReLU())
        self.b = nn.Sequential(conv, nn.BatchNorm2d(4))
        self.c = nn.ModuleList([conv] * 3)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        result: Tensor = self.c[0](self.b(self.a(x))) * 2
        return result


class Cells(nn.Module):
    """One cell of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.LSTMCell(6, 5), nn.GRUCell(5, 4, bias=False), nn.RNNCell(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        result: Tensor = self.c(self.b(self.a(x)[0]))
        return result


class Everything(nn.Module):
    """A layer of nearly every kind that some tool has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(4, 8, 3, 2, 1, groups=2),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Upsample(size=(30, 31)),
            nn.AvgPool2d(2),
            nn.MaxPool2d(3, 2, 1),
            nn.PReLU(),
            nn.ELU(),
            nn.SiLU(),
            nn.GELU(),
            nn.GroupNorm(2, 8),
            nn.InstanceNorm2d(8, affine=True),
            nn.BatchNorm2d(8, affine=False),
            nn.BatchNorm2d(8, track_running_stats=False),
            nn.Conv2d(8, 8, 3, padding="same"),
            nn.LeakyReLU(),
            nn.Hardswish(),
        )
        self.pool = nn.AdaptiveAvgPool2d((3, 2))
        self.norms = nn.Sequential(nn.LayerNorm(2), nn.LayerNorm(2, elementwise_affine=False), nn.Softmax(1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """One pass."""
        y = self.pool(self.layers(x))
        x = torch.mul(torch.add(z := self.norms(y), z), 2)
        x = torch.matmul(x, x.transpose(-1, -2))
        x = F.relu(torch.einsum("bchw,bcwk->bchk", x @ x, x))
        x = torch.bmm(x[0], x[0]).softmax(1)
        return [
            F.adaptive_avg_pool2d(F.softmax(x, 1), 1),
            F.interpolate(y, scale_factor=1.5),
            F.interpolate(y, size=7, mode="bicubic"),
            F.interpolate(y, (5, 5), mode="area"),
            F.grid_sample(y, torch.zeros(len(y), 2, 2, 2, device=y.device), align_corners=False),
            F.scaled_dot_product_attention(y, y, y),
        ]


def preset(name: str, *overrides: str) -> Callable[[], nn.Module]:
    """A preset at 224×256."""
    sources = [read_preset(name), *map(parse_override, overrides)]
    return lambda: build_network(resolve(sources).at(Size(224, 256)))


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    """A model of torchvision, imported when it is made."""

    def make() -> nn.Module:
        network: nn.Module = getattr(pytest.importorskip("torchvision.models"), name)()
        return network.eval()

    return make


def timm_model(name: str) -> Callable[[], nn.Module]:
    """A model of timm, imported when it is made."""

    def make() -> nn.Module:
        network: nn.Module = pytest.importorskip("timm").create_model(name)
        return network.eval()

    return make


def encoder() -> nn.Module:
    """A transformer's encoder, whose activation is a function that it keeps."""
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2).eval()


def transformer() -> nn.Module:
    """An encoder and a decoder, not batch first."""
    with warnings.catch_warnings():
        # torch tells everybody who does not say batch_first that something faster is not for them
        warnings.filterwarnings("ignore", message="enable_nested_tensor is True")
        return nn.Transformer(16, 4, 2, 2, 32).eval()


@dataclass(frozen=True)
class Measured:
    """A network, its inputs, and what the counters of the extra print."""

    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[TensorShape, ...]
    ptflops: int
    thop: int
    calflops: int


IMAGE = ((1, 3, 224, 224),)
PRESET = ((1, 3, 224, 256),)
MEASURED = (
    Measured("fpn-classifier", preset("fpn-classifier"), PRESET, 2_257_415_220, 2_264_502_292, 4_484_254_354),
    Measured(
        "fpnssd", preset("fpnssd", "backbone.blocks=[2,2,2,2]"), PRESET, 3_652_567_808, 3_653_287_936, 7_264_368_480
    ),
    Measured("mobilenetv2-classifier", preset("mobilenetv2-classifier"), PRESET, 365_945_832, 374_160_640, 702_454_272),
    Measured(
        "mobilenetv2-dynamic-fpn",
        preset("mobilenetv2-dynamic-fpn"),
        PRESET,
        3_204_675_072,
        3_209_674_560,
        6_373_657_752,
    ),
    Measured("mobilenetv2-fpn", preset("mobilenetv2-fpn"), PRESET, 3_192_025_088, 3_196_598_272, 6_350_275_680),
    Measured("mobilenetv2-fpnlite", preset("mobilenetv2-fpnlite"), PRESET, 577_268_472, 585_337_344, 1_121_165_656),
    Measured(
        "mobilenetv2-plain-classifier",
        preset("mobilenetv2-plain-classifier"),
        PRESET,
        350_260_456,
        350_294_784,
        663_871_720,
    ),
    Measured("resnet-fpn", preset("resnet-fpn"), PRESET, 5_925_083_136, 5_923_061_760, 11_805_743_712),
    Measured("retina-fpn", preset("retina-fpn"), PRESET, 3_651_386_368, 3_652_108_288, 7_262_007_392),
    Measured("mobilenet_v2", torchvision_model("mobilenet_v2"), IMAGE, 320_300_008, 327_486_720, 614_967_488),
    Measured("resnet50", torchvision_model("resnet50"), IMAGE, 4_132_436_968, 4_133_742_592, 8_211_108_352),
    Measured("vit_b_16", torchvision_model("vit_b_16"), IMAGE, 17_606_030_584, 11_286_254_592, 33_723_326_208),
    Measured("swin_t", torchvision_model("swin_t"), IMAGE, 3_128_183_416, 2_978_099_712, 9_008_009_616),
    Measured("timm_vit_tiny", timm_model("vit_tiny_patch16_224"), IMAGE, 912_887_404, 1_074_851_328, 2_156_283_840),
    Measured("lstm", lambda: nn.LSTM(8, 16, 2, batch_first=True).eval(), ((2, 5, 8),), 20_800, 40_960, 74_880),
    Measured(
        "gru",
        lambda: nn.Sequential(nn.GRU(8, 16, 2, bidirectional=True, bias=False)).eval(),
        ((2, 5, 8),),
        36_800,
        73_600,
        138_880,
    ),
    Measured("cells", lambda: Cells().eval(), ((2, 6),), 476, 932, 1_510),
    Measured("encoder", encoder, ((2, 5, 16),), 23_880, 23_040, 85_120),
    Measured(
        "transformer",
        transformer,
        ((5, 2, 16), (7, 2, 16)),
        149_072,
        58_624,
        257_600,
    ),
    Measured("plain_list", lambda: PlainList().eval(), ((2, 3, 20, 20),), 103_680, 160_704, 1_078_272),
    Measured("shared", lambda: Shared().eval(), ((1, 4, 9, 9),), 109_188, 316_224, 213_840),
    Measured("everything", lambda: Everything().eval(), ((2, 4, 15, 15),), 204_040, 939_716, 272_291),
)
