"""The JSON Schema of every document, and of a settings file: for editors, programs, and the README's table of keys."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from mnfpn_cli.settings.files import ANNOTATIONS
from mnfpn_cli.settings.network import NetworkSettings, Stages

DOCUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "shapes": "mnfpn_cli.documents.shapes:ShapesDocument",
        "audit": "mnfpn_cli.documents.audit:AuditDocument",
        "sweep": "mnfpn_cli.documents.sweep:SweepDocument",
        "runs": "mnfpn_cli.documents.runs:RunsDocument",
        "report": "mnfpn_cli.documents.report:ReportDocument",
        "recommend": "mnfpn_cli.documents.recommend:RecommendDocument",
    }
)
"""The model of each document, which is imported where it is asked for."""

NAMES = (*DOCUMENTS, "settings")
"""What has a schema."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(name: str) -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a document: one of ``NAMES``."""
    if name == "settings":
        return _settings_schema()
    module, _, model = DOCUMENTS[name].partition(":")
    made: dict[str, Any] = TypeAdapter(getattr(import_module(module), model)).json_schema(mode="serialization")
    return {"$schema": DIALECT, **made, "title": f"mnfpn {name}"}


def _settings_schema() -> dict[str, Any]:
    """What ``--config`` reads: whole settings, or only a list of stages."""
    made: dict[str, Any] = TypeAdapter(NetworkSettings | Stages).json_schema()
    properties = made["$defs"]["NetworkSettings"]["properties"]
    properties.update({key: {"type": "string"} for key in ANNOTATIONS})
    return {"$schema": DIALECT, "title": "mnfpn settings", **made}


def keys(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk the keys of a document in order, as ``results[].levels[].stride``, each with its part of the schema.

    Settings are one key: their own are those of a settings file.
    """
    whole = schema(name)
    yield from _keys(whole, whole["$defs"], "")


def _keys(
    part: Mapping[str, Any], definitions: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in _parts(part, definitions):
        if one.get("title") == "NetworkSettings":
            continue
        if "items" in one:
            yield from _keys(one["items"], definitions, f"{path}[]")
        for key, value in one.get("properties", {}).items():
            here = f"{path}.{key}".removeprefix(".")
            yield here, value
            yield from _keys(value, definitions, here)


def _parts(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schemas that a value may be of, references followed."""
    if "$ref" in part:
        yield from _parts(definitions[part["$ref"].removeprefix("#/$defs/")], definitions)
    for kind in ("anyOf", "oneOf"):
        for one in part.get(kind, ()):
            yield from _parts(one, definitions)
    if part.get("type") in ("object", "array"):
        yield part
