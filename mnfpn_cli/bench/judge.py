"""Judge a run in another dtype than float32: run it on images, and hold its outputs against eager float32's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mnfpn_cli.bench.outputs import NamedTensors, named_outputs
from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.external.origin import Origin
from mnfpn_cli.quantization.calibration import CalibrationInputs
from mnfpn_cli.quantization.quality import QualityMeter
from mnfpn_cli.runtimes.runtime import Prepared


@dataclass(frozen=True)
class Reference:
    """The outputs of eager float32.

    Attributes:
        outputs: those of the pass that is timed.
        judged: those of each pass to judge by, in the order of the images.
    """

    outputs: NamedTensors
    judged: tuple[NamedTensors, ...] = ()


@dataclass(frozen=True)
class Judge:
    """What the outputs of a run are judged by.

    Attributes:
        origin: where the network comes from.
        images: the inputs of the passes.
        expected: the outputs of eager float32 on each of them.
    """

    origin: Origin
    images: CalibrationInputs
    expected: Sequence[NamedTensors]

    def judge(self, prepared: Prepared, network: nn.Module, calibrated: bool) -> QualityRecord | None:
        """Run a prepared network on the images; return None where they cannot be given to it, or it returns others.

        Args:
            prepared: the network; its inputs have their own values again afterwards.
            network: the module, which names its outputs.
            calibrated: whether it was calibrated on the other images.
        """
        if not prepared.inputs or not self.expected:
            return None
        meter = QualityMeter(self.origin)
        with _restored(prepared.inputs):
            for given, expected in zip(self.images.judge, self.expected, strict=True):
                for tensor, values in zip(prepared.inputs, given, strict=True):
                    tensor.copy_(values)
                outputs = prepared.run()
                actual = named_outputs(network, outputs, [one.cpu() for one in prepared.outputs(outputs)])
                meter.add(expected, actual)
        return meter.record(self.images, calibrated)


@contextmanager
def _restored(inputs: Sequence[Tensor]) -> Iterator[None]:
    before = [torch.clone(one) for one in inputs]
    try:
        yield
    finally:
        for tensor, values in zip(inputs, before, strict=True):
            tensor.copy_(values)
