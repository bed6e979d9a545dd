"""Outputs become boxes on a real NVIDIA GPU. Without one these tests are skipped."""

import pytest
import torch

from mnfpn_cli.api import settings
from mnfpn_cli.detection.postprocess import Postprocess
from mnfpn_cli.settings.input import Size

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssd", "ssdlite", "rpn"])
def test_boxes_are_those_of_the_cpu(kind: str) -> None:
    """In float64, so that no rounding decides which of two boxes stays."""
    post = Postprocess(settings(overrides={"head.kind": kind}), Size(160, 224), torch.float64)
    generator, classes = torch.Generator().manual_seed(0), 1 if kind == "rpn" else 91
    values = (classes, 4, 1) if kind == "fcos" else (classes, 4)
    outputs = [torch.randn(2, len(post.anchors), n, generator=generator, dtype=torch.float64).abs() for n in values]
    expected = post(outputs)
    for found, same in zip(post.cuda()([x.cuda() for x in outputs]), expected, strict=True):
        for name, tensor in found.items():
            assert tensor.is_cuda
            torch.testing.assert_close(tensor.cpu(), same[name], rtol=0, atol=1e-9)
