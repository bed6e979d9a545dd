"""What the functions of the Python API take: networks, sizes, passes, numbers. Each is read here, once, at the edge.

An error names the argument, the rule and the value. Texts have the parsers of the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from operator import index
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import (
    External,
    FromSettings,
    Origin,
    TensorInputs,
    Workload,
    external_module,
    planned_cases,
)
from mnfpn_cli.external.target import InputSpec, parse_pass, parse_target
from mnfpn_cli.settings.input import DEFAULT_CHANNELS, MAX_BATCH, NetworkInput, parse_size
from mnfpn_cli.settings.measuring import parse_share
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import did_you_mean
from mnfpn_cli.weights.file import WeightsFile, weights_file  # noqa: TID253 - needs no torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    NetworkArgument = NetworkSettings | nn.Module | str
    """What `settings` returns, an ``nn.Module``, or a target as text: ``torchvision.models:resnet18``."""

    ForwardPass = Tensor | tuple[Tensor, ...] | str
    """The inputs of one forward: a tensor, a tuple of tensors, or shapes as text: ``1x3x64x64,1x4:int64``."""

Sides = str | int | Sequence[int]
"""A size in pixels as ``"600x900"`` or ``(600, 900)``, height first; 600 is a square."""

Sizes = Sides | Sequence[Sides]
"""A size, or a list of several: ``(96, 64)`` is one, ``[96, 64]`` are two squares."""

Share = str | float
"""A share as ``"1%"`` or ``0.01``."""

FileName = str | PathLike[str]
"""The name of a file."""

SIZE_RULE = 'must be as "600x900", (600, 900), or 600 for a square'
NETWORK_RULE = "must be what settings() returns, an nn.Module, or a target as 'torchvision.models:resnet18'"
PASS_RULE = 'must be a tensor, a tuple of tensors, or a shape as "1x3x600x900"'

T = TypeVar("T")


def type_of(value: object) -> str:
    """Describe a value in a message by its type."""
    return f"an object of type {type(value).__name__}"


def as_whole_number(value: Any) -> int | None:
    """Return a whole number of Python or another library as an int; None for other values, and for True and False."""
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def whole_number(where: str, value: Any, low: int, high: int | None = None) -> int:
    """Return a whole number within bounds.

    Raises:
        UsageError: where it is none.
    """
    number = as_whole_number(value)
    if number is None or number < low or (high is not None and number > high):
        bounds = f"from {low} to {high}" if high is not None else f"of {low} or more"
        raise UsageError(Problem(f"`{where}`", f"must be a whole number {bounds}", f"{value!r:.40}"))
    return number


def check_flags(**flags: object) -> None:
    """Check that arguments are True or False: the text "no" would count as true.

    Raises:
        UsageError: where one is not.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise UsageError(Problem(f"`{name}`", "must be True or False", f"{value!r:.40}"))


def optional(read: Callable[..., T], where: str, value: Any, *bounds: Any) -> T | None:
    """Return None for None, and else what a function reads."""
    return None if value is None else read(where, value, *bounds)


def real_number(where: str, value: Any) -> float:
    """Return a number as a float.

    Raises:
        UsageError: where it is none.
    """
    if isinstance(value, bool | str | bytes):
        raise UsageError(Problem(f"`{where}`", "must be a number", f"{value!r:.40}"))
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(Problem(f"`{where}`", "must be a number", f"{value!r:.40}")) from None


def quantity(where: str, value: Any, parse: Callable[[str, str], T], unit: str = "") -> T:
    """Return a quantity with a unit, as ``"5G"`` or ``"30ms"``; a number is in the base unit.

    Args:
        where: the name of the argument.
        value: what was given.
        parse: reads the text.
        unit: the base unit, where the text of a number needs it.

    Raises:
        UsageError: where it is no quantity.
    """
    text = value if isinstance(value, str) else f"{real_number(where, value):.17g}{unit}"
    return parse(f"`{where}`", text)


