"""torchvision beside a torch of another build: its operators, in plain torch."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
QNMS = "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
ROI_ALIGN = (
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor"
)
"""What torchvision's import asks for."""

DEVICES = "CompositeExplicitAutograd"
"""The key of a kernel for every device."""

REGIONS = 32
"""That are resampled at a time: 1000 of them together take 2 GiB."""

KEPT: list[torch.library.Library] = []
"""What a library declares goes when it does."""

RAN: set[str] = set()
"""The operators that ran in plain torch since they were last asked for."""


def declare_operators(error: Exception) -> bool:
    """Import torchvision with operators in plain torch, where its import failed for want of its own.

    torchvision's wheel is built against torch's with CUDA. Elsewhere its library does not load, and its import, and
    timm's, fails on operators that nothing has declared. The schemas are enough for classifiers and pyramids;
    detectors run `nms`, and those that pool regions `roi_align`.

    Returns:
        Whether that was the reason, so that another try is worth it.
    """
    if KEPT or not isinstance(error, RuntimeError) or "torchvision::nms" not in str(error):
        return False
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in (NMS, QNMS, ROI_ALIGN):
        library.define(schema)  # type: ignore[no-untyped-call]
    library.impl("nms", nms, DEVICES)  # type: ignore[no-untyped-call]
    library.impl("roi_align", roi_align, DEVICES)  # type: ignore[no-untyped-call]
    torch.library.register_autograd("torchvision::roi_align", _backward, setup_context=_keep, lib=library)
    KEPT.append(library)
    import torchvision  # noqa: F401

    for name in ("boxes", "roi_align"):
        module: Any = sys.modules[f"torchvision.ops.{name}"]
        module._has_ops, module._assert_has_ops = lambda: True, lambda: None
    return True


def plain_operators() -> tuple[str, ...]:
    """The operators that ran in plain torch since this was last called."""
    ran = tuple(sorted(RAN))
    RAN.clear()
    return ran


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The places of the boxes (n, 4) that no better one overlaps by more than a threshold, the best first."""
    RAN.add("nms")
    order, kept = scores.argsort(descending=True, stable=True), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        low, high = boxes[best, :2].maximum(boxes[rest, :2]), boxes[best, 2:].minimum(boxes[rest, 2:])
        overlap = (high - low).clamp(min=0).prod(1)
        order = rest[~(overlap / (areas[best] + areas[rest] - overlap) > iou_threshold)]
    return torch.stack(kept) if kept else order


def roi_align(x: Tensor, regions: Tensor, *how: Any) -> Tensor:
    """Regions (n, 5) of maps, resampled by the Python that torchvision has for it, a few at a time."""
    RAN.add("roi_align")
    align = _python_roi_align()
    return torch.cat([align(x, some, *how) for some in torch.split(regions, REGIONS)])


def _python_roi_align() -> Callable[..., Tensor]:
    """Torchvision's function beneath the one that compiles it, which takes minutes."""
    compiling: Any = sys.modules["torchvision.ops.roi_align"]._roi_align
    function: Callable[..., Tensor] = compiling.__wrapped__
    return function


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 - torch gives them by name
    x, regions, *ctx.how = inputs
    ctx.save_for_backward(x, regions)


def _backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, regions = context.saved_tensors
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(roi_align(x, regions, *context.how), x, gradient)
    return found, *[None] * 6
