"""Figures of quality: the outputs of a run beside those of eager float32, summed up image by image.

No outputs are held: only sums of squares and products, in float64, and counts.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mnfpn_cli.detection.boxes import overlaps
from mnfpn_cli.detection.postprocess import Detections, Postprocess
from mnfpn_cli.documents.quality import OutputQuality, QualityRecord
from mnfpn_cli.external.origin import FromSettings, Inputs, Origin
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import ClassifierHead, LevelClassifiersHead

LEAST_OVERLAP = 0.5
"""The least intersection over union of two boxes that match, as in Pascal VOC."""


BLOCK_ELEMENTS = 2**18
"""Elements that are summed up at a time: copies in float64 of a whole map take five times as long."""


@dataclass(frozen=True, slots=True)
class OutputSums:
    """Sums over all elements of an output, in all images.

    Attributes:
        signal: of the squares in eager float32.
        other: of the squares in the run.
        product: of the products of both.
        noise: of the squares of the differences.
    """

    signal: float = 0.0
    other: float = 0.0
    product: float = 0.0
    noise: float = 0.0

    def __add__(self, more: "OutputSums") -> "OutputSums":
        return OutputSums(
            self.signal + more.signal,
            self.other + more.other,
            self.product + more.product,
            self.noise + more.noise,
        )

    @property
    def is_finite(self) -> bool:
        """Whether all elements of both are."""
        return math.isfinite(self.signal) and math.isfinite(self.other)

    @property
    def snr_db(self) -> float | None:
        """Power of the signal over that of the noise, in dB; None without noise. With noise there must be a signal."""
        return 10 * (math.log10(self.signal) - math.log10(self.noise)) if self.noise else None

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both outputs: 1 where they are equal, 0 where one alone is all zero."""
        if not self.noise:
            return 1.0
        scale = math.sqrt(self.signal) * math.sqrt(self.other)
        return max(-1.0, min(1.0, self.product / scale)) if scale else 0.0


def output_sums(expected: Tensor, actual: Tensor) -> OutputSums:
    """Return the sums of an output of one pass, in float64."""
    sums = OutputSums()
    for x, y in zip(_blocks(expected), _blocks(actual), strict=True):
        noise = x - y
        sums += OutputSums(*(float(torch.dot(a, b)) for a, b in ((x, x), (y, y), (x, y), (noise, noise))))
    return sums


def _blocks(tensor: Tensor) -> Iterator[Tensor]:
    """Yield all elements on the CPU in float64, some (n,) at a time; complex numbers as their two parts."""
    tensor = tensor.detach().cpu()
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return (block.double() for block in torch.split(parts.flatten(), BLOCK_ELEMENTS))


def matching_boxes(expected: Detections, actual: Detections, least: float = LEAST_OVERLAP) -> int:
    """Return how many boxes of an image match: of the same label, and overlapping by ``least`` or more.

    Each box matches one at most: the best of the actual boxes first, with the open one that it overlaps most.
    """
    shared = overlaps(actual["boxes"], expected["boxes"])  # (actual, expected)
    equal = (actual["boxes"][:, None] == expected["boxes"]).all(dim=2)
    shared = torch.where(equal, 1.0, shared.nan_to_num())  # also of two boxes without area
    open_ = actual["labels"][:, None] == expected["labels"]
    matches = 0
    for row in actual["scores"].argsort(descending=True, stable=True).tolist():
        found = torch.where(open_[row], shared[row], 0.0)
        if len(found) and found.max() >= least:
            open_[:, found.argmax()] = False
            matches += 1
    return matches


class QualityMeter:
    """Sums up, pass by pass, how the outputs of a run differ from those of eager float32.

    Args:
        classifies: whether the only output is of scores of classes (n, classes).
        postprocess: turns the outputs into boxes; None for a network that does not detect.
    """

    def __init__(self, classifies: bool = False, postprocess: Postprocess | None = None):
        self._classifies, self._postprocess = classifies, postprocess
        self._sums = dict[str, OutputSums]()
        self._images = self._equal_choices = self._matches = self._boxes = 0
        self._comparable = True

    def add(self, expected: Sequence[tuple[str, Tensor]], actual: Sequence[Tensor], images: int) -> None:
        """Add the outputs of a pass.

        Outputs of integers and truth values are left out. Where outputs cannot be compared, as they are not finite or
        of other shapes, `record` returns None.

        Args:
            expected: of eager float32, with their names.
            actual: of the run, in the same order, on any device and in any dtype.
            images: how many images of the batch count, the first ones; the others only fill it up.
        """
        shapes = [tensor.shape for _, tensor in expected]
        self._comparable &= shapes == [tensor.shape for tensor in actual]
        if not self._comparable:
            return
        pairs = [
            (name, _first(x, images), _first(y, images))
            for (name, x), y in zip(expected, actual, strict=True)
            if x.is_floating_point() or x.is_complex()
        ]
        sums = {name: output_sums(x, y) for name, x, y in pairs}
        self._comparable = all(one.is_finite for one in sums.values())
        if not self._comparable:
            return
        self._images += images
        for name, one in sums.items():
            self._sums[name] = self._sums.get(name, OutputSums()) + one
        self._add_decisions([x for _, x, _ in pairs], [y for _, _, y in pairs])

    def _add_decisions(self, expected: Sequence[Tensor], actual: Sequence[Tensor]) -> None:
        """Count equal first choices and matching boxes."""
        if self._classifies:
            self._equal_choices += int((expected[0].argmax(dim=1) == actual[0].argmax(dim=1)).sum())
        if self._postprocess is None:
            return
        with torch.inference_mode():
            found = zip(self._postprocess(expected), self._postprocess(actual), strict=True)
        for ours, theirs in found:
            self._matches += matching_boxes(ours, theirs)
            self._boxes += len(ours["boxes"]) + len(theirs["boxes"])

    def record(self, source: str, real: bool, trained: bool, calibrated_on: int | None) -> QualityRecord | None:
        """Return the figures over all passes; None where there was none, or outputs of one could not be compared.

        Args:
            source: where the images are from, in words.
            real: whether they are of a folder or a file.
            trained: whether a checkpoint was loaded.
            calibrated_on: images of the calibration; None where there was none.
        """
        if not self._comparable or not self._images:
            return None
        return QualityRecord(
            images=self._images,
            source=source,
            real=real,
            trained=trained,
            calibrated_on=calibrated_on,
            outputs=tuple(
                OutputQuality(name=name, snr_db=sums.snr_db, cosine=sums.cosine)
                for name, sums in self._sums.items()
                if sums.signal or not sums.noise  # the SNR of an output that should be all zero is no number
            ),
            first_choices=self._equal_choices / self._images if self._classifies else None,
            boxes=2 * self._matches / self._boxes if self._boxes else None,
        )


def quality_meter(origin: Origin, inputs: Inputs) -> QualityMeter:
    """Return a meter for a network.

    Args:
        origin: of the network, its settings at the size of the images; outputs of an external one mean nothing here.
        inputs: of a pass.
    """
    if not isinstance(origin, FromSettings) or not isinstance(inputs, NetworkInput):
        return QualityMeter()
    settings = origin.settings
    classifies = isinstance(settings.head, ClassifierHead | LevelClassifiersHead)
    return QualityMeter(classifies, Postprocess(settings, inputs.size) if settings.detection else None)


def _first(tensor: Tensor, images: int) -> Tensor:
    """Return the part of the first images of an output, on the CPU; a number as it is."""
    return (tensor[:images] if tensor.dim() else tensor).detach().cpu()
