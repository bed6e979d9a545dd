"""Documents held against their own schema: every one that a test makes a command print."""

import json
from functools import cache

import jsonschema

from mnfpn_cli.documents.schema import DOCUMENTS, schema


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Make the validator of a document."""
    return jsonschema.Draft202012Validator(schema(name))


def check_document(printed: str) -> None:
    """Hold what a command printed against the schema of its document, if it is one."""
    if not printed.startswith("{"):
        return
    found = json.loads(printed)
    name = str(found.get("command")).partition(" ")[0]
    if name in DOCUMENTS:
        validator(name).validate(found)
