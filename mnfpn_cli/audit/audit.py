"""Inspect a network: build it, trace it, find what is wrong with it, and make the documents of audit and summary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import nn

from mnfpn_cli.accuracy.accuracy import accuracy_of
from mnfpn_cli.audit.branches import find_branches
from mnfpn_cli.audit.locate import located
from mnfpn_cli.audit.pyramid import pyramid_findings, pyramid_notes
from mnfpn_cli.audit.registration import miscounted, never_called, parameter_counts, shared, without_gradient
from mnfpn_cli.audit.strides import ObservedLevels, observe_levels
from mnfpn_cli.audit.training import judge_training, training_notes
from mnfpn_cli.audit.tree import layer_tree
from mnfpn_cli.audit.unregistered import constants, unregistered
from mnfpn_cli.documents.audit import Audit, AuditDocument, Finding, ObservedLevel, ParameterCounts
from mnfpn_cli.documents.records import ImageInput, ScoreRecord, WeightsRecord
from mnfpn_cli.documents.summary import InferenceMemory, LayerRecord, Registration, SummaryDocument, Totals
from mnfpn_cli.external.guard import exclusive
from mnfpn_cli.external.load import check_arguments
from mnfpn_cli.external.origin import Workload
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.settings.input import Size
from mnfpn_cli.trace.passes import MODES, Input, pass_notes
from mnfpn_cli.trace.trace import Trace, has_forward, has_parameters, original, trace_network


@dataclass(frozen=True)
class Inspection:
    """What is known of a network.

    Attributes:
        trace: what its passes showed.
        audit: what is wrong with it; None where that was not asked for.
        pyramids: the groups of maps that the first pass returns; none where `audit` is None.
        weights: how its checkpoint fits; None without a checkpoint.
    """

    trace: Trace
    audit: Audit | None
    pyramids: tuple[ObservedLevels, ...]
    weights: WeightsRecord | None = None


def inspect_workload(workload: Workload, audited: bool = True) -> Inspection:
    """Build the network of a workload and inspect it.

    Raises:
        UsageError: where the target does not name a network, or takes other inputs, or a checkpoint does not fit.
        MnfpnError: where the network fails, or returns no tensors.
    """
    network, weights = build_workload(workload), workload.origin.fit()
    passes = [pass_inputs(specs) for specs in workload.passes]
    return replace(inspect_network(network, passes, workload.origin.outputs, audited), weights=weights)


def build_workload(workload: Workload) -> nn.Module:
    """Build the network of a workload for a trace, and check that its forward takes the inputs.

    Raises:
        UsageError: where the target does not name a network, or takes other inputs.
        ModelError: where the code of the network fails.
    """
    network = workload.origin.build_to_trace()
    for specs in workload.passes:
        check_arguments(original(network), len(specs))
    return network


def pass_inputs(specs: Sequence[InputSpec]) -> tuple[Input, ...]:
    """Return the inputs of a pass with dtypes of torch."""
    return tuple(Input(spec.shape, getattr(torch, spec.dtype) if spec.dtype else None, spec.value) for spec in specs)


def inspect_network(
    network: nn.Module, passes: Sequence[Sequence[Input]], names: Sequence[str] = (), audited: bool = True
) -> Inspection:
    """Trace a network and audit it, its pyramids included; the network is left unchanged.

    Args:
        network: the network.
        passes: the inputs of each pass; findings are over all of them.
        names: names of the outputs, which replace those that they have by key or position.
        audited: whether to audit it.

    Raises:
        MnfpnError: where the network fails, or returns no tensors.
    """
    with exclusive():
        trace = trace_network(network, *passes, gradients=audited)
        if not audited:
            return Inspection(trace, None, ())
        pyramids = [observe_levels(replace(trace, passes=(one,)), names) for one in trace.passes]
        every = tuple(levels for one in pyramids for levels in one)
        return Inspection(trace, audit(trace, every), pyramids[0])


def audit(trace: Trace, pyramids: Sequence[ObservedLevels]) -> Audit:
    """Return what is wrong with a traced network, and with the pyramids that it returns."""
    training = judge_training(trace)
    branches = find_branches(trace, training.idle)
    findings = (
        *unregistered(trace),
        *shared(trace),
        *never_called(trace, training, branches),
        *without_gradient(trace, training),
        *miscounted(trace),
        *_pyramid_findings(pyramids),
    )
    notes = (
        *training_notes(trace, training),
        *_trace_notes(trace),
        *(note for levels in pyramids for note in pyramid_notes(levels)),
    )
    called, registered = trace.registration
    rows, parameters, state_dict = parameter_counts(trace)
    return Audit(
        clean=not findings,
        mode=max((one.mode for one in trace.passes), key=MODES.index),
        called=called,
        registered=registered,
        idle=_idle_without_parameters(trace),
        parameters=ParameterCounts(rows=rows, parameters=parameters, state_dict=state_dict),
        findings=located(trace.network, findings),
        notes=tuple(dict.fromkeys(notes)),
    )


def _pyramid_findings(pyramids: Sequence[ObservedLevels]) -> tuple[Finding, ...]:
    """Return what is wrong with pyramids; what is wrong in several passes is one finding."""
    unique: dict[tuple[object, ...], Finding] = {}
    for finding in chain.from_iterable(map(pyramid_findings, pyramids)):
        unique.setdefault((finding.kind, finding.paths, finding.remedy), finding)
    return tuple(unique.values())


def _idle_without_parameters(trace: Trace) -> int:
    """Return the number of modules that took no part and have no parameters: they do no harm."""
    idle = (module for module in trace.network.modules() if has_forward(module) and module not in trace.in_use)
    return sum(not has_parameters(module) for module in idle)


def _trace_notes(trace: Trace) -> Iterator[str]:
    """Yield what is worth knowing of a trace, and not wrong."""
    for failure in trace.gradient_failures:
        yield f"Gradients could not be followed: {failure.rstrip('.')}."
    yield from trace.gradients.failures if trace.gradients else ()
    loose = constants(trace)
    if loose:
        yield f"Constants that no state dict has and no .to(device) moves: {', '.join(loose)}; register_buffer does."
    for one in trace.passes:
        yield from pass_notes(one)
        if one.uncounted:
            yield f"Not counted in MACs: {', '.join(one.uncounted)}."


def audit_document(workload: Workload, inspection: Inspection) -> AuditDocument:
    """Return the document of `mnfpn audit`; the inspection must have an audit."""
    assert inspection.audit is not None
    return AuditDocument(
        settings=workload.origin.settings,
        model=workload.origin.model,
        inputs=tuple(one.record() for one in workload.specs),
        other_passes=tuple(tuple(one.record() for one in specs) for specs in workload.passes[1:]),
        levels=level_records(inspection.pyramids),
        weights=inspection.weights,
        **dict(inspection.audit),
    )


def summary_document(workload: Workload, inspection: Inspection) -> SummaryDocument:
    """Return the document of `mnfpn summary`, with every layer and without counts."""
    tree = layer_tree(inspection.trace)
    return SummaryDocument(
        settings=workload.origin.settings,
        model=workload.origin.model,
        input=_image_input(workload.specs),
        inputs=tuple(spec.record() for spec in workload.specs),
        totals=_totals(tree.rows),
        memory=InferenceMemory(model_bytes=tree.state_bytes, activation_bytes=tree.peak_bytes),
        accuracy=_accuracy(workload),
        registration=Registration(called=tree.called, registered=tree.registered, same=tree.same),
        layers=tree.rows,
        counts=None,
        audit=inspection.audit,
        levels=level_records(inspection.pyramids),
        weights=inspection.weights,
    )


def _accuracy(workload: Workload) -> ScoreRecord | None:
    """Return the accuracy that is known of a network from settings, at the size of its images."""
    settings, image = workload.origin.settings, _image_input(workload.specs)
    return accuracy_of(settings, Size(image.height, image.width)) if settings and image else None


def _totals(layers: Sequence[LayerRecord]) -> Totals:
    """Return the totals of all layers, of which the first is the network itself."""
    network = layers[0]
    return Totals(
        parameters=network.parameters,
        macs=network.macs,
        type=network.type,
        output_shape=network.output_shape,
        leaves=sum(row.leaf for row in layers),
        depth=max(row.depth for row in layers),
    )


def level_records(pyramids: Sequence[ObservedLevels]) -> tuple[ObservedLevel, ...] | None:
    """Return the maps of all pyramids; None where there are none."""
    return tuple(level.record() for levels in pyramids for level in levels.levels) or None


def _image_input(inputs: Sequence[InputSpec]) -> ImageInput | None:
    """Return the batch of images that a network takes; None where it takes anything else."""
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return None
    batch, channels, height, width = inputs[0].shape
    return ImageInput(batch=batch, channels=channels, height=height, width=width)
