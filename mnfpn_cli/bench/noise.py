"""Find which layers lose the precision of int8, for a group of a benchmark."""

from collections.abc import Iterator

from torch import Tensor

from mnfpn_cli.bench.group import Group
from mnfpn_cli.documents.bench import InputNoise
from mnfpn_cli.external.origin import input_record
from mnfpn_cli.quantization.noise import layer_noise
from mnfpn_cli.text import ReportProgress

MOST_JUDGED, MOST_PIXELS = 4, 500_000
"""The most passes that judge, and the most pixels in them all: each layer takes two passes for each of them."""


def noise_of(group: Group, progress: ReportProgress) -> Iterator[InputNoise]:
    """Yield the noise of each layer on the images of a group; nothing where none of its runs is in int8.

    It is simulated on the CPU, and is the same for every runtime and device.
    """
    if group.images is None or "int8" not in group.case.dtypes:
        return
    passes = max(1, min(MOST_JUDGED, MOST_PIXELS // _pixels(group.images.judge[0])))
    found = layer_noise(group.network, group.quantization(), group.images.judge[:passes], progress)
    yield InputNoise(**vars(found), input=input_record(group.input))


def _pixels(inputs: tuple[Tensor, ...]) -> int:
    """Return the pixels of the images in a pass; for other tensors, their elements."""
    return sum(tensor.numel() // (tensor.shape[1] if tensor.dim() == 4 else 1) for tensor in inputs)
