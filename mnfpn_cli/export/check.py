"""Compare the outputs of an exported file with the network's: on which images, and within which bounds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from mnfpn_cli.documents.export import FileCheck, OutputCheck
from mnfpn_cli.errors import CheckError
from mnfpn_cli.export.program import NamedOutputs
from mnfpn_cli.measure.verify import largest, relative_difference
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.shapes import image_input
from mnfpn_cli.settings.input import NetworkInput, Size


def inputs_to_check(input: NetworkInput, least: int, dynamic: bool) -> tuple[NetworkInput, ...]:
    """Return the inputs to check a file on: its own; where its sides are dynamic, also odd sides and the least size.

    At the least size the coarsest maps are 1×1, and at odd sides every halving rounds up.
    """
    if not dynamic:
        return (input,)
    odd = Size(*(_odd(side, least) for side in input.size))
    return tuple(dict.fromkeys(replace(input, size=size) for size in (input.size, odd, Size(least, least))))


def _odd(side: int, least: int) -> int:
    """Return an odd side of about half the length, at least ``least``, and different from ``side``."""
    odd = max(side // 2, least) | 1
    return odd if odd != side else odd + 2


def random_images(input: NetworkInput) -> Tensor:
    """Return images (n, in_channels, h, w) of values from 0 to 1, the same every time."""
    return torch.rand(input.shape, generator=torch.Generator().manual_seed(0))


USUAL_BOUND = 1e-4
"""The largest difference, relative to an output's largest value, that float32 rounding usually makes.

ONNX Runtime differs by 2e-6 to 2e-5 over the presets, at 64×96 and at 600×900. Real errors are well above: one bias of
one batch norm off by 0.01 makes 1e-3, weights rounded to float16 4e-3, another epsilon 2e-2, another way to upsample
1e-1.
"""

ROUNDINGS = 4
"""Where a network is so deep that rounding exceeds the usual bound, this many times its own rounding is allowed.

Programs that round in different places differ by up to twice its own rounding (measured: 1.0 to 1.9 times).
"""

LARGEST_BOUND = 1e-2
"""A larger difference is never allowed: it could hide a wrong file."""


def compare_outputs(
    network: Network, input: NetworkInput, run: Callable[[Tensor], Mapping[str, Tensor]], exact: bool = False
) -> FileCheck:
    """Compare a file's outputs on random images with the network's in float32.

    Args:
        network: the network that was exported.
        input: the shape of the images.
        run: the file's network: images (n, in_channels, h, w) to outputs by name.
        exact: whether outputs must be equal to the last bit.

    Raises:
        CheckError: where outputs are missing, not finite, or differ in shape or by more than is allowed.
    """
    images = random_images(input)
    expected: dict[str, Tensor] = NamedOutputs(network)(images)
    actual = run(images)
    if list(expected) != list(actual):
        raise CheckError(f"its outputs must be {', '.join(expected)}, got {', '.join(actual) or 'none'}")
    _raise_for(input, [problem for name, x in expected.items() for problem in _incomparable(name, x, actual[name])])
    relative = {name: relative_difference(actual[name], x) for name, x in expected.items()}
    allowed = dict.fromkeys(expected, 0.0 if exact else USUAL_BOUND)
    if not exact and max(relative.values()) > USUAL_BOUND:
        allowed = _allowed_by_rounding(network, images, expected)
    too_large = [name for name in expected if relative[name] > allowed[name]]
    _raise_for(input, [_too_far(name, relative[name], allowed[name]) for name in too_large])
    outputs = tuple(
        OutputCheck(
            name=name,
            shape=tuple(x.shape),
            max_abs_difference=largest(actual[name] - x),
            relative=relative[name],
            allowed=allowed[name],
        )
        for name, x in expected.items()
    )
    return FileCheck(input=image_input(input), outputs=outputs)


def _raise_for(input: NetworkInput, problems: Sequence[str]) -> None:
    if problems:
        raise CheckError(f"at {input.size} {'; '.join(problems)}")


def _too_far(name: str, relative: float, allowed: float) -> str:
    return f"{name} differs by {relative:.1e} of its largest value, {allowed:.1e} is allowed"


def _incomparable(name: str, expected: Tensor, actual: Tensor) -> Iterator[str]:
    """Yield why two outputs cannot be compared."""
    if actual.shape != expected.shape:
        yield f"{name} has the shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    elif not expected.isfinite().all():
        yield f"{name} of the network itself is not finite"
    elif not actual.isfinite().all():
        yield f"{name} is not finite"


def _allowed_by_rounding(network: Network, images: Tensor, expected: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the bound of each output by its rounding: how far the network in float32 is from itself in float64."""
    precise: dict[str, Tensor] = NamedOutputs(deepcopy(network).double())(images.double())
    own = {name: relative_difference(x.double(), precise[name]) for name, x in expected.items()}
    return {name: min(max(USUAL_BOUND, ROUNDINGS * rounding), LARGEST_BOUND) for name, rounding in own.items()}
