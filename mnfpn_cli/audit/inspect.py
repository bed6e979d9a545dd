"""The whole of an inspection: a network built, its passes, its audit, and its levels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from mnfpn_cli.audit.audit import audit
from mnfpn_cli.audit.levels import ObservedLevels, observe_levels
from mnfpn_cli.audit.pyramid import pyramid_findings, pyramid_notes
from mnfpn_cli.audit.tree import LayerRow, LayerTree
from mnfpn_cli.documents.audit import Audit, AuditDocument, ObservedLevel
from mnfpn_cli.documents.inputs import ImageInput, WeightsRecord
from mnfpn_cli.documents.summary import CountsRecord, InferenceMemory, Registration, SummaryDocument, Totals
from mnfpn_cli.external.load import check_arguments
from mnfpn_cli.external.origin import Subject
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.trace.facts import Facts, look
from mnfpn_cli.trace.passes import Input


def build_subject(subject: Subject) -> nn.Module:
    """Build the network for a trace, and make sure that a pass takes its inputs.

    Raises:
        UsageError: where a target is none, or takes other inputs.
        ModelError: where its code fails.
    """
    network = subject.origin.build_to_trace()
    check_arguments(network, len(subject.specs))
    return network


def inputs_of(subject: Subject) -> tuple[Input, ...]:
    """The inputs as torch has them."""
    return tuple(Input(one.shape, getattr(torch, one.dtype) if one.dtype else None) for one in subject.specs)


@dataclass(frozen=True)
class Inspection:
    """What is known of a network.

    Attributes:
        facts: what was seen in its passes.
        audit: what is wrong with it; None where that was not asked for.
        pyramids: the maps that come out.
        weights: how its checkpoint fits; None where it has none.
    """

    facts: Facts
    audit: Audit | None
    pyramids: tuple[ObservedLevels, ...]
    weights: WeightsRecord | None = None


def inspect_network(
    network: nn.Module, inputs: Sequence[Input], names: Sequence[str] = (), audited: bool = True
) -> Inspection:
    """Run a network, and say what is in it and what is wrong with it. It is left as it was.

    ``names``: of its outputs, where they have none of their own.

    Raises:
        MnfpnError: where it fails, or returns no tensors.
    """
    facts = look(network, inputs, gradients=audited)
    if not audited:
        return Inspection(facts, None, ())
    judged, pyramids = audit(facts), observe_levels(facts, names)
    findings = (*judged.findings, *(finding for one in pyramids for finding in pyramid_findings(one)))
    notes = tuple(dict.fromkeys((*judged.notes, *(text for one in pyramids for text in pyramid_notes(one)))))
    judged = judged.model_copy(update={"clean": not findings, "findings": findings, "notes": notes})
    return Inspection(facts, judged, pyramids)


def inspect_subject(subject: Subject, audited: bool = True) -> Inspection:
    """Build what a command looks at, and inspect it.

    Raises:
        UsageError: where a target is none, or takes other inputs, or a checkpoint is of another network.
        MnfpnError: where the network fails, or returns no tensors.
    """
    network, weights = build_subject(subject), subject.origin.fit()
    found = inspect_network(network, inputs_of(subject), subject.origin.outputs, audited)
    return replace(found, weights=weights)


def audit_document(subject: Subject, found: Inspection) -> AuditDocument:
    """Make the document of an inspection that was audited."""
    assert found.audit is not None
    return AuditDocument(
        settings=subject.origin.settings,
        model=subject.origin.model,
        levels=level_records(found.pyramids),
        weights=found.weights,
        **dict(found.audit),
    )


def level_records(pyramids: Sequence[ObservedLevels]) -> tuple[ObservedLevel, ...] | None:
    """Give the maps of all pyramids; None where there are none."""
    return tuple(level.record() for one in pyramids for level in one.levels) or None


def summary_document(
    subject: Subject, found: Inspection, tree: LayerTree, layers: Sequence[LayerRow], counts: CountsRecord | None
) -> SummaryDocument:
    """Make the document of `mnfpn summary`; ``layers`` are those that were asked for."""
    network = tree.rows[0]
    return SummaryDocument(
        settings=subject.origin.settings,
        model=subject.origin.model,
        input=_images(subject.specs),
        inputs=tuple(one.record() for one in subject.specs),
        totals=Totals(parameters=network.parameters, macs=network.macs),
        memory=InferenceMemory(weights_bytes=tree.state_bytes, peak_activation_bytes=tree.peak_bytes),
        registration=Registration(called=tree.called, registered=tree.registered, same=tree.same),
        layers=tuple(row.record() for row in layers),
        counts=counts,
        audit=found.audit,
        levels=level_records(found.pyramids),
        weights=found.weights,
    )


def _images(inputs: Sequence[InputSpec]) -> ImageInput | None:
    """The one batch of images that a network takes; None where it takes something else."""
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return None
    batch, channels, height, width = inputs[0].shape
    return ImageInput(batch=batch, channels=channels, height=height, width=width)