def choice(where: str, value: Any, choices: Sequence[T]) -> T:
    """Return the value, if it is one of the choices.

    Raises:
        UsageError: where it is none; the message suggests the nearest.
    """
    for one in choices:
        if isinstance(value, str) and value == one:
            return one
    names = [str(one) for one in choices]
    near = did_you_mean(value, names) if isinstance(value, str) else ""
    raise UsageError(Problem(f"`{where}`", f"must be one of {', '.join(names)}", f"{value!r:.40}", near))


def words(where: str, value: Any) -> list[str]:
    """Return the names in a text, or in a sequence of texts.

    Raises:
        UsageError: where one is no text, or there is none.
    """
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    if not names or not all(isinstance(one, str) for one in names):
        raise UsageError(Problem(f"`{where}`", "must be a name, or a list of names", f"{value!r:.40}"))
    return names


def batches(value: Any) -> tuple[int, ...]:
    """Return the numbers of images in a batch: one, or several.

    Raises:
        UsageError: where one is no whole number from 1.
    """
    several = value if isinstance(value, list | tuple) and value else [value]
    return tuple(dict.fromkeys(whole_number("batch", one, 1, MAX_BATCH) for one in several))


def file_name(where: str, value: Any) -> str:
    """Return the name of a file as text.

    Raises:
        UsageError: where it is none.
    """
    if not isinstance(value, str | PathLike) or not isinstance(fspath(value), str):
        raise UsageError(Problem(f"`{where}`", "must be the name of a file", type_of(value)))
    return fspath(value)


def checkpoint_of(weights: Any, key: Any, partial: Any) -> WeightsFile | None:
    """Return the checkpoint to load; None for none.

    Raises:
        UsageError: where an argument is wrong, or requires ``weights``.
    """
    for where, value in (("weights_key", key), ("weights_partial", partial)):
        if value is not None and not isinstance(value, str):
            raise UsageError(Problem(f"`{where}`", "must be text", type_of(value)))
    return weights_file(None if weights is None else Path(file_name("weights", weights)), key, partial)


def size_text(size: Any) -> str:
    """Return a size as text: ``600x900``. Whether the numbers are a size is checked where the text is read.

    Raises:
        UsageError: where it is neither text, a whole number, nor two of these.
    """
    if isinstance(size, str):
        return size
    sides = [as_whole_number(side) for side in (size if isinstance(size, Sequence) else [size])]
    if None in sides or isinstance(size, bytes):
        raise UsageError(Problem("`size`", SIZE_RULE, f"{size!r:.40}"))
    return "x".join(map(str, sides))


def size_texts(size: Sizes | None) -> list[str | None]:
    """Return each size as text, as `size_text`; ``[None]`` where none is given.

    Raises:
        UsageError: where one is no size.
    """
    if size is None:
        return [None]
    given = size if isinstance(size, list) and size else [size]
    return list(dict.fromkeys(part for one in given for part in size_text(one).split(",")))


