"""The operators of torchvision in plain torch, for a torchvision whose own library does not load."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mnfpn_cli.detection.boxes import suppress
from mnfpn_cli.errors import MnfpnError, Problem

NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
QNMS = "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
ROI_ALIGN = (
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor"
)
"""The operators that the import of torchvision needs."""

DEVICES = "CompositeExplicitAutograd"
"""The key of a kernel for every device."""

REGIONS = 32
"""Regions that are resampled at a time: 1000 of them together take 2 GiB."""

DECLARED: list[torch.library.Library] = []
"""The libraries that were declared: their operators disappear when they are garbage collected."""

PLAIN_RUNS: set[str] = set()
"""The operators that ran in plain torch since `plain_operators` was last called."""


def declare_operators(error: Exception) -> bool:
    """Declare torchvision's operators in plain torch, if their absence caused an error; return whether it did.

    The wheel of torchvision is built against torch with CUDA. With another build of torch its library does not load,
    and the imports of torchvision and timm fail on operators that nothing has declared. The schemas are enough for
    classifiers and pyramids; detectors run `nms`, and those that pool regions `roi_align`.
    """
    if DECLARED or not isinstance(error, RuntimeError) or "torchvision::nms" not in str(error):
        return False
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in (NMS, QNMS, ROI_ALIGN):
        library.define(schema)  # type: ignore[no-untyped-call]
    library.impl("nms", nms, DEVICES)  # type: ignore[no-untyped-call]
    library.impl("roi_align", roi_align, DEVICES)  # type: ignore[no-untyped-call]
    torch.library.register_autograd("torchvision::roi_align", _backward, setup_context=_save_inputs, lib=library)
    DECLARED.append(library)
    import torchvision  # noqa: F401

    for name in ("boxes", "roi_align"):
        module: Any = sys.modules[f"torchvision.ops.{name}"]
        module._has_ops, module._assert_has_ops = lambda: True, lambda: None
    return True


def import_torchvision(where: str) -> None:
    """Import torchvision, with its operators in plain torch where its own library does not load.

    Args:
        where: what needs it, for the message.

    Raises:
        MnfpnError: where it is not installed.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        rule = "needs torchvision, which is not installed: pip install torchvision"
        raise MnfpnError(Problem(where, rule)) from None
    except RuntimeError as error:
        if not declare_operators(error):
            raise


def plain_operators() -> tuple[str, ...]:
    """Return the operators that ran in plain torch since the last call."""
    ran = tuple(sorted(PLAIN_RUNS))
    PLAIN_RUNS.clear()
    return ran


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of the boxes (n, 4) that no better box overlaps by more than a threshold, the best first."""
    PLAIN_RUNS.add("nms")
    return suppress(boxes, scores, None, iou_threshold)


def roi_align(x: Tensor, regions: Tensor, *options: Any) -> Tensor:
    """Resample regions (n, 5) of maps with torchvision's own Python code, ``REGIONS`` at a time."""
    PLAIN_RUNS.add("roi_align")
    align = _python_roi_align()
    return torch.cat([align(x, part, *options) for part in torch.split(regions, REGIONS)])


def _python_roi_align() -> Callable[..., Tensor]:
    """Return torchvision's Python function without its decorator, which compiles it for minutes."""
    compiling: Any = sys.modules["torchvision.ops.roi_align"]._roi_align
    function: Callable[..., Tensor] = compiling.__wrapped__
    return function


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 - torch gives them by name
    x, regions, *ctx.options = inputs
    ctx.save_for_backward(x, regions)


def _backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, regions = context.saved_tensors
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(roi_align(x, regions, *context.options), x, gradient)
    return grad, *[None] * 6
