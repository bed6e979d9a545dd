"""The feature maps that come out of a network, worked out for an input."""

from dataclasses import dataclass

from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.steps import stage_sizes
from mnfpn_cli.settings.input import NetworkInput, Size


@dataclass(frozen=True, slots=True)
class MapShape:
    """One feature map of one image: channels × height × width."""

    channels: int
    size: Size

    @property
    def elements(self) -> int:
        """Elements of the map."""
        return self.channels * self.size.height * self.size.width


@dataclass(frozen=True, slots=True)
class LevelShape:
    """A level of the pyramid: where it is tapped, what it is resized from, and the map that comes out."""

    name: str
    stride: int
    stage: int
    tap: MapShape
    resized_from: Size | None
    output: MapShape
    exact_height: float
    exact_width: float

    @property
    def is_exact(self) -> bool:
        """Whether the map is exactly the input over the stride, on both sides."""
        return (self.exact_height, self.exact_width) == self.output.size


@dataclass(frozen=True, slots=True)
class NetworkShapes:
    """The maps of a network for one input, finest level first."""

    input: NetworkInput
    levels: tuple[LevelShape, ...]


def network_shapes(plan: NetworkPlan, input: NetworkInput) -> NetworkShapes:
    """Work out every level of a network for an input. Map shapes are those of one image of the batch."""
    sizes = stage_sizes(plan.backbone, input.size)
    levels: list[LevelShape] = []
    above: Size | None = None
    for level in reversed(plan.pyramid.levels):
        size = sizes[level.stage]
        shape = LevelShape(
            name=level.name,
            stride=level.stride,
            stage=level.stage,
            tap=MapShape(level.lateral.in_channels, size),
            resized_from=above,
            output=MapShape(level.lateral.out_channels, size),
            exact_height=input.size.height / level.stride,
            exact_width=input.size.width / level.stride,
        )
        levels.insert(0, shape)
        above = size
    return NetworkShapes(input, tuple(levels))