def is_module(value: object) -> bool:
    """Return whether a value is an ``nn.Module``; where torch is not imported, there is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def origin_of(network: NetworkArgument, weights: WeightsFile | None = None) -> Origin:
    """Return where a network comes from.

    Args:
        network: what `settings` returns, an ``nn.Module``, or the text of a target.
        weights: a checkpoint, for a network from settings.

    Raises:
        UsageError: where it is no network, or an external one is given with weights.
    """
    if isinstance(network, NetworkSettings):
        return FromSettings(network, weights)
    if not isinstance(network, str) and not is_module(network):
        raise UsageError(Problem("network", NETWORK_RULE, type_of(network)))
    if weights is not None:
        rule = "must be left out for a network without settings, which has its own"
        raise UsageError(Problem("`weights`", rule, f"'{weights.path}'"))
    if not isinstance(network, str):
        return external_module(network)
    try:
        return External(parse_target(network))
    except UsageError as error:
        raise error.at("network") from None


def pass_inputs_of(where: str, value: ForwardPass) -> TensorInputs:
    """Return the inputs of one forward.

    Raises:
        UsageError: where they are neither tensors nor shapes, or a tensor has no dimension or no elements.
    """
    if isinstance(value, str):
        try:
            return TensorInputs(parse_pass(value))
        except UsageError as error:
            raise error.at(f"`{where}`") from None
    torch = sys.modules.get("torch")
    tensors = value if isinstance(value, tuple) else (value,)
    if torch is None or not tensors or not all(isinstance(one, torch.Tensor) for one in tensors):
        wrong = next((one for one in tensors if torch is None or not isinstance(one, torch.Tensor)), value)
        got = "an empty tuple" if isinstance(wrong, tuple) and not wrong else type_of(wrong)
        raise UsageError(Problem(f"`{where}`", PASS_RULE, got))
    for one in tensors:
        if one.dim() == 0 or one.numel() == 0:
            rule = "a tensor must have a dimension or more, and an element or more"
            raise UsageError(Problem(f"`{where}`", rule, f"shape {tuple(one.shape)}"))
    return TensorInputs(
        tuple(InputSpec(tuple(one.shape), str(one.dtype).removeprefix("torch."), one) for one in tensors)
    )


def workloads_of(
    origin: Origin, where: str, passes: Sequence[ForwardPass], size: Sizes | None, batch: int | None = None
) -> list[Workload]:
    """Return a workload for each pass, or for each size.

    Args:
        origin: the network.
        where: the name of the argument that holds the passes.
        passes: the inputs of each; none for images of a size.
        size: of the images; None for the default of a network from settings.
        batch: images of a size in a batch; 1 for None.

    Raises:
        UsageError: where the network cannot take a size, or passes and sizes contradict each other.
    """
    images = 1 if batch is None else whole_number("batch", batch, 1, MAX_BATCH)
    if isinstance(origin, FromSettings):
        if passes:
            raise UsageError(Problem(f"`{where}`", "must be left out for a network from settings, which takes `size`"))
        return [Workload(*one) for one in planned_cases(origin.settings, size_texts(size), images, origin.weights)]
    given = [name for name, value in (("`size`", size), ("`batch`", batch)) if value is not None]
    if passes and given:
        raise UsageError(Problem(", ".join(given), f"cannot be used with `{where}`, which already gives the shape"))
    if not passes and size is None:
        rule = (
            f"must be given for a network without settings: {PASS_RULE.removeprefix('must be ')}; or `size`, for images"
        )
        raise UsageError(Problem(f"`{where}`", rule))
    if passes:
        return [Workload(origin, pass_inputs_of(where, one)) for one in passes]
    sizes = [parse_size(text or "") for text in size_texts(size)]
    return [Workload(origin, NetworkInput(images, DEFAULT_CHANNELS, one)) for one in sizes]


def read_share(where: str, value: Any, zero: bool = False) -> float:
    """Return a share of less than 1, given as ``0.01`` or ``"1%"``; ``zero``: whether it may be 0.

    Raises:
        UsageError: where it is none.
    """
    return quantity(where, value, lambda name, text: parse_share(name, text, zero))


def one_name(where: str, value: Any) -> str:
    """Return the only name.

    Raises:
        UsageError: where there are several, or none.
    """
    names = words(where, value)
    if len(names) > 1:
        raise UsageError(Problem(f"`{where}`", "must be one", ", ".join(names)))
    return names[0]


def sampling_values(
    precision: Share | None, passes: int | None, max_time: float | None, min_time: float | None, warmup: int | None
) -> dict[str, Any]:
    """Return the arguments by the names that `sampling` has for them.

    Raises:
        UsageError: where an argument is wrong.
    """
    return {
        "warmup": optional(whole_number, "warmup", warmup, 0),
        "passes": optional(whole_number, "passes", passes, 1),
        "precision": optional(read_share, "precision", precision),
        "min_time_s": optional(real_number, "min_time", min_time),
        "max_time_s": optional(real_number, "max_time", max_time),
    }
