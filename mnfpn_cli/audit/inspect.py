"""The whole of an inspection: a network built, its passes, its audit, and its levels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mnfpn_cli.audit.audit import audit
from mnfpn_cli.audit.levels import Levels, observe_levels
from mnfpn_cli.audit.pyramid import pyramid_findings, pyramid_notes
from mnfpn_cli.documents.audit import Audit, AuditDocument, ObservedLevel
from mnfpn_cli.external.inputs import Subject
from mnfpn_cli.external.load import check_arguments, load_model
from mnfpn_cli.network.build import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.trace.facts import Facts, look
from mnfpn_cli.trace.passes import Input

SEED = 0
"""Of random weights: what a detector finds, and so computes, depends on them."""


def build_subject(subject: Subject) -> nn.Module:
    """The network, on the meta device where its settings say all, else as the code of others makes it.

    Raises:
        UsageError: where a target is none, or takes other inputs.
        ModelError: where its code fails.
    """
    if subject.settings is not None:
        return build_meta(plan_network(subject.settings))
    assert subject.target is not None
    network = load_model(subject.target, SEED)
    check_arguments(network, len(subject.inputs))
    return network


def inputs_of(subject: Subject) -> tuple[Input, ...]:
    """The inputs as torch has them."""
    return tuple(Input(one.shape, getattr(torch, one.dtype) if one.dtype else None) for one in subject.inputs)


def names_of(network: nn.Module, subject: Subject) -> tuple[str, ...]:
    """The names of what comes out, where the settings give some."""
    return tuple(str(name) for name in network.outputs) if subject.settings is not None else ()  # type: ignore[union-attr]


@dataclass(frozen=True)
class Inspection:
    """What is known of a network; ``audit`` is None where none was asked for; ``pyramids`` are maps that come out."""

    facts: Facts
    audit: Audit | None
    pyramids: tuple[Levels, ...]


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


def inspect_subject(subject: Subject, audited: bool = True) -> tuple[nn.Module, Inspection]:
    """Build what a command looks at, and inspect it.

    Raises:
        UsageError: where a target is none, or takes other inputs.
        MnfpnError: where the network fails, or returns no tensors.
    """
    network = build_subject(subject)
    return network, inspect_network(network, inputs_of(subject), names_of(network, subject), audited)


def audit_document(subject: Subject, found: Inspection) -> AuditDocument:
    """Make the document of an inspection that was audited."""
    assert found.audit is not None
    return AuditDocument(
        settings=subject.settings,
        model=subject.model,
        levels=level_records(found.pyramids),
        **{name: getattr(found.audit, name) for name in Audit.model_fields},
    )


def level_records(pyramids: Sequence[Levels]) -> tuple[ObservedLevel, ...] | None:
    """Give the maps of all pyramids; None where there are none."""
    return tuple(level.record() for one in pyramids for level in one.levels) or None
