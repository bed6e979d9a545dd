"""Validate every document that a command prints in a test against its JSON Schema."""

import json
from functools import cache

import jsonschema

from mnfpn_cli.documents.schema import DOCUMENTS, schema


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return the validator of a document."""
    return jsonschema.Draft202012Validator(schema(name))


def check_document(printed: str) -> None:
    """Validate the output of a command, if it is a document."""
    if not printed.startswith("{"):
        return
    document = json.loads(printed)
    name = str(document.get("command")).partition(" ")[0]
    if name in DOCUMENTS:
        validator(name).validate(document)
