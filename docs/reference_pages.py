"""The reference pages of the site, as Markdown: commands from the application, settings and documents from schemas."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from typer.main import get_command

from mnfpn_cli.cli.help import parameter_sections, usage_words
from mnfpn_cli.cli.main import app
from mnfpn_cli.documents.base import Document
from mnfpn_cli.documents.schema import RecordSchema, document_schemas, schema, shared_records
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.report.units import sides
from mnfpn_cli.settings.files import preset_description, preset_names, read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings

SIZES = (Size(224, 224), Size(600, 900))
USUAL_SIZES = {"fpnssd512": Size(512, 512), "mobilenetv2-fpnlite": Size(320, 320), "retinanet": Size(640, 640)}
"""The size of images that each detector was published for."""

LONGEST_DEFAULT = 40
TYPES = {
    "null": "`null`",
    "boolean": "`true`, `false`",
    "string": "text",
    "integer": "whole number",
    "number": "number",
}


def commands() -> Iterator[str]:
    """Yield the lines of the commands' page: usage, examples and options of each, from the application itself."""
    yield from ("# Commands", "", "`mnfpn COMMAND --help` prints the same in a terminal.")
    root: Any = get_command(app)
    yield from _command(root, root.make_context("mnfpn", [], resilient_parsing=True))


def _command(command: Any, context: Any) -> Iterator[str]:
    text, _, examples = (command.help or "").partition("Examples:")
    yield from ("", f"#{'#' * len(context.command_path.split())} {context.command_path}", "", _line(text), "")
    yield from ("```text", " ".join(usage_words(command, context)), "```", "")
    if examples:
        yield from ("```sh", *(line.strip() for line in examples.strip().splitlines()), "```", "")
    for section in parameter_sections(command, context):
        yield from _table((section.title, "Meaning"), [(f"`{name}`", _line(help)) for name, help in section.rows])
    for name in command.list_commands(context) if hasattr(command, "commands") else ():
        below = command.commands[name]
        yield from _command(below, below.make_context(name, [], parent=context, resilient_parsing=True))


def settings() -> Iterator[str]:
    """Yield the lines of the settings' page: every key of a settings file, from its schema."""
    yield from (
        "# Settings",
        "",
        "[Describe a network](../guides/settings.md) shows how settings are given and combined. "
        "`mnfpn schema settings` prints the JSON Schema that this page is made from.",
        "",
    )
    definitions = schema("settings")["$defs"]
    yield from _settings("The network", definitions["NetworkSettings"], "", definitions)


def _settings(title: str, record: Mapping[str, Any], path: str, definitions: Mapping[str, Any]) -> Iterator[str]:
    properties: Mapping[str, Mapping[str, Any]] = record["properties"]
    yield from (f"## {title}", "", _line(record.get("description", "")), "")
    yield from _table(
        ("Key", "Values", "Default", "Meaning"),
        [
            (f"`{path}{key}`", _values(value), _default(value), _line(value.get("description", "")))
            for key, value in properties.items()
        ],
    )
    for key, value in properties.items():
        for name, suffix in _referred(value):
            if "properties" in definitions[name]:
                place = f"{path}{key}{suffix}"
                kind = definitions[name]["properties"].get("kind", {}).get("const")
                heading = f"`{place}` of kind `{kind}`" if kind else f"`{place}`: {_line(definitions[name]['title'])}"
                yield from _settings(heading, definitions[name], f"{place}.", definitions)


