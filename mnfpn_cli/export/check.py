"""How far a file's outputs are from the network's, on which images, and how far they may be."""

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
    """The input that a file was made for; where its sides are free also one of odd sides, and the least there is.

    At the least size the coarsest maps have one cell, and at the odd one every halving rounds up.
    """
    if not dynamic:
        return (input,)
    odd = Size(*(_odd(side, least) for side in input.size))
    return tuple(dict.fromkeys(replace(input, size=size) for size in (input.size, odd, Size(least, least))))


def _odd(side: int, least: int) -> int:
    """An odd side of about half the length, no shorter than the least, and in any case another one."""
    odd = max(side // 2, least) | 1
    return odd if odd != side else odd + 2


def random_images(input: NetworkInput) -> Tensor:
    """Images (n, in_channels, h, w) of values from 0 to 1, the same every time."""
    return torch.rand(input.shape, generator=torch.Generator().manual_seed(0))


USUAL_BOUND = 1e-4
"""Of a difference relative to an output's largest value, where two programs compute the same in float32.

ONNX Runtime differs by 2e-6 to 2e-5 over the presets, at 64×96 and at 600×900. What can go wrong is well above: one
bias of one batch norm off by 0.01 makes 1e-3, weights rounded to float16 4e-3, another epsilon 2e-2, another way to
upsample 1e-1.
"""

ROUNDINGS = 4
"""Where a network is so deep that rounding alone exceeds the usual bound: how many times its own rounding is allowed.

Two programs that round in different places differ by up to twice that (measured: 1.0 to 1.9 times).
"""

LARGEST_BOUND = 1e-2
"""More is never allowed: a wrong file could hide behind it."""


def compare(
    network: Network, input: NetworkInput, run: Callable[[Tensor], Mapping[str, Tensor]], exactly: bool = False
) -> FileCheck:
    """Hold what a file makes of random images against what the network makes of them in float32.

    Raises:
        CheckError: where outputs are missing, not finite, or differ in shape or by more than is allowed.
    """
    images = random_images(input)
    expected: dict[str, Tensor] = NamedOutputs(network)(images)
    found = run(images)
    if list(expected) != list(found):
        raise CheckError(f"its outputs are {', '.join(found) or 'none'}, not {', '.join(expected)}")
    _complain(input, [problem for name, x in expected.items() for problem in _unlike(name, x, found[name])])
    relative = {name: relative_difference(found[name], x) for name, x in expected.items()}
    allowed = dict.fromkeys(expected, 0.0 if exactly else USUAL_BOUND)
    if not exactly and max(relative.values()) > USUAL_BOUND:
        allowed = _allowed_by_rounding(network, images, expected)
    far = [name for name in expected if relative[name] > allowed[name]]
    _complain(input, [_too_far(name, relative[name], allowed[name]) for name in far])
    outputs = tuple(
        OutputCheck(
            name=name,
            shape=tuple(x.shape),
            max_abs_difference=largest(found[name] - x),
            relative=relative[name],
            allowed=allowed[name],
        )
        for name, x in expected.items()
    )
    return FileCheck(input=image_input(input), outputs=outputs)


def _complain(input: NetworkInput, problems: Sequence[str]) -> None:
    if problems:
        raise CheckError(f"at {input.size} {'; '.join(problems)}")


def _too_far(name: str, relative: float, allowed: float) -> str:
    return f"{name} differs by {relative:.1e} of its largest value, {allowed:.1e} is allowed"


def _unlike(name: str, expected: Tensor, found: Tensor) -> Iterator[str]:
    """What makes two outputs impossible to compare."""
    if found.shape != expected.shape:
        yield f"{name} has the shape {tuple(found.shape)}, not {tuple(expected.shape)}"
    elif not expected.isfinite().all():
        yield f"{name} of the network itself is not finite"
    elif not found.isfinite().all():
        yield f"{name} is not finite"


def _allowed_by_rounding(network: Network, images: Tensor, expected: Mapping[str, Tensor]) -> dict[str, float]:
    """For each output what rounding to float32 excuses, by how far the network itself is from float64."""
    precise: dict[str, Tensor] = NamedOutputs(deepcopy(network).double())(images.double())
    own = {name: relative_difference(x.double(), precise[name]) for name, x in expected.items()}
    return {name: min(max(USUAL_BOUND, ROUNDINGS * rounding), LARGEST_BOUND) for name, rounding in own.items()}
