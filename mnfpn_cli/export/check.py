"""Compare the outputs of an exported file with the network's: on which inputs, and within which bounds."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's documentation names it
from torch import Tensor, nn

from mnfpn_cli.documents.export import FileCheck, OutputCheck
from mnfpn_cli.errors import CheckError, MnfpnError, Problem
from mnfpn_cli.export.axes import SIDES
from mnfpn_cli.export.job import FileJob
from mnfpn_cli.export.program import IMAGES
from mnfpn_cli.external.copies import copy_network
from mnfpn_cli.external.origin import Inputs, TensorInputs, input_record
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.measure.verify import largest, relative_difference
from mnfpn_cli.quantization.quality import output_sums
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.text import first_line

RunFile = Callable[..., Mapping[str, Tensor]]
"""The network of a file: from the inputs of a pass to outputs by name."""


def inputs_to_check(job: FileJob, inputs: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    """Return the inputs to check a file on: these; where axes are open, also odd sides, the least size, and a batch.

    At the least size the coarsest maps are 1×1, and at odd sides every halving rounds up. The other inputs have the
    values of these, resized or repeated.
    """
    tried = [inputs]
    shape = next((tensor.shape for tensor in inputs if tensor.dim() == IMAGES), None)
    batch = len(inputs[0]) if inputs[0].dim() else 1
    other = batch if "batch" not in job.dynamic else 1 if batch > 1 else 2
    if shape is not None and job.dynamic & SIDES:
        own = Size(*shape[2:])
        open_sides = [axis in job.dynamic for axis in ("height", "width")]
        odd = [_odd(side, job.least) if open_ else side for side, open_ in zip(own, open_sides, strict=True)]
        least = [job.least if open_ else side for side, open_ in zip(own, open_sides, strict=True)]
        sizes = dict.fromkeys((Size(*odd), Size(*least)))
        tried += [_resized(inputs, other, size) for size in sizes if size != own or other != batch]
    elif other != batch:
        tried.append(_resized(inputs, other, None))
    return tried


def _odd(side: int, least: int) -> int:
    """Return an odd side of about half the length, at least ``least``, and different from ``side``."""
    odd = max(side // 2, least) | 1
    return odd if odd != side else odd + 2


def _resized(inputs: tuple[Tensor, ...], batch: int, size: Size | None) -> tuple[Tensor, ...]:
    """Return inputs of another batch, and images of another size."""
    rows = [index % len(inputs[0]) for index in range(batch)]
    chosen = tuple(tensor[rows] for tensor in inputs)
    if size is None:
        return chosen
    return tuple(F.interpolate(x, size, mode="nearest") if x.dim() == IMAGES else x for x in chosen)


def inputs_of(tensors: tuple[Tensor, ...]) -> Inputs:
    """Return what documents hold of the inputs of a pass."""
    if len(tensors) == 1 and tensors[0].dim() == IMAGES and tensors[0].is_floating_point():
        batch, channels, height, width = tensors[0].shape
        return NetworkInput(batch, channels, Size(height, width))
    return TensorInputs(tuple(InputSpec(tuple(x.shape), str(x.dtype).removeprefix("torch.")) for x in tensors))


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

LEAST_SNR_DB: dict[DType, float] = {"float16": 20.0, "bfloat16": 0.0, "int8": 0.0}
"""The least ratio of signal to noise of an output, in dB, by what a file computes in.

At 0 dB the differences are as strong as the output itself: zeros would be as good. What a precision costs is the
user's to judge, by the figures of quality; this bound only finds files that compute something else. With random
weights, an output had 41 dB or more in float16 (.pt2, two networks), and 18 or more in int8 (OpenVINO, at 96×96: the
presets fpn-classifier, fpnssd and fpnssd512).
"""


def compare_outputs(job: FileJob, inputs: tuple[Tensor, ...], run: RunFile, exact: bool = False) -> FileCheck:
    """Compare a file's outputs with the network's in float32.

    In float32 they may differ by rounding; in another dtype their noise is bounded.

    Args:
        job: the network that was exported, and the dtype of the file.
        inputs: of a pass.
        run: the file's network.
        exact: whether outputs in float32 must be equal to the last bit.

    Raises:
        CheckError: where outputs are missing, not finite, or differ in shape or by more than is allowed.
        MnfpnError: where the network itself does not take these inputs.
    """
    expected = _outputs_of_network(job, copies(inputs))
    actual = run(*copies(inputs))
    if list(expected) != list(actual):
        raise CheckError(f"its outputs must be {', '.join(expected)}, got {', '.join(actual) or 'none'}")
    where = _size_of(inputs)
    _raise_for(where, [problem for name, x in expected.items() for problem in _incomparable(name, x, actual[name])])
    pairs = {name: (_as_numbers(x), _as_numbers(actual[name])) for name, x in expected.items()}
    checks = _exactness(job, inputs, pairs, exact) if job.dtype == "float32" else _noise(pairs, LEAST_SNR_DB[job.dtype])
    _raise_for(where, [one for one in checks if isinstance(one, str)])
    outputs = tuple(one for one in checks if isinstance(one, OutputCheck))
    return FileCheck(input=input_record(inputs_of(inputs)), outputs=outputs)


def copies(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return copies of the inputs of a pass, which may change them in place."""
    return tuple(tensor.clone() for tensor in inputs)


