"""Validate every document that a command prints in a test against its JSON Schema."""

import json
from functools import cache

import jsonschema

from mnfpn_cli.documents.schema import DOCUMENTS, document_name, schema


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return the validator of a document."""
    return jsonschema.Draft202012Validator(schema(name))


def check_document(printed: str) -> None:
    """Validate the output of a command, if it is a document."""
    if not printed.startswith("{"):
        return
    document = json.loads(printed)
    if "command" in document:
        name = document_name(document["command"])
        assert name in DOCUMENTS, f"no schema describes the documents of mnfpn {document['command']}"
        validator(name).validate(document)
