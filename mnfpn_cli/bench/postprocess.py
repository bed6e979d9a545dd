"""Time what turns a detector's outputs into boxes, as a part of its own, in turn with the runtimes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mnfpn_cli.bench.workload import BenchWorkload
from mnfpn_cli.detection.images import as_input, as_tensor, check_images, import_pillow, read_image
from mnfpn_cli.detection.postprocess import Detections, Postprocess
from mnfpn_cli.documents.bench import PostprocessRecord
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.external.origin import FromSettings, Inputs, input_record
from mnfpn_cli.measure.statistics import Latency, latency_record
from mnfpn_cli.plan.heads import BOXES
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.measuring import BenchCase

RANDOM = "random logits"
"""The outputs where no image is given: standard normal, so nearly every anchor passes the threshold."""


@dataclass(frozen=True, slots=True)
class PostprocessRun:
    """The time to turn the outputs of a batch into boxes.

    Attributes:
        device: where it ran.
        input: of the network.
        measured_on: what the outputs are of.
        boxes: found in the batch.
        latency: the timed calls.
    """

    device: str
    input: Inputs
    measured_on: str
    boxes: int
    latency: Latency


@dataclass(frozen=True)
class ReadyPostprocess:
    """Postprocessing that is ready to be timed: what runs it, what its outputs are of, and the boxes that it found."""

    run: Callable[[], list[Detections]]
    measured_on: str
    boxes: int


def check_detects(workloads: Sequence[BenchWorkload], image: Path | None) -> None:
    """Check that there are boxes to make, and of what.

    Raises:
        UsageError: where a network is not from settings, or has no detection head; or where an image is none, or the
            network that it is for has random weights.
        MnfpnError: where an image cannot be read.
    """
    for workload in workloads:
        origin = workload.origin
        if not isinstance(origin, FromSettings):
            raise UsageError(Problem("`postprocess`", "cannot be used with a network without settings"))
        if origin.settings.detection is None:
            rule = "requires a network that detects: head.kind retinanet, fcos, ssd, ssdlite or rpn"
            raise UsageError(Problem("`postprocess`", rule, f"'{origin.settings.head.kind}'"))
        if image:
            if origin.weights is None:
                raise UsageError(Problem("`image`", "requires `weights`: with random ones, boxes are of random logits"))
            import_pillow()
            check_images([image], origin.settings.in_channels)


def prepare_postprocess(
    origin: FromSettings, network: nn.Module, input: NetworkInput, device: torch.device, case: BenchCase
) -> ReadyPostprocess:
    """Prepare to turn outputs into boxes, and do it once.

    Args:
        origin: where the network comes from.
        network: the network, in float32 on the CPU.
        input: of the network.
        device: where to run.
        case: the image, and the element type of the outputs.
    """
    postprocess = Postprocess(origin.settings, input.size).to(device)
    made = outputs_of(case.image, origin, network, input) if case.image else random_outputs(origin.plan, input)
    outputs = [output.to(device, getattr(torch, case.widest)) for output in made]

    def run() -> list[Detections]:
        return postprocess(outputs)  # type: ignore[no-any-return]

    measured_on = case.image.name if case.image else RANDOM
    return ReadyPostprocess(run, measured_on, sum(len(found["boxes"]) for found in run()))


def outputs_of(image: Path, origin: FromSettings, network: nn.Module, input: NetworkInput) -> list[Tensor]:
    """Return what the network makes of a batch of one image, which is stretched to the size of the input.

    Raises:
        UsageError: where the file is no image any more.
        MnfpnError: where it cannot be read.
    """
    preprocess = origin.settings.preprocess
    assert preprocess  # a detector has it
    x = as_input(as_tensor(read_image(image, input.channels)), preprocess, input.size, stretch=True)
    return list(network(x.expand(input.batch, -1, -1, -1)))


def random_outputs(plan: NetworkPlan, input: NetworkInput) -> list[Tensor]:
    """Return standard normal outputs (n, all anchors, values) of a detector, always the same; distances are positive.

    Raises:
        MnfpnError: where the network has no head.
    """
    head, generator = network_shapes(plan, input).head, torch.Generator().manual_seed(0)
    if head is None:
        raise MnfpnError("a network without a head has no outputs to turn into boxes")
    made = {output.name: torch.randn((input.batch, *output.shape), generator=generator) for output in head.outputs}
    return [values.abs() if name == BOXES and len(made) > 2 else values for name, values in made.items()]


def postprocess_record(run: PostprocessRun) -> PostprocessRecord:
    """Make the record of a run."""
    return PostprocessRecord(
        device=run.device,
        batch=run.input.batch,
        input=input_record(run.input),
        measured_on=run.measured_on,
        boxes=run.boxes,
        latency_s=latency_record(run.latency),
    )
