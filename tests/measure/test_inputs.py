"""The tensors that networks are measured on."""

import torch

from mnfpn_cli.external.origin import TensorInputs, describe_inputs
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.trace.inputs import input_tensors


def test_they_are_the_same_every_time_and_whole_numbers_are_zero() -> None:
    """Zero is a word of every vocabulary; what is floating-point comes in float32, whatever was said."""
    inputs = TensorInputs(tuple(InputSpec((2, 3), dtype) for dtype in (None, "float16", "int64", "bool")))
    tensors = input_tensors(inputs)
    assert [one.dtype for one in tensors] == [torch.float32, torch.float32, torch.int64, torch.bool]
    assert [bool(one.any()) for one in tensors] == [True, True, False, False]
    assert not torch.equal(tensors[0], tensors[1])
    assert all(torch.equal(one, again) for one, again in zip(tensors, input_tensors(inputs), strict=True))


def test_images_are_one_tensor() -> None:
    """Of the shape that the input has."""
    input = NetworkInput(2, 3, Size(4, 5))
    (images,) = input_tensors(input)
    assert (images.shape, describe_inputs(input)) == (input.shape, "2×3×4×5")