def _outputs_of_network(job: FileJob, inputs: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
    """Run the network itself; one of others may not take every size."""
    if job.plan:
        outputs: Mapping[str, Tensor] = job.network(*inputs)
        return outputs
    try:
        outputs = job.network(*inputs)
    except Exception as error:
        if not job.dynamic:
            raise
        rule = f"the network itself does not take {_size_of(inputs)}: {first_line(error)}"
        raise MnfpnError(Problem("`dynamic`", rule)) from error
    return outputs


def _size_of(inputs: tuple[Tensor, ...]) -> str:
    return str(inputs_of(inputs).size)


Pairs = Mapping[str, tuple[Tensor, Tensor]]
"""The outputs of the network and of the file, by name."""


def _as_numbers(tensor: Tensor) -> Tensor:
    """Return an output as floating-point numbers: truth values as 0 and 1, complex numbers as their two parts."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor.float()


def _exactness(job: FileJob, inputs: tuple[Tensor, ...], pairs: Pairs, exact: bool) -> list[OutputCheck | str]:
    """Return the check of each output in float32, or what is wrong with it."""
    relative = {name: relative_difference(actual, expected) for name, (expected, actual) in pairs.items()}
    allowed = dict.fromkeys(pairs, 0.0 if exact else USUAL_BOUND)
    if not exact and max(relative.values()) > USUAL_BOUND:
        allowed = _allowed_by_rounding(job.network, inputs, pairs)
    return [
        OutputCheck(
            name=name,
            shape=tuple(expected.shape),
            max_abs_difference=largest(actual - expected),
            relative=relative[name],
            allowed=allowed[name],
            snr_db=None,
            least_snr_db=None,
        )
        if relative[name] <= allowed[name]
        else f"{name} differs by {relative[name]:.1e} of its largest value, {allowed[name]:.1e} is allowed"
        for name, (expected, actual) in pairs.items()
    ]


def _noise(pairs: Pairs, least: float) -> list[OutputCheck | str]:
    """Return the check of each output by its noise, or what is wrong with it."""
    return [_noise_of(name, expected, actual, least) for name, (expected, actual) in pairs.items()]


def _noise_of(name: str, expected: Tensor, actual: Tensor, least: float) -> OutputCheck | str:
    sums = output_sums(expected, actual)
    if sums.noise and not sums.signal:
        return f"{name} is not all zero, as it is in the network"
    snr_db = sums.snr_db
    if snr_db is not None and snr_db <= least:
        return f"{name} has {snr_db:.1f} dB of signal to noise, more than {least:.0f} dB are needed"
    return OutputCheck(
        name=name,
        shape=tuple(expected.shape),
        max_abs_difference=largest(actual - expected),
        relative=relative_difference(actual, expected),
        allowed=None,
        snr_db=snr_db,
        least_snr_db=least,
    )


def _raise_for(where: str, problems: Sequence[str]) -> None:
    if problems:
        raise CheckError(f"at {where} {'; '.join(problems)}")


def _incomparable(name: str, expected: Tensor, actual: Tensor) -> Iterator[str]:
    """Yield why two outputs cannot be compared."""
    if actual.shape != expected.shape:
        yield f"{name} has the shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    elif expected.is_floating_point() and actual.dtype != expected.dtype:
        types = (str(tensor.dtype).removeprefix("torch.") for tensor in (actual, expected))
        yield f"{name} has elements of {', not '.join(types)}"
    elif not expected.isfinite().all():
        yield f"{name} of the network itself is not finite"
    elif not actual.isfinite().all():
        yield f"{name} is not finite"


def _allowed_by_rounding(network: nn.Module, inputs: tuple[Tensor, ...], pairs: Pairs) -> dict[str, float]:
    """Return the bound of each output by its rounding: how far the network in float32 is from itself in float64."""
    doubled = (tensor.double() if tensor.is_floating_point() else tensor for tensor in copies(inputs))
    precise: dict[str, Tensor] = copy_network(network).double()(*doubled)
    own = {name: relative_difference(x.double(), precise[name].double()) for name, (x, _) in pairs.items()}
    return {name: min(max(USUAL_BOUND, ROUNDINGS * rounding), LARGEST_BOUND) for name, rounding in own.items()}
