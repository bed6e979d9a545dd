"""The registry of documents by command, their JSON Schemas, and the records that these share."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from mnfpn_cli.documents.base import Document
from mnfpn_cli.settings.detection import PostprocessSettings
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
        "detect": "mnfpn_cli.documents.detect:DetectDocument",
        "runtimes": "mnfpn_cli.documents.runtimes:RuntimesDocument",
        "presets": "mnfpn_cli.documents.settings:PresetsDocument",
        "sweep": "mnfpn_cli.documents.sweep:SweepDocument",
        "runs": "mnfpn_cli.documents.runs:RunsDocument",
        "predict": "mnfpn_cli.documents.predict:PredictDocument",
        "report": "mnfpn_cli.documents.report:ReportDocument",
        "recommend": "mnfpn_cli.documents.report:RecommendDocument",
        "worker": "mnfpn_cli.documents.worker:Exchanged",
    }
)
"""The model of each document by its name, as ``module:class``; a model is imported only where it is used."""

NAMES = (*DOCUMENTS, "settings")
"""The names that have a schema."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MOST_INLINE = 3
"""A record that several keys share has a table of its own in the reference if it has more keys than this."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a document: one of ``NAMES``."""
    if name == "settings":
        return _settings_schema()
    whole: dict[str, Any] = TypeAdapter(resolve_name(DOCUMENTS[name])).json_schema(mode="serialization")
    return {"$schema": DIALECT, **whole, "title": f"mnfpn {name}"}


def _settings_schema() -> dict[str, Any]:
    """Return the JSON Schema of a settings file, which holds whole settings or only a list of stages."""
    whole: dict[str, Any] = TypeAdapter(NetworkSettings | Stages).json_schema()
    properties = whole["$defs"]["NetworkSettings"]["properties"]
    properties.update({key: {"type": "string", "description": what} for key, what in ANNOTATIONS.items()})
    del whole["$defs"][PostprocessSettings.__name__]["required"]  # the kind of head fills in what a file leaves out
    return {"$schema": DIALECT, "title": "mnfpn settings", **whole}


def document_name(command: str) -> str:
    """Return the name of a command's document, as ``runs`` for ``runs list``; an unknown command stays as it is."""
    first = command.partition(" ")[0]
    names = [first] if first in DOCUMENTS else DOCUMENTS
    return next((name for name in names if command in _commands(name)), command)


def _commands(name: str) -> set[str]:
    """Return the commands that make a document."""
    whole = schema(name)
    return {form["properties"]["command"]["const"] for _, form in records(whole, whole["$defs"])}


def keys(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path of each key of a document in order, as ``results[].levels[].stride``, with its schema.

    Settings are one key; the schema of a settings file has their own.
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
    """Yield the schemas of the records that a value may hold, each with its path; settings are not among them.

    Args:
        part: the schema of the value.
        definitions: the schemas that ``part`` refers to.
        path: the path of the value. An item of a list adds ``[]`` to it, a value of a dictionary ``.*``.
    """
    if "$ref" in part:
        yield from records(definitions[part["$ref"].removeprefix("#/$defs/")], definitions, path)
    for kind in ("anyOf", "oneOf"):
        for choice in part.get(kind, ()):
            yield from records(choice, definitions, path)
    for item in (part.get("items"), *part.get("prefixItems", ())):
        if isinstance(item, Mapping):
            yield from records(item, definitions, f"{path}[]")
    if isinstance(part.get("additionalProperties"), Mapping):
        yield from records(part["additionalProperties"], definitions, f"{path}.*")
    if "properties" in part and part.get("title") != "NetworkSettings":
        yield path, part


@dataclass(frozen=True)
class RecordSchema:
    """The JSON Schema of a document or of a record in it, with the definitions that it refers to."""

    title: str
    properties: Mapping[str, Mapping[str, Any]]
    definitions: Mapping[str, Any]

    @classmethod
    def of(cls, part: Mapping[str, Any], definitions: Mapping[str, Any]) -> "RecordSchema":
        """Make one of a part of a schema."""
        return cls(part["title"].removesuffix("Record"), part["properties"], definitions)

    def records(self, key: str) -> "Iterator[tuple[str, RecordSchema]]":
        """Yield the records that a key may hold, each with its path."""
        for path, part in records(self.properties[key], self.definitions, key):
            yield path, RecordSchema.of(part, self.definitions)

    def uses(self) -> "Iterator[tuple[str, str, RecordSchema]]":
        """Yield every record at any depth, with the title and the key of the record that holds it."""
        for key in self.properties:
            for _, record in self.records(key):
                yield self.title, key, record
                yield from record.uses()


def document_schemas() -> dict[str, RecordSchema]:
    """Return the schema of every document by its label in the reference.

    A document with a form for each of several commands has an entry for each, as ``runs list``.
    """
    schemas: dict[str, RecordSchema] = {}
    for name in DOCUMENTS:
        whole = schema(name)
        forms = [form for _, form in records(whole, whole["$defs"])]
        commands = [form["properties"]["command"]["const"] for form in forms]
        for form, command in zip(forms, commands, strict=True):
            alone = commands.count(command) == 1
            label = f"`{command}`" if alone else f"`{command}` ({form['title'].removesuffix('Document')})"
            schemas[label] = RecordSchema.of(form, whole["$defs"])
    return schemas


def shared_records(documents: Collection[RecordSchema]) -> dict[str, RecordSchema]:
    """Return the records that the documents' page describes once, by title: those that several keys share."""
    by_title: dict[str, RecordSchema] = {}
    users: dict[str, set[tuple[str, str]]] = {}
    for document in documents:
        for owner, key, record in document.uses():
            if key not in Document.model_fields:
                by_title[record.title] = record
                users.setdefault(record.title, set()).add((owner, key))
    return {
        title: record
        for title, record in by_title.items()
        if len(users[title]) > 1 and len(record.properties) > MOST_INLINE
    }