def _referred(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of the records that a value may hold, with what they add to its path."""
    for one in _choices(value):
        if "$ref" in one:
            yield one["$ref"].removeprefix("#/$defs/"), ""
        if "items" in one:
            yield from ((name, f"[]{below}") for name, below in _referred(one["items"]))


def _choices(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for kind in ("anyOf", "oneOf") for part in value.get(kind, ()) for one in _choices(part)] or [value]


def _values(value: Mapping[str, Any]) -> str:
    """Return what a value may be, in words."""
    return ", ".join(dict.fromkeys(filter(None, map(_one_value, _choices(value)))))


def _one_value(value: Mapping[str, Any]) -> str:
    if "enum" in value or "const" in value:
        return ", ".join(f"`{word}`" for word in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_values(value['items']).replace(', ', ' or ')}" if "items" in value else "row"
    if "$ref" in value:
        return "object"
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    limits = [f"{word} {value[key]:g}" for key, word in bounds.items() if key in value]
    return " ".join([TYPES.get(str(value.get("type")), ""), *limits])


def _default(value: Mapping[str, Any]) -> str:
    text = json.dumps(value["default"]) if "default" in value else ""
    return "" if not text else f"`{text}`" if len(text) <= LONGEST_DEFAULT else "MobileNetV2's"


def documents() -> Iterator[str]:
    """Yield the lines of the documents' page: every key of what commands print as JSON, from the schemas."""
    schemas = document_schemas()
    shared = shared_records(schemas.values())
    whole = TypeAdapter(Document).json_schema(mode="serialization")
    yield from (
        "# Documents",
        "",
        "With `--json` a command prints one document. [Read results in a program](../guides/json.md) shows one; "
        "`mnfpn schema DOCUMENT` prints the JSON Schema that this page is made from.",
        "",
        "`[]` stands for each item of a list, `.*` for each key of an object. A key that does not apply is null. "
        "Sentences name parameters in backquotes, as `run_timeout`; tables spell options.",
        "",
        "## Every document",
        "",
        "The version is raised only when a key is removed or changes its meaning. `settings` is null for an external "
        "network, `model` for one from settings.",
        "",
    )
    yield from _keys(RecordSchema.of(whole, whole["$defs"]), ())
    for label, document in schemas.items():
        yield from ("", f"## {label}", "", *_keys(document, shared, without=Document.model_fields))
    yield from ("", "## Records", "", "Parts that several documents share.", "")
    for title, record in sorted(shared.items()):
        yield from (f"### {title}", "", *_keys(record, shared))


def _keys(record: RecordSchema, shared: Collection[str], without: Collection[str] = ()) -> Iterator[str]:
    rows = [row for key in record.properties if key not in without for row in _key(record, key, "", shared)]
    yield from _table(("Key", "Value", "Meaning"), rows)


def _key(record: RecordSchema, key: str, path: str, shared: Collection[str]) -> Iterator[tuple[str, str, str]]:
    value, inner = record.properties[key], list(record.records(key))
    links = [f"[{one.title}](#{one.title.lower()})" for _, one in inner if one.title in shared]
    yield f"`{path}{key}`", ", ".join(links) or _content(value), _line(value.get("description", ""))
    for place, one in inner:
        if one.title not in shared:
            for below in one.properties:
                yield from _key(one, below, f"{path}{place}.", shared)


def _content(value: Mapping[str, Any]) -> str:
    """Return the unit of a number, or the type of another value."""
    texts = [_one_content(one) for one in _choices(value) if one.get("type") != "null"]
    return ", ".join(dict.fromkeys(filter(None, texts)))


def _one_content(value: Mapping[str, Any]) -> str:
    if "enum" in value or "const" in value:
        return _one_value(value)
    if value.get("type") == "array":
        inner = [value["items"]] if "items" in value else value.get("prefixItems", [])
        return " ".join(["list of", ", ".join(dict.fromkeys(map(_content, inner)))]).removesuffix(" of ")
    if value.get("$ref", "").endswith("/NetworkSettings"):
        return "[settings](settings.md)"
    kind = value.get("type") or ("object" if "$ref" in value else "")
    return str(value.get("unit") or {"boolean": "true or false", "string": "text"}.get(kind, kind))


def networks_table() -> Iterator[str]:
    """Yield the lines of the table of presets: what each one is, and what it costs."""
    columns = ["Preset", "Network", "Parameters", *(f"MACs at {sides(*size)}" for size in SIZES)]
    yield from _table(columns, [_network(name) for name in preset_names()])


def _network(name: str) -> tuple[str, ...]:
    found = resolve([read_preset(name)])
    small, large = (network_cost(plan_network(found.at(size)), size).total for size in SIZES)
    parameters = f"{small.parameters:,}"
    if large.parameters != small.parameters:  # a head on flattened maps: another network for each size
        parameters += f" at {sides(*SIZES[0])}, {large.parameters:,} at {sides(*SIZES[1])}"
    return f"`{name}`", preset_description(name), parameters, f"{small.macs:,}", f"{large.macs:,}"


def detectors_table() -> Iterator[str]:
    """Yield the lines of the table of detectors: what each one costs at its usual size, and what its head does."""
    columns = ["Preset", "Size", "Parameters", "MACs", "of the backbone", "of the pyramid", "of the head"]
    found = {name: resolve([read_preset(name)]) for name in preset_names()}
    detectors = [name for name, settings in found.items() if settings.detection]
    yield from _table(columns, [_detector(name, found[name], USUAL_SIZES[name]) for name in detectors])


def _detector(name: str, settings: NetworkSettings, size: Size) -> tuple[str, ...]:
    cost = network_cost(plan_network(settings), size)
    macs = (cost.total.macs, *(part.macs for part in cost.parts.values()))
    return f"`{name}`", sides(*size), f"{cost.total.parameters:,}", *(f"{one:,}" for one in macs)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    yield ""


def _line(text: str) -> str:
    """Return a text as one line of Markdown: no tag and no emphasis by accident."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([<*_\[])", r"\\\1", part) for part in parts)


REFERENCE: Mapping[str, Callable[[], Iterator[str]]] = {
    "reference/commands.md": commands,
    "reference/settings.md": settings,
    "reference/documents.md": documents,
}
"""The lines of each page by its path."""
