"""Judge a run in another dtype than float32: run it on images, and compare its outputs with eager float32's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mnfpn_cli.bench.outputs import NamedTensors
from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.external.origin import Inputs, Origin
from mnfpn_cli.quantization.calibration import CalibrationInputs
from mnfpn_cli.quantization.quality import quality_meter
from mnfpn_cli.runtimes.runtime import Prepared

MOST_BYTES = 2**29
"""The most bytes of eager float32's outputs that are held; where images have more, fewer of them judge."""


@dataclass(frozen=True)
class Reference:
    """The outputs of eager float32: of the pass that is timed, and of as many passes on images as there is room for."""

    outputs: NamedTensors
    judged: tuple[NamedTensors, ...] = ()


@dataclass(frozen=True)
class Judge:
    """What the outputs of a run are judged by.

    Attributes:
        origin: where the network comes from.
        inputs: of a pass.
        images: the inputs of the passes.
        expected: the outputs of eager float32 on the first of them.
    """

    origin: Origin
    inputs: Inputs
    images: CalibrationInputs
    expected: Sequence[NamedTensors]

    def judge(self, prepared: Prepared, calibrated: bool) -> QualityRecord | None:
        """Run a prepared network on the images; return None where it takes or returns what cannot be compared.

        Args:
            prepared: the network; its inputs have their own values again afterwards.
            calibrated: whether it was calibrated on the other images.
        """
        if not prepared.inputs:
            return None
        meter = quality_meter(self.origin, self.inputs)
        with _restored(prepared.inputs):
            for (given, images), expected in zip(self.images.judged(), self.expected, strict=False):
                for tensor, values in zip(prepared.inputs, given, strict=True):
                    tensor.copy_(values)
                meter.add(expected, prepared.outputs(prepared.run()), images)
        return meter.record(
            self.images.source,
            self.images.real,
            self.origin.trained,
            self.images.calibrated_on if calibrated else None,
        )


@contextmanager
def _restored(inputs: Sequence[Tensor]) -> Iterator[None]:
    before = [torch.clone(one) for one in inputs]
    try:
        yield
    finally:
        for tensor, values in zip(inputs, before, strict=True):
            tensor.copy_(values)
