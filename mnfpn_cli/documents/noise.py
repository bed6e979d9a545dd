"""Records of which layer loses the precision of int8: the noise of each, and which to leave in float32."""

from pydantic import Field

from mnfpn_cli.documents.base import Count, Decibels, ElementValue, Macs, Message, Positive, Record, Share


class LayerNoise(Record):
    """The noise that a layer adds: by its weights, and by the map that it makes, or whose range it sets."""

    path: str = Field(description="Path of the layer, or of the module that has this one alone.")
    number: Positive = Field(description="Its place in the order in which layers run, from 1.")
    left_float: bool = Field(
        description="Whether it stays in float32, as asked; others that read its map in int8 still round that."
    )
    macs: Macs = Field(description="MACs of the layer in a pass.")
    macs_share: Share = Field(description="Share of the layer in the MACs of all layers.")
    low: ElementValue = Field(description="Least value of its map in calibration, behind its activation; at most 0.")
    high: ElementValue = Field(description="Largest value of its map in calibration; at least 0.")
    alone_db: Decibels | None = Field(
        description="Signal to noise of the outputs with this layer alone in int8; null where they do not change."
    )
    cumulative_db: Decibels | None = Field(
        description="Signal to noise with this layer and all before it in int8; null where the outputs do not change."
    )
    noise_share: Share = Field(description="Its noise alone over the sum of all layers' noise alone.")
    weights_share: Share | None = Field(
        description="Share of its noise that its weights add, its map the rest; null for layers with little noise."
    )
    kept_gain_db: Decibels | None = Field(
        description="What leaving it in float32 gains over everything in int8; null for layers with little noise."
    )


class FloatAdvice(Record):
    """A step of the advice: layers to leave in float32 together, besides those of the steps before."""

    paths: tuple[str, ...] = Field(description="Paths of the layers.")
    gain_db: Decibels = Field(description="Signal to noise gained by this step, measured in the simulation.")
    macs_share: Share = Field(description="Share of these layers in the MACs of all layers.")
    sentence: Message = Field(description="The advice in words.")


class NoiseRecord(Record):
    """Which layers lose the precision of int8, by a simulation that no runtime takes part in.

    Signal to noise is of all outputs: the power of the difference over that of float32's output, averaged over the
    outputs, each over all passes.
    """

    passes: Count = Field(description="Passes that the outputs were compared in.")
    calibrated_on: Count = Field(description="Passes of the calibration.")
    overall_db: Decibels | None = Field(
        description="Signal to noise with everything in int8; null where the outputs do not change."
    )
    advised_db: Decibels | None = Field(description="Signal to noise when all advice is followed; null without any.")
    option: Message | None = Field(description="The option that follows all advice; null without any.")
    advice: tuple[FloatAdvice, ...] = Field(description="The layers to leave in float32, the largest gain first.")
    obstacle: Message | None = Field(
        description="Why the layer with the most noise is not in the advice; null where it is, or has little noise."
    )
    layers: tuple[LayerNoise, ...] = Field(description="Each layer, the one with the most noise first.")
