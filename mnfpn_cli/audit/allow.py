"""Allow findings by their kind and their paths: ``shared:head.*`` allows modules that are shared inside ``head``."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mnfpn_cli.documents.audit import CHECKS, Audit, Finding
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

ANY = "*"
"""Stands for every kind of finding."""

RULE = "must be KIND:PATH, as shared:head.*"

AuditOrDocument = TypeVar("AuditOrDocument", bound=Audit)


@dataclass(frozen=True, slots=True)
class Allowance:
    """Paths of findings of a kind that are allowed.

    Attributes:
        text: the allowance as it was written.
        kind: the kind of finding; `ANY` for all kinds.
        path: a glob, in which ``*`` stands for any characters and ``?`` for one; brackets stand for themselves.
        where: where the allowance was written, for messages.
    """

    text: str
    kind: str
    path: str
    where: str

    def matches(self, finding: Finding, path: str) -> bool:
        """Return whether a path of a finding is allowed; the ``self.`` of an expression may be left out."""
        pattern = re.escape(self.path).replace(r"\*", ".*").replace(r"\?", ".")
        names = (path, path.removeprefix("self."))
        return self.kind in (ANY, finding.kind) and any(re.fullmatch(pattern, name, re.DOTALL) for name in names)


def parse_allowances(texts: Sequence[str], where: str = "`allow`") -> tuple[Allowance, ...]:
    """Read allowances, each once.

    Args:
        texts: each as ``KIND:PATH``; words of a kind are joined by hyphens or underscores.
        where: where they were written, for messages.

    Raises:
        UsageError: where one is malformed, or its kind is unknown.
    """
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        raise UsageError(Problem(where, "must be a list of texts, as ['shared:head.*']", f"{texts!r:.60}"))
    return tuple(dict.fromkeys(_allowance(text, where) for text in texts))


def _allowance(text: str, where: str) -> Allowance:
    kind, colon, path = (part.strip() for part in text.partition(":"))
    if not colon or not kind or not path:
        raise UsageError(Problem(where, RULE, f"'{text}'"))
    name = kind.replace("-", "_")
    if name not in (ANY, *CHECKS):
        known = f"must begin with a kind of finding, {', '.join(CHECKS)}, or with {ANY}"
        raise UsageError(Problem(where, known, f"'{kind}'", did_you_mean(name, CHECKS)))
    return Allowance(text, name, path, where)


def allow_findings(audit: AuditOrDocument, allowances: Sequence[Allowance]) -> AuditOrDocument:
    """Move the findings that are allowed from ``findings`` to ``allowed``, and note what allows nothing.

    A finding is allowed where each of its paths is, whether by one allowance or by several; else it stays whole. So a
    module that is shared by ``head`` and ``neck`` is not allowed by ``shared:head.*``, which knows of the head alone.
    A miscount is allowed too where what is allowed explains all of it.
    """
    allowed = [finding for finding in audit.findings if all(_is_allowed(finding, allowances))]
    allowed += [one for one in audit.findings if one not in allowed and _is_explained(one, audit, allowed)]
    findings = tuple(finding for finding in audit.findings if finding not in allowed)
    notes = (*audit.notes, *_stale(audit.findings, findings, allowances))
    changed = {"clean": not findings, "findings": findings, "allowed": (*audit.allowed, *allowed), "notes": notes}
    return audit.model_copy(update=changed)


def _is_allowed(finding: Finding, allowances: Sequence[Allowance]) -> Iterator[bool]:
    """Yield for each path of a finding whether it is allowed."""
    for path in finding.paths:
        yield any(one.matches(finding, path) for one in allowances)


def _is_explained(finding: Finding, audit: Audit, allowed: Sequence[Finding]) -> bool:
    """Return whether a finding is a miscount that follows from allowed findings alone.

    What is unregistered is in the layers only; what is shared is in the state dict once for each of its places.
    """
    if finding.kind != "miscounted" or not allowed:
        return False
    stay = {one.kind for one in audit.findings if one not in allowed}
    counts = audit.parameters
    again = sum((len(one.paths) - 1) * one.parameters for one in allowed if one.kind == "shared")
    rows = counts.rows == counts.parameters or "unregistered" not in stay
    return rows and "shared" not in stay and counts.state_dict - counts.parameters == again


def _stale(before: Iterable[Finding], after: Sequence[Finding], allowances: Sequence[Allowance]) -> Iterator[str]:
    """Yield a note for each allowance that matches nothing, or only a part of a finding that stays."""
    findings = tuple(before)
    for one in allowances:
        matched = [finding for finding in findings if any(one.matches(finding, path) for path in finding.paths)]
        if not matched:
            yield f"{one.where} '{one.text}' matches no finding."
        for finding in matched:
            if finding in after:
                rest = [
                    path for path, ok in zip(finding.paths, _is_allowed(finding, allowances), strict=True) if not ok
                ]
                yield f"{one.where} '{one.text}' is not enough for a finding that also names {', '.join(rest)}."
