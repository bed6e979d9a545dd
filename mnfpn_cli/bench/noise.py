"""Find which layers lose the precision of int8, for a group of a benchmark."""

from collections.abc import Iterator

from mnfpn_cli.bench.group import Group
from mnfpn_cli.documents.bench import InputNoise
from mnfpn_cli.external.origin import input_record
from mnfpn_cli.quantization.noise import layer_noise
from mnfpn_cli.text import ReportProgress

MOST_JUDGED = 2
"""The most passes that judge: each layer takes two passes for each of them."""


def noise_of(group: Group, progress: ReportProgress) -> Iterator[InputNoise]:
    """Yield the noise of each layer on the images of a group; nothing where none of its runs is in int8.

    It is simulated on the CPU, and is the same for every runtime and device.
    """
    if group.images is None or "int8" not in group.case.dtypes:
        return
    found = layer_noise(group.network, group.quantization(), group.images.judge[:MOST_JUDGED], progress)
    yield InputNoise(**vars(found), input=input_record(group.input))
