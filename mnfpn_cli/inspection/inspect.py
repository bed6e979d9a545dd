"""The whole of an inspection: rows, audit, and levels, from a handful of passes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from mnfpn_cli.inspection.audit import Audit, audit
from mnfpn_cli.inspection.facts import Facts, look
from mnfpn_cli.inspection.levels import Levels, observe_levels
from mnfpn_cli.inspection.passes import Input
from mnfpn_cli.inspection.pyramid import pyramid_findings, pyramid_notes
from mnfpn_cli.inspection.subjects import build_subject, inputs_of, names_of
from mnfpn_cli.models.subject import Subject


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
    judged = replace(
        judged,
        findings=(*judged.findings, *(finding for one in pyramids for finding in pyramid_findings(one))),
        notes=tuple(dict.fromkeys((*judged.notes, *(text for one in pyramids for text in pyramid_notes(one))))),
    )
    return Inspection(facts, judged, pyramids)


def inspect_subject(subject: Subject, audited: bool = True) -> tuple[nn.Module, Inspection]:
    """Build what a command looks at, and inspect it.

    Raises:
        UsageError: where a target is none, or takes other inputs.
        MnfpnError: where the network fails, or returns no tensors.
    """
    network = build_subject(subject)
    return network, inspect_network(network, inputs_of(subject), names_of(network, subject), audited)
