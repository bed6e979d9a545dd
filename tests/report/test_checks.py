"""The forms of an audit for pipelines, as their readers define them."""

import json
from typing import Any
from xml.etree import ElementTree

import jsonschema

from mnfpn_cli.documents.audit import CHECKS, AuditDocument, Finding, ParameterCounts, SourceLine
from mnfpn_cli.documents.base import Model
from mnfpn_cli.report.checks import github_commands, junit_xml, sarif_json

PLACE = SourceLine(file="models/a net,b.py", line=7)
SHARED = Finding(
    kind="shared",
    paths=("head.0", "head.1"),
    parameters=72,
    message="one Conv2d in 2 places: 100% of\nthe <head> & \x1b[1mmore",
    remedy="make 2 of them",
    location=PLACE,
)
IDLE = Finding(kind="never_called", paths=("aux",), parameters=9, message="never called", remedy="call it")

TEXT: dict[str, Any] = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
LOG: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string"},
        "version": {"enum": ["2.1.0"]},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "additionalProperties": False,
                                            "required": ["id"],
                                            "properties": {
                                                "id": {"type": "string"},
                                                "shortDescription": TEXT,
                                                "help": TEXT,
                                                "defaultConfiguration": {"type": "object"},
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["message"],
                            "properties": {
                                "ruleId": {"enum": list(CHECKS)},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": TEXT,
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "additionalProperties": False,
                                                "properties": {
                                                    "artifactLocation": {"type": "object"},
                                                    "region": {"type": "object"},
                                                },
                                            },
                                            "logicalLocations": {"type": "array", "uniqueItems": True},
                                        },
                                    },
                                },
                                "suppressions": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["kind"],
                                        "properties": {"kind": {"enum": ["inSource", "external"]}},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What the schema of SARIF 2.1.0 says of the parts that are written; the whole schema has 110 kB."""


def document(findings: tuple[Finding, ...] = (), allowed: tuple[Finding, ...] = ()) -> AuditDocument:
    """An audit with these findings."""
    return AuditDocument(
        settings=None,
        model=Model(target='net.py:<"Net">', arguments={}),
        inputs=(),
        other_passes=(),
        levels=None,
        weights=None,
        clean=not findings,
        mode="meta",
        called=1,
        registered=1,
        idle=0,
        parameters=ParameterCounts(rows=1, parameters=1, state_dict=1),
        findings=findings,
        allowed=allowed,
        notes=(),
    )


def test_a_finding_is_an_error_of_a_workflow_and_escaped_as_github_reads_it() -> None:
    """Per cent signs everywhere; colons and commas in properties alone; a command is one line."""
    first, second = github_commands(document((SHARED, IDLE))).splitlines()
    assert first == (
        "::error file=models/a net%2Cb.py,line=7,title=mnfpn audit%3A shared::head.0, head.1: one Conv2d in 2 places: "
        "100%25 of\\nthe <head> & \\x1b[1mmore. Remedy: make 2 of them."
    )
    assert second == "::error title=mnfpn audit%3A never called::aux: never called. Remedy: call it."


def test_what_is_allowed_is_no_command() -> None:
    """Nothing is printed for a clean network."""
    assert github_commands(document(allowed=(SHARED,))) == ""


def test_the_log_is_sarif() -> None:
    """Its parts are those of the schema, and each result has its rule, place and text."""
    log = json.loads(sarif_json(document((SHARED,), (IDLE,))))
    jsonschema.Draft202012Validator(LOG).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CHECKS)
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in rules)
    shared, idle = run["results"]
    assert rules[shared["ruleIndex"]]["id"] == shared["ruleId"] == "shared"
    assert shared["locations"] == [
        {
            "logicalLocations": [{"fullyQualifiedName": "head.0"}, {"fullyQualifiedName": "head.1"}],
            "physicalLocation": {
                "artifactLocation": {"uri": "models/a%20net%2Cb.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 7},
            },
        }
    ]
    assert "suppressions" not in shared
    assert idle["suppressions"] == [{"kind": "external"}]
    assert "physicalLocation" not in idle["locations"][0]


def test_junit_has_a_test_case_for_each_kind_of_check() -> None:
    """Failed, skipped where all is allowed, or passed; the text is escaped, and without controls, which XML forbids."""
    text = junit_xml(document((SHARED, SHARED), (IDLE, SHARED)))
    suites = ElementTree.fromstring(text.encode())
    (suite,) = suites
    assert suite.attrib == {"name": "mnfpn audit", "tests": "12", "failures": "1", "errors": "0", "skipped": "1"}
    cases = {case.attrib["name"]: case for case in suite}
    assert list(cases) == list(CHECKS)
    assert {case.attrib["classname"] for case in suite} == {'net.py:<"Net">'}
    (failure,) = cases["shared"]
    assert failure.attrib == {"type": "shared", "message": "2 findings"}
    assert (failure.text or "").splitlines() == 2 * [
        "models/a net,b.py:7: head.0, head.1: one Conv2d in 2 places: 100% of\\nthe <head> & \\x1b[1mmore. "
        "Remedy: make 2 of them."
    ]
    (skipped,) = cases["never_called"]
    assert skipped.attrib == {"message": "1 allowed finding"}
    assert not list(cases["order"])
