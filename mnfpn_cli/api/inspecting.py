"""Inspect a network: the maps that it returns, its layers, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import (
    FileName,
    Sides,
    Sizes,
    check_flags,
    checkpoint_of,
    choice,
    origin_of,
    size_texts,
    whole_number,
    workloads_of,
)
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import FromSettings, all_passes
from mnfpn_cli.settings.input import DEFAULT_DTYPE, ITEM_BYTES, MAX_BATCH, DType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.api.arguments import ForwardPass, NetworkArgument
    from mnfpn_cli.audit.allow import Allowance
    from mnfpn_cli.documents.audit import AuditDocument
    from mnfpn_cli.documents.shapes import ShapesDocument
    from mnfpn_cli.documents.summary import SummaryDocument
    from mnfpn_cli.external.origin import Workload
    from mnfpn_cli.weights.file import WeightsFile


def shapes(
    network: NetworkArgument,
    size: Sizes | None = None,
    *,
    inputs: ForwardPass | None = None,
    batch: int | None = None,
    dtype: DType | None = None,
    verify: bool = False,
    weights: FileName | None = None,
    weights_key: str | None = None,
    weights_partial: str | None = None,
) -> ShapesDocument:
    """Return the output feature maps: level, stride, shape, bytes.

    Those of a network from settings follow from its plan, without torch. A module is traced: it computes nothing where
    that is possible, and is exactly as before afterwards.

    Args:
        network: settings, an ``nn.Module``, or a target as text.
        size: of the images, height first, or a list of sizes; 600x900 for a network from settings.
        inputs: the inputs of one forward of a module, instead of images of a size.
        batch: images in a batch; 1 where it is not given.
        dtype: the element type that the bytes of a network from settings are counted in; float32 where it is not given.
        verify: whether to run the real network too, and compare; for a network from settings.
        weights: a checkpoint whose fit is checked; for a network from settings.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.

    Raises:
        UsageError: where an argument is wrong, or the network cannot take the size.
        CheckError: where the real network differs from its plan.
        MnfpnError: where the code of a module fails, or returns no tensors.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> document = mnfpn.shapes(mnfpn.settings(), ["600x900", 320])
        >>> [(level.name, level.height, level.width) for level in document.results[1].levels]
        [('p2', 80, 80), ('p3', 40, 40), ('p4', 20, 20), ('p5', 10, 10)]
    """
    check_flags(verify=verify)
    origin = origin_of(network, checkpoint_of(weights, weights_key, weights_partial))
    passes = [] if inputs is None else [inputs]
    if isinstance(origin, FromSettings):
        from mnfpn_cli.measure.shapes import planned_shapes

        if passes:
            raise UsageError(Problem("inputs", "must be left out for a network from settings, which takes `size`"))
        images = 1 if batch is None else whole_number("batch", batch, 1, MAX_BATCH)
        counted = choice("dtype", DEFAULT_DTYPE if dtype is None else dtype, tuple(ITEM_BYTES))
        return planned_shapes(origin.settings, size_texts(size), images, counted, verify, origin.weights)
    if verify or dtype is not None:
        given = "`verify`" if verify else "`dtype`"
        raise UsageError(Problem(given, "must be left out for a network without settings, which runs unchanged"))
    workloads = workloads_of(origin, "inputs", passes, size, batch)
    from mnfpn_cli.measure.shapes import observed_shapes

    return observed_shapes(workloads)


def summary(
    network: NetworkArgument,
    inputs: ForwardPass | None = None,
    *,
    size: Sides | None = None,
    counts: bool = False,
    audit: bool = True,
    weights: FileName | None = None,
    weights_key: str | None = None,
    weights_partial: str | None = None,
) -> SummaryDocument:
    """Return every layer of a network with its shapes, parameters and MACs, and what an audit finds.

    Args:
        network: settings, an ``nn.Module``, or a target as text. A module is exactly as before afterwards.
        inputs: the inputs of one forward of a module, instead of an image of a size.
        size: of an image, height first; 600x900 for a network from settings.
        counts: whether to count all operations, and to ask the other counters that are installed.
        audit: whether to look for mistakes too.
        weights: a checkpoint whose fit is checked; for a network from settings.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.

    Raises:
        UsageError: where an argument is wrong, or the network cannot take the size.
        MnfpnError: where the code of a module fails, or returns no tensors.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> from torch import nn
        >>> document = mnfpn.summary(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), size="32x32")
        >>> document.totals.parameters, document.totals.macs
        (224, 194400)
        >>> [row.path for row in document.layers]
        ['', '0', '1']
    """
    check_flags(counts=counts, audit=audit)
    checkpoint = checkpoint_of(weights, weights_key, weights_partial)
    workload = _one_workload(network, "inputs", [] if inputs is None else [inputs], size, checkpoint)
    from mnfpn_cli.audit.audit import inspect_workload, summary_document
    from mnfpn_cli.audit.counters import counts_record

    found = inspect_workload(workload, audited=audit)
    document = summary_document(workload, found)
    return document.model_copy(update={"counts": counts_record(found.trace)}) if counts else document


def audit(
    network: NetworkArgument,
    *passes: ForwardPass,
    size: Sizes | None = None,
    weights: FileName | None = None,
    weights_key: str | None = None,
    weights_partial: str | None = None,
    allow: Sequence[str] = (),
) -> AuditDocument:
    """Check layers and pyramid for mistakes.

    Every layer must be registered, called, trained and counted; every level must have its stride. Findings are over all
    passes: a layer that one of several calls is called.

    Args:
        network: settings, an ``nn.Module``, or a target as text. A module is exactly as before afterwards.
        passes: the inputs of each forward of a module: a tensor, a tuple of tensors, or shapes as text.
        size: of an image, or a list of sizes, instead of passes; 600x900 for a network from settings.
        weights: a checkpoint whose fit is checked; for a network from settings.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.
        allow: findings that are allowed, as ``shared:head.*``: the kind and a glob of paths.

    Raises:
        UsageError: where an argument is wrong, or the network cannot take the size.
        MnfpnError: where the code of a module fails, or returns no tensors.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import torch
        >>> from torch import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.stem = nn.Conv2d(3, 8, 3)
        ...         self.unused = nn.Conv2d(8, 8, 3)
        ...     def forward(self, x):
        ...         return self.stem(x)
        >>> [(finding.kind, finding.paths) for finding in mnfpn.audit(Net(), torch.rand(1, 3, 64, 64)).findings]
        [('never_called', ('unused',))]
    """
    from mnfpn_cli.audit.allow import parse_allowances

    checkpoint = checkpoint_of(weights, weights_key, weights_partial)
    return audited(network, passes, size, checkpoint, parse_allowances(allow))


def audited(
    network: NetworkArgument,
    passes: Sequence[ForwardPass],
    size: Sizes | None,
    weights: WeightsFile | None,
    allowances: Sequence[Allowance],
) -> AuditDocument:
    """Do what `audit` says, with allowances that are parsed.

    Raises:
        UsageError: as `audit`.
        MnfpnError: as `audit`.
    """
    workloads = workloads_of(origin_of(network, weights), "passes", passes, size)
    if any(one.origin != workloads[0].origin for one in workloads):
        raise UsageError(Problem("`size`", "must be one for a network that is made for one size"))
    workload = all_passes(workloads)
    from mnfpn_cli.audit.allow import allow_findings
    from mnfpn_cli.audit.audit import audit_document, inspect_workload

    return allow_findings(audit_document(workload, inspect_workload(workload)), allowances)


def _one_workload(
    network: NetworkArgument,
    where: str,
    passes: Sequence[ForwardPass],
    size: Sides | None,
    weights: WeightsFile | None,
) -> Workload:
    """Return the only workload of a network.

    Raises:
        UsageError: where there are several passes or sizes, or an argument is wrong.
    """
    workloads = workloads_of(origin_of(network, weights), where, passes, size)
    if len(workloads) > 1:
        several = where if passes else "size"
        raise UsageError(Problem(f"`{several}`", "must be one", f"{len(workloads)}"))
    return workloads[0]
