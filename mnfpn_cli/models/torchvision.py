"""torchvision beside a torch of another build."""

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
"""The operators that torchvision's import asks for."""

KEPT: list[torch.library.Library] = []
"""What a library declares goes when it does."""


def declare_operators(error: Exception) -> bool:
    """Declare what torchvision's import asks for, where it failed for want of that; whether it is worth another try.

    torchvision's wheel is built against torch's with CUDA. Elsewhere its library does not load, and its import, and
    timm's, fails on operators that nothing has declared. Their schemas are enough for all that runs none of them:
    models, pyramids, and detectors in training that propose no regions.
    """
    if KEPT or not isinstance(error, RuntimeError) or "torchvision::nms" not in str(error):
        return False
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    KEPT.append(library)
    return True
