"""Write a network to a file, and check the file against the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import (
    MAX_SEED,
    check_flags,
    checkpoint_of,
    choice,
    file_name,
    origin_of,
    size_text,
    whole_number,
)
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.export.formats import (  # noqa: TID253 - needs no torch
    FORMATS,
    Format,
    check_dynamic,
    check_replaceable,
    import_packages,
)
from mnfpn_cli.external.origin import FromSettings, planned_cases
from mnfpn_cli.settings.input import MAX_BATCH

if TYPE_CHECKING:
    from mnfpn_cli.api.arguments import FileName, Sides
    from mnfpn_cli.documents.export import ExportDocument
    from mnfpn_cli.settings.network import NetworkSettings


def export(
    network: NetworkSettings,
    file: FileName,
    format: Format,
    *,
    size: Sides | None = None,
    batch: int = 1,
    dynamic: bool = False,
    seed: int = 0,
    weights: FileName | None = None,
    weights_key: str | None = None,
    weights_partial: str | None = None,
    progress: Progress = None,
) -> ExportDocument:
    """Write a network from settings to a file: whole and checked against the network, or not at all.

    Args:
        network: what `settings` returns.
        file: the file to write; an existing one is replaced only after the check.
        format: ``onnx``, ``torch-export`` or ``safetensors``.
        size: of the images that the file is made for, height first; 600x900 where it is not given.
        batch: images in a batch.
        dynamic: whether the file accepts images of other sizes.
        seed: of the random weights.
        weights: a checkpoint to load.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Raises:
        UsageError: where an argument is wrong, the network has no settings, or the input does not fit the memory.
        CheckError: where the file fails its check.
        MnfpnError: where a package is not installed, or a file cannot be read or written.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import tempfile
        >>> small = mnfpn.settings(overrides={"width_mult": 0.35, "pyramid.channels": 8})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     document = mnfpn.export(small, f"{folder}/net.safetensors", "safetensors", size="64x96")
        >>> document.format, len(document.checks)
        ('safetensors', 1)
    """
    check_flags(dynamic=dynamic)
    origin = origin_of(network, checkpoint_of(weights, weights_key, weights_partial))
    if not isinstance(origin, FromSettings):
        raise UsageError(Problem("network", "must be what settings() returns: only that can be written", origin.name))
    path, form = Path(file_name("file", file)), choice("format", format, FORMATS)
    check_replaceable("file", path, form)
    images, seed = whole_number("batch", batch, 1, MAX_BATCH), whole_number("seed", seed, 0, MAX_SEED)
    text = None if size is None else size_text(size)
    ((planned, input),) = planned_cases(origin.settings, [text], images, origin.weights)
    if dynamic:
        check_dynamic(planned.settings, form)
    with reporting(progress) as report:
        report("loading torch", 0.0)
        import_packages(form)
        from mnfpn_cli.export.export import write_network

        try:
            return write_network(planned, input, seed, form, path, dynamic, report)
        except MnfpnError as error:
            if any(problem.where == "`output`" for problem in error.problems):
                raise error.at("file") from None
            raise
