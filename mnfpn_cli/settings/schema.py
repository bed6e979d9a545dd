"""The JSON Schema of a settings file, for editors that complete and check as one types."""

from typing import Any

from pydantic import TypeAdapter

from mnfpn_cli.settings.files import ANNOTATIONS
from mnfpn_cli.settings.network import NetworkSettings, Stages


def settings_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what ``--config`` reads: whole settings, or only a list of stages."""
    schema: dict[str, Any] = TypeAdapter(NetworkSettings | Stages).json_schema()
    properties = schema["$defs"]["NetworkSettings"]["properties"]
    properties.update({key: {"type": "string"} for key in ANNOTATIONS})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mnfpn settings",
        **schema,
    }
