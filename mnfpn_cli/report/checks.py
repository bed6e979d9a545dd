"""The result of an audit in the forms of pipelines: workflow commands of GitHub, SARIF, and JUnit XML.

* Workflow commands: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
* SARIF: the standard 2.1.0 of OASIS, https://docs.oasis-open.org/sarif/sarif/v2.1.0/
* JUnit: no standard; test cases, failures and skipped tests are as most readers take them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from mnfpn_cli import __version__
from mnfpn_cli.documents.audit import CHECKS
from mnfpn_cli.documents.base import to_json
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.report.terminal.audit import finding_paths, kind_name
from mnfpn_cli.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnfpn_cli.documents.audit import AuditDocument, Check, Finding, FindingKind

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def finding_text(finding: Finding) -> str:
    """Return a finding in one line: its paths, the message, and the remedy."""
    return printable(f"{finding_paths(finding)}: {finding.message}. Remedy: {finding.remedy}.")


def github_commands(document: AuditDocument) -> str:
    """Return a workflow command for each finding, which GitHub shows at its line of a pull request."""
    return "".join(f"{_command(finding)}\n" for finding in document.findings)


def _command(finding: Finding) -> str:
    place = finding.location
    properties = {"file": place.file, "line": str(place.line)} if place else {}
    properties["title"] = f"mnfpn audit: {kind_name(finding)}"
    return workflow_command("error", properties, finding_text(finding))


def workflow_command(level: Literal["error", "warning", "notice"], properties: Mapping[str, str], text: str) -> str:
    """Return a command that shows a text in a pull request and in the summary of a run."""
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {listed}::{_data(text)}"


def _data(text: str) -> str:
    """Escape the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property of a workflow command."""
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")


def sarif_json(document: AuditDocument) -> str:
    """Return findings as a log of SARIF 2.1.0, with a rule for each kind; what is allowed is a suppressed result."""
    driver = {
        "name": "mnfpn",
        "version": __version__,
        "rules": [_rule(kind, check) for kind, check in CHECKS.items()],
    }
    results = [_result(one) for one in document.findings]
    results += [_result(one) | {"suppressions": [{"kind": "external"}]} for one in document.allowed]
    log = {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
    return to_json(log)


def _rule(kind: FindingKind, check: Check) -> dict[str, Any]:
    return {
        "id": kind,
        "shortDescription": {"text": check.mistake},
        "help": {"text": check.remedy},
        "defaultConfiguration": {"level": "error"},
    }


def _result(finding: Finding) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": path} for path in finding.paths if path]}
    if finding.location:
        place = finding.location
        location["physicalLocation"] = {
            "artifactLocation": {"uri": quote(os.fsencode(place.file)), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": place.line},
        }
    return {
        "ruleId": finding.kind,
        "ruleIndex": list(CHECKS).index(finding.kind),
        "level": "error",
        "message": {"text": finding_text(finding)},
        "locations": [location],
    }


def junit_xml(document: AuditDocument) -> str:
    """Return a test case for each kind of finding: failed, skipped where all its findings are allowed, or passed."""
    kinds = {finding.kind for finding in document.findings}
    skipped = {finding.kind for finding in document.allowed} - kinds
    totals = f'tests="{len(CHECKS)}" failures="{len(kinds)}" errors="0" skipped="{len(skipped)}"'
    name = document.model.target if document.model else FromSettings.name
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<testsuites {totals}>",
        f'<testsuite name="mnfpn audit" {totals}>',
        *(line for kind in CHECKS for line in _test_case(kind, printable(name), document)),
        "</testsuite>",
        "</testsuites>",
    ]
    return "".join(f"{line}\n" for line in lines)


def _test_case(kind: FindingKind, network: str, document: AuditDocument) -> Iterator[str]:
    failed = [one for one in document.findings if one.kind == kind]
    allowed = [one for one in document.allowed if one.kind == kind]
    opening = f"<testcase classname={quoteattr(network)} name={quoteattr(kind)}"
    if not failed and not allowed:
        yield f"{opening}/>"
        return
    yield f"{opening}>"
    if failed:
        yield f'<failure type="{kind}" message="{counted(len(failed), "finding")}">{_lines(failed)}</failure>'
    else:
        yield f'<skipped message="{counted(len(allowed), "allowed finding")}"/>'
    yield "</testcase>"


def _lines(findings: Sequence[Finding]) -> str:
    """Return the text of findings for XML, a line for each, with its location where it has one."""
    places = [f"{one.location.file}:{one.location.line}: " if one.location else "" for one in findings]
    return escape("\n".join(printable(place) + finding_text(one) for place, one in zip(places, findings, strict=True)))
