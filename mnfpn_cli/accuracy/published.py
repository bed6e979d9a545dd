"""The tables of published scores, and whether a network is one of those that were published."""

from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from mnfpn_cli.documents.records import ScoreRecord
from mnfpn_cli.plan.backbone import Widths, plan_widths
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.network import ClassifierHead, NetworkSettings

IMAGENET = "imagenet-top1"
"""The metric of the classifiers: the share of ImageNet's validation images whose class comes first, in per cent."""

CLASSES = (1000, 1001)
"""The classes of ImageNet, without and with TensorFlow's class for the background."""

EPSILONS = (1e-5, 1e-3)
"""What batch norm adds to the variance: torch's, and TensorFlow's."""


class Point(BaseModel):
    """A published score: of a network of a width, on square images of a side in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width_mult: float
    side: int
    score: float


class ScoreTable(BaseModel):
    """Published scores of one network at several widths and sizes.

    Attributes:
        metric: the name of what was scored.
        source: who published it, and where.
        preset: the network at width 1.0.
        points: the scores, in per cent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Literal["imagenet-top1", "coco-map"]
    source: str
    preset: str
    points: tuple[Point, ...]

    def record(self, point: Point) -> ScoreRecord:
        """Return the record of one of the scores."""
        return ScoreRecord(
            metric=self.metric, value=point.score, error=None, kind="published", source=self.source, date=None
        )

    @property
    def widths(self) -> tuple[float, ...]:
        """The widths that have scores, in the order of the points."""
        return tuple(dict.fromkeys(point.width_mult for point in self.points))

    def network(self, width_mult: float) -> NetworkSettings:
        """Return the settings of the network at a width."""
        return resolve([read_preset(self.preset)]).model_copy(update={"width_mult": width_mult})


class _Content(BaseModel):
    """The file of all tables."""

    model_config = ConfigDict(extra="ignore")

    tables: tuple[ScoreTable, ...]


@cache
def tables() -> tuple[ScoreTable, ...]:
    """Return all published scores."""
    content = files("mnfpn_cli") / "accuracy" / "published.json"
    return _Content.model_validate_json(content.read_bytes()).tables


def imagenet() -> ScoreTable:
    """Return the scores of Google's MobileNetV2 classifiers."""
    (found,) = (table for table in tables() if table.metric == IMAGENET)
    return found


class Identity(NamedTuple):
    """What two networks have in common where a score of one is a score of the other.

    Attributes:
        widths: the channels of all layers, scaled and rounded. They come first, as they are compared fastest.
        settings: without those that do not matter.
    """

    widths: Widths
    settings: NetworkSettings


def identity(settings: NetworkSettings) -> Identity:
    """Return what a published score of a network depends on, besides the size.

    The width multiplier and the rounding matter as far as they change a layer. Of a classifier, these do not matter:
    dropout, which only trains; how the dense layer is written; the background's class; and where a layer of stride 2
    pads, with the epsilon of the norms, which is what distinguishes torch's networks from TensorFlow's. torchvision
    trained its own, and published 71.9 % where Google's has 71.8 (torchvision, `MobileNet_V2_Weights.IMAGENET1K_V1`).
    The score of a detector is also one of its anchors and of how boxes are made: there everything matters.

    Raises:
        SettingsError: where a layer would have no channels, or too many.
    """
    same: dict[str, object] = {"width_mult": 1.0, "rounding": "nearest8"}
    if isinstance(settings.head, ClassifierHead):
        head: dict[str, object] = {"dropout": 0.0, "dense": "linear"}
        if settings.head.classes in CLASSES:
            head["classes"] = CLASSES[0]
        if settings.norm_eps in EPSILONS:
            same["norm_eps"] = EPSILONS[0]
        same |= {"padding": "torch", "head": settings.head.model_copy(update=head)}
    return Identity(plan_widths(settings), settings.model_copy(update=same))


@lru_cache(maxsize=4096)
def published_identity(table: ScoreTable, width_mult: float) -> Identity:
    """Return what the scores of a table at a width depend on."""
    return identity(table.network(width_mult))


class Published(NamedTuple):
    """A published score of a network; ``side``: of the square images that it was measured on, in pixels."""

    side: int
    score: ScoreRecord


@cache
def _all_published() -> tuple[tuple[Identity, Published], ...]:
    return tuple(
        (published_identity(table, point.width_mult), Published(point.side, table.record(point)))
        for table in tables()
        for point in table.points
    )


def published_scores(settings: NetworkSettings) -> tuple[Published, ...]:
    """Return the published scores of a network, in the order of the tables; none for a network that is none of theirs.

    Raises:
        SettingsError: where a layer would have no channels, or too many.
    """
    wanted = identity(settings)
    return tuple(published for known, published in _all_published() if known == wanted)
