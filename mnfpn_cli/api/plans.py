"""The plan of a network from settings: its layers, and for a size its maps, cost and memory, all without torch."""

from dataclasses import dataclass

from mnfpn_cli.api.arguments import Sides, Sizes, choice, size_text, size_texts, type_of, whole_number
from mnfpn_cli.documents.shapes import ShapesDocument
from mnfpn_cli.documents.summary import InferenceMemory
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.backbone import BackbonePlan
from mnfpn_cli.plan.cost import Cost, activation_bytes, network_cost
from mnfpn_cli.plan.heads import HeadPlan
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.plan.pyramid import PyramidPlan
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes, shapes_document
from mnfpn_cli.settings.input import ITEM_BYTES, MAX_BATCH, DType, NetworkInput, parse_size
from mnfpn_cli.settings.network import NetworkSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """Every layer of a network, and for each size what follows from it.

    Attributes:
        settings: the settings that were planned; at a size, where a head is made for one.
        layers: every layer.
    """

    settings: NetworkSettings
    layers: NetworkPlan

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs: the levels, finest first, or ``logits``."""
        return self.layers.outputs

    @property
    def backbone(self) -> BackbonePlan:
        """The layers of the backbone."""
        return self.layers.backbone

    @property
    def pyramid(self) -> PyramidPlan | None:
        """The layers of the pyramid; None where there is none."""
        return self.layers.pyramid

    @property
    def head(self) -> HeadPlan | None:
        """The layers of the head; None where there is none."""
        return self.layers.head

    def shapes(self, size: Sizes, batch: int = 1, dtype: DType = "float32") -> ShapesDocument:
        """Return the output maps for a size, or for a list of sizes: level, stride, shape, bytes.

        Args:
            size: of the images.
            batch: images in a batch.
            dtype: the element type that the bytes are counted in.

        Raises:
            UsageError: where the network cannot take a size.

        Examples:
            >>> import mnfpn_cli.api as mnfpn
            >>> maps = mnfpn.plan(mnfpn.settings()).shapes("600x900").results[0]
            >>> [(level.name, level.height, level.width) for level in maps.levels]
            [('p2', 150, 225), ('p3', 75, 113), ('p4', 38, 57), ('p5', 19, 29)]
        """
        inputs = [self._input(text or "", batch) for text in size_texts(size)]
        dtype = choice("dtype", dtype, tuple(ITEM_BYTES))
        return shapes_document(self.settings, [network_shapes(self.layers, one) for one in inputs], dtype, False)

    def cost(self, size: Sides) -> Cost:
        """Return parameters, and the MACs of one image of a size.

        Raises:
            UsageError: where the network cannot take the size.

        Examples:
            >>> import mnfpn_cli.api as mnfpn
            >>> cost = mnfpn.plan(mnfpn.settings()).cost("600x900")
            >>> cost.macs, cost.parameters
            (29949721552, 4293888)
        """
        return network_cost(self.layers, self._input(size_text(size)).size).total

    def memory(self, size: Sides, batch: int = 1, dtype: DType = "float32") -> InferenceMemory:
        """Return the bytes of an inference pass: of the weights, of the batch's activations at their peak, and of both.

        Raises:
            UsageError: where the network cannot take the size.

        Examples:
            >>> import mnfpn_cli.api as mnfpn
            >>> memory = mnfpn.plan(mnfpn.settings()).memory("600x900")
            >>> memory.model_bytes, memory.activation_bytes, memory.peak
            (17302168, 127482432, 144784600)
        """
        input = self._input(size_text(size), batch)
        dtype = choice("dtype", dtype, tuple(ITEM_BYTES))
        weights = network_cost(self.layers, input.size).state_bytes(dtype)
        activations = activation_bytes(self.layers, input, dtype)
        return InferenceMemory(model_bytes=weights, activation_bytes=activations)

    def _input(self, size: str, batch: int = 1) -> NetworkInput:
        return network_input(self.settings, parse_size(size), whole_number("batch", batch, 1, MAX_BATCH))


def plan(settings: NetworkSettings, size: Sides | None = None) -> Plan:
    """Plan every layer of a network, without importing torch.

    Args:
        settings: what `settings` returns.
        size: the size of images; needed only for a head on flattened maps, whose layers depend on it.

    Raises:
        UsageError: where the network cannot take the size, or the head needs one and none is given.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> mnfpn.plan(mnfpn.settings("mobilenetv2-fpnlite")).outputs
        ('cls_logits', 'bbox_regression')
    """
    settings = settings_at(settings, size)
    return Plan(settings, plan_network(settings))


def settings_at(settings: NetworkSettings, size: Sides | None) -> NetworkSettings:
    """Return the settings for a size.

    Raises:
        UsageError: where they are no settings, or the network cannot take the size.
    """
    if not isinstance(settings, NetworkSettings):
        raise UsageError(Problem("settings", "must be what settings() returns", type_of(settings)))
    if size is None:
        return settings
    parsed = parse_size(size_text(size))
    settings = settings.at(parsed)
    network_input(settings, parsed)  # checks that the network can take the size
    return settings
