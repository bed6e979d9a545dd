"""Every document by the name of its command: its JSON Schema, and the table of its keys in the README."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from textwrap import wrap
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from mnfpn_cli.documents.base import Document
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
        "presets": "mnfpn_cli.documents.settings:PresetsDocument",
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


MOST_INLINE = 3
"""Keys that a record in several places has at most if they are listed in each; one that has more gets a row."""

WIDTH = 120


@dataclass(frozen=True)
class RecordSchema:
    """A document or a record of one: its JSON Schema, with the definitions that this refers to."""

    title: str
    properties: Mapping[str, Mapping[str, Any]]
    definitions: Mapping[str, Any]

    @classmethod
    def of(cls, part: Mapping[str, Any], definitions: Mapping[str, Any]) -> "RecordSchema":
        """Read a schema."""
        return cls(part["title"].removesuffix("Record"), part["properties"], definitions)

    def records(self, key: str) -> "Iterator[tuple[str, RecordSchema]]":
        """The records below a key, each with its path."""
        for path, part in records(self.properties[key], self.definitions, key):
            yield path, RecordSchema.of(part, self.definitions)

    def uses(self) -> "Iterator[tuple[str, str, RecordSchema]]":
        """All records in it, each with the title and the key that lead to it."""
        for key in self.properties:
            for _, one in self.records(key):
                yield self.title, key, one
                yield from one.uses()

    def listed(self, rows: Collection[str], path: str = "", without: Collection[str] = ()) -> Iterator[str]:
        """Give the keys, those of one record together, as ``levels[].{name,stride}``.

        Args:
            rows: titles of records that have a row, which are named in place of their keys.
            path: of this record, with the dot behind it.
            without: keys that are left out.
        """
        inner = {key: list(self.records(key)) for key in self.properties if key not in without}
        leaves = [key for key, found in inner.items() if not found]
        if path and len(leaves) > 1:
            leaves = [f"{{{','.join(leaves)}}}"]
        yield from (f"`{path}{leaf}`" for leaf in leaves)
        for found in inner.values():
            for place, one in found:
                if one.title in rows:
                    yield f"`{path}{place}` ({one.title})"
                else:
                    yield from one.listed(rows, f"{path}{place}.")


def documents() -> dict[str, RecordSchema]:
    """Every document by its name; one of several forms by the name of each, as ``runs list``."""
    made: dict[str, RecordSchema] = {}
    for name in DOCUMENTS:
        whole = schema(name)
        forms = [one for _, one in records(whole, whole["$defs"])]
        commands = [one["properties"]["command"]["const"] for one in forms]
        for form, command in zip(forms, commands, strict=True):
            alone = commands.count(command) == 1
            label = f"`{command}`" if alone else f"`{command}` ({form['title'].removesuffix('Document')})"
            made[label] = RecordSchema.of(form, whole["$defs"])
    return made


def reference() -> list[str]:
    """Give the lines of Markdown: what all documents begin with, and a table with a row for each."""
    every = documents()
    shared = _shared(every.values())
    envelope = Document.model_fields
    rows = {name: one.listed(shared, without=envelope) for name, one in every.items()}
    rows |= {title: one.listed(shared) for title, one in sorted(shared.items())}
    table = ["| document | keys |", "|---|---|", *(f"| {name} | {', '.join(keys)} |" for name, keys in rows.items())]
    return [*_sentences(), "", *table]


def _sentences() -> list[str]:
    whole = TypeAdapter(Document).json_schema(mode="serialization")
    *others, last = RecordSchema.of(whole, whole["$defs"]).listed(())
    text = (
        f"Every document begins with {', '.join(others)} and {last}. The version is raised only when a key goes or "
        "changes its meaning. A key that does not apply is null: `settings` for a network of others, `model` for one "
        "from settings. `mnfpn schema DOCUMENT` prints the meaning and the unit of each key. A name in parentheses "
        "has a row of its own."
    )
    return wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _shared(every: Collection[RecordSchema]) -> dict[str, RecordSchema]:
    """The records that get a row, by title."""
    found: dict[str, RecordSchema] = {}
    users: dict[str, set[tuple[str, str]]] = {}
    for document in every:
        for owner, key, one in document.uses():
            if key not in Document.model_fields:
                found[one.title] = one
                users.setdefault(one.title, set()).add((owner, key))
    return {title: one for title, one in found.items() if len(users[title]) > 1 and len(one.properties) > MOST_INLINE}
