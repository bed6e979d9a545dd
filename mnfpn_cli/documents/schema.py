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
        "summary": "mnfpn_cli.documents.summary:SummaryDocument",
        "audit": "mnfpn_cli.documents.audit:AuditDocument",
        "bench": "mnfpn_cli.documents.bench:BenchDocument",
        "compare": "mnfpn_cli.documents.compare:CompareDocument",
        "export": "mnfpn_cli.documents.export:ExportDocument",
        "presets": "mnfpn_cli.documents.presets:PresetsDocument",
        "sweep": "mnfpn_cli.documents.sweep:SweepDocument",
        "runs": "mnfpn_cli.documents.runs:RunsDocument",
        "report": "mnfpn_cli.documents.report:ReportDocument",
        "recommend": "mnfpn_cli.documents.report:RecommendDocument",
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
    """What a settings file holds: whole settings, or only a list of stages."""
    made: dict[str, Any] = TypeAdapter(NetworkSettings | Stages).json_schema()
    properties = made["$defs"]["NetworkSettings"]["properties"]
    properties.update({key: {"type": "string", "description": what} for key, what in ANNOTATIONS.items()})
    return {"$schema": DIALECT, "title": "mnfpn settings", **made}


def document_of(command: str) -> str:
    """Name the document of a command, as ``runs`` of ``runs list``; what is no such command stays as it is."""
    name = command.partition(" ")[0]
    if name not in DOCUMENTS:
        return command
    whole = schema(name)
    forms = {form["properties"]["command"]["const"] for _, form in records(whole, whole["$defs"])}
    return name if command in forms else command


def keys(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk the keys of a document in order, as ``results[].levels[].stride``, each with its part of the schema.

    Settings are one key: their own are those of a settings file.
    """
    whole = schema(name)
    yield from _keys(whole, whole["$defs"], "")


def _keys(
    part: Mapping[str, Any], definitions: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for place, record in records(part, definitions, path):
        for key, value in record["properties"].items():
            here = f"{place}.{key}".removeprefix(".")
            yield here, value
            yield from _keys(value, definitions, here)


def records(
    part: Mapping[str, Any], definitions: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the records that a value may hold, each with its path: ``[]`` stands for a list, ``.*`` for any key.

    Settings are none: they are a value.
    """
    if "$ref" in part:
        yield from records(definitions[part["$ref"].removeprefix("#/$defs/")], definitions, path)
    for kind in ("anyOf", "oneOf"):
        for one in part.get(kind, ()):
            yield from records(one, definitions, path)
    for one in (part.get("items"), *part.get("prefixItems", ())):
        if isinstance(one, Mapping):
            yield from records(one, definitions, f"{path}[]")
    if isinstance(part.get("additionalProperties"), Mapping):
        yield from records(part["additionalProperties"], definitions, f"{path}.*")
    if "properties" in part and part.get("title") != "NetworkSettings":
        yield path, part
