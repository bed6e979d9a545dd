"""Write a network to a file, and check the file against the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import (
    checkpoint_of,
    choice,
    file_name,
    optional,
    origin_of,
    real_number,
    size_text,
    whole_number,
    words,
    workloads_of,
)
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.export.axes import SIDES, DynamicAxis, parse_axes  # noqa: TID253 - needs no torch
from mnfpn_cli.export.formats import FORMATS, MAX_OPSET, ExportRequest, Format  # noqa: TID253 - needs no torch
from mnfpn_cli.settings.input import ITEM_BYTES, DType
from mnfpn_cli.settings.measuring import MAX_SEED
from mnfpn_cli.settings.quantization import quantization_case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.api.arguments import FileName, ForwardPass, NetworkArgument, Sides
    from mnfpn_cli.documents.export import ExportDocument


def export(
    network: NetworkArgument,
    file: FileName,
    format: Format,
    *,
    inputs: ForwardPass | None = None,
    size: Sides | None = None,
    batch: int | None = None,
    dtype: DType = "float32",
    dynamic: bool | str | Sequence[str] = False,
    opset: int | None = None,
    calibration: FileName | None = None,
    keep_float: str | Sequence[str] = (),
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    seed: int = 0,
    weights: FileName | None = None,
    weights_key: str | None = None,
    weights_partial: str | None = None,
    progress: Progress = None,
) -> ExportDocument:
    """Write a network to a file: whole and checked against the network, or not at all.

    A module is copied, and the copy is written in eval mode.

    Args:
        network: settings, an ``nn.Module``, or a target as text.
        file: the file to write; an existing one is replaced only after the check.
        format: ``onnx``, ``torch-export``, ``safetensors``, ``openvino``, ``executorch`` or ``coreml``.
        inputs: the inputs of one forward of a module.
        size: of the images that the file is made for, height first; 600x900 for a network from settings.
        batch: images in a batch; 1 where it is not given.
        dtype: the element type that the file computes in: ``float32``, ``bfloat16``, ``float16`` or ``int8``.
        dynamic: the axes of images that the file leaves open, of ``batch``, ``height`` and ``width``; True for the
            last two.
        opset: the version of ONNX's operators.
        calibration: a folder of images, or an ``.npz``, to calibrate int8 with and to judge outputs by.
        keep_float: paths of layers that stay in float32 in int8.
        mean: of each channel of an image, where the settings have none.
        std: the deviation of each channel, where the settings have none.
        seed: of the random weights of a network from settings or a target.
        weights: a checkpoint to load; for a network from settings.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Raises:
        UsageError: where an argument is wrong, or the input does not fit the memory.
        CheckError: where the file fails its check.
        MnfpnError: where a package is not installed, the network cannot be written in this format, or a file cannot be
            read or written.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import tempfile
        >>> small = mnfpn.settings(overrides={"width_mult": 0.35, "pyramid.channels": 8})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     document = mnfpn.export(small, f"{folder}/net.safetensors", "safetensors", size="64x96")
        >>> document.format, len(document.checks)
        ('safetensors', 1)
    """
    origin = origin_of(network, checkpoint_of(weights, weights_key, weights_partial))
    if inputs is not None and batch is not None:
        raise UsageError(Problem("`batch`", "cannot be used with inputs, which already gives the shape"))
    passes = [] if inputs is None else [inputs]
    (workload,) = workloads_of(origin, "inputs", passes, None if size is None else size_text(size), batch)
    request = ExportRequest(
        choice("format", format, FORMATS),
        Path(file_name("file", file)),
        choice("dtype", dtype, tuple(ITEM_BYTES)),
        _axes(dynamic),
        optional(whole_number, "opset", opset, 1, MAX_OPSET),
    )
    case = quantization_case(
        None if calibration is None else Path(file_name("calibration", calibration)),
        words("keep_float", keep_float) if keep_float else (),
        _pixels("mean", mean),
        _pixels("std", std),
    )
    seed = whole_number("seed", seed, 0, MAX_SEED)
    with reporting(progress) as report:
        report("loading torch", 0.0)
        from mnfpn_cli.export.export import check_export, write_network

        check_export(workload, request, case, "file")
        try:
            return write_network(workload, seed, request, case, report)
        except MnfpnError as error:
            if any(problem.where == "`output`" for problem in error.problems):
                raise error.at("file") from None
            raise


def _axes(dynamic: object) -> frozenset[DynamicAxis]:
    """Return the axes that are asked for.

    Raises:
        UsageError: where they are neither a flag nor names of axes.
    """
    if isinstance(dynamic, bool):
        return SIDES if dynamic else frozenset()
    return parse_axes(",".join(words("dynamic", dynamic)))


def _pixels(where: str, value: float | Sequence[float] | None) -> tuple[float, ...] | None:
    """Return the number of each channel.

    Raises:
        UsageError: where one is none.
    """
    if value is None:
        return None
    return tuple(real_number(where, one) for one in (value if isinstance(value, list | tuple) else [value]))
