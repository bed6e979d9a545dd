"""The schemas of documents: complete, in words, with units."""

from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from mnfpn_cli.documents.schema import DOCUMENTS, NAMES, keys, schema
from tests.conftest import Mnfpn
from tests.documents.validated import check_document


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_schema(mnfpn: Mnfpn, name: str) -> None:
    """By the rules of JSON Schema; the command prints it."""
    jsonschema.Draft202012Validator.check_schema(schema(name))
    outcome = mnfpn("schema", name)
    assert (outcome.code, outcome.err) == (0, "")
    assert f'"title": "mnfpn {name}"' in outcome.out


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_key_is_described_and_every_number_has_a_unit(name: str) -> None:
    """In a sentence that ends with a full stop."""
    for key, value in keys(name):
        if key in ("settings", "model.arguments"):
            continue
        assert value.get("description", "").endswith("."), key
        for number in numbers(value):
            assert "unit" in value or "unit" in number, key


def numbers(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The numbers that a value may be, lists of them included."""
    inner = [*part.get("anyOf", ()), *part.get("prefixItems", ())]
    inner += [part["items"]] if isinstance(part.get("items"), dict) else []
    return [part] * (part.get("type") in ("number", "integer")) + [one for each in inner for one in numbers(each)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_envelope_comes_first(name: str) -> None:
    """The same on all documents."""
    first = [key for key, _ in keys(name) if "." not in key][:5]
    assert first == ["format_version", "mnfpn_version", "command", "settings", "model"]


def test_an_unknown_document_names_the_nearest(mnfpn: Mnfpn) -> None:
    """Wrong usage."""
    outcome = mnfpn("schema", "shape")
    assert outcome.code == 2
    assert outcome.err.startswith("error: DOCUMENT: must be one of shapes, ")
    assert outcome.err.endswith("got 'shape'; did you mean 'shapes'?\n")


def test_what_breaks_a_schema_is_found() -> None:
    """The check of all tests' documents can fail."""
    with pytest.raises(jsonschema.ValidationError):
        check_document('{"command": "shapes"}')


def test_a_document_that_no_schema_describes_is_found() -> None:
    """So is a command whose document has none."""
    with pytest.raises(AssertionError, match="no schema describes the documents of mnfpn nonsense"):
        check_document('{"command": "nonsense"}')


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *((f"runs {word}", "runs") for word in ("list", "show", "export", "merge", "prune")),
        ("settings presets", "presets"),
        *((f"worker {word}", "worker") for word in ("request", "response")),
    ],
)
def test_a_form_of_a_document_is_known_by_its_command(mnfpn: Mnfpn, command: str, name: str) -> None:
    """As the document itself has it."""
    assert mnfpn("schema", command) == mnfpn("schema", name)
    assert mnfpn("schema", command).code == 0
    assert mnfpn("schema", "runs", "list").code == 2
    assert mnfpn("schema", "runs lists").code == 2
