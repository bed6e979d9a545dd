"""The reference pages: what the application, the settings and the documents have, no more and no less."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from mnfpn_cli.cli.main import app
from mnfpn_cli.documents.base import Document
from mnfpn_cli.documents.schema import RecordSchema, document_schemas, schema, shared_records

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that makes the pages; it lies beside them."""
    monkeypatch.syspath_prepend(str(DOCS))
    import reference_pages  # type: ignore[import-not-found]

    yield reference_pages
    del sys.modules["reference_pages"]


def rows(lines: Iterator[str]) -> dict[str, list[list[str]]]:
    """The cells of the rows under each heading."""
    found: dict[str, list[list[str]]] = {}
    for line in lines:
        if line.startswith("#"):
            found[title := line.strip("# ")] = []
        elif line.startswith("| `"):
            found[title].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def test_the_page_of_documents_has_every_key_with_its_meaning(pages: ModuleType) -> None:
    """Those of a record that several share stand in the table of that record."""
    tables = rows(pages.documents())
    documents = document_schemas()
    shared = shared_records(documents.values())

    def keys(record: RecordSchema, without: frozenset[str] = frozenset(), path: str = "") -> Iterator[str]:
        for key in record.properties:
            if key not in without:
                yield f"`{path}{key}`"
                for place, inner in record.records(key):
                    if inner.title not in shared:
                        yield from keys(inner, path=f"{path}{place}.")

    envelope = frozenset(Document.model_fields)
    expected = {label: list(keys(one, envelope)) for label, one in documents.items()}
    expected |= {title: list(keys(one)) for title, one in shared.items()}
    assert {title: [row[0] for row in tables[title]] for title in expected} == expected
    assert [row for table in tables.values() for row in table if not row[2].endswith(".")] == []
    assert sum(len(table) for table in tables.values()) > 300


def test_the_page_of_settings_has_every_key(pages: ModuleType) -> None:
    """With its values and its meaning."""
    found = {row[0].strip("`"): row for table in rows(pages.settings()).values() for row in table}
    whole: Any = schema("settings")["$defs"]["NetworkSettings"]["properties"]
    assert set(whole) <= set(found)
    assert {"pyramid.levels", "backbone.blocks", "head.pool", "stages[].stride"} <= set(found)
    assert [key for key, row in found.items() if not row[1] or not row[3].endswith(".")] == []
    assert found["pyramid.merge"][1:3] == ["`add`, `concat`", '`"add"`']


def test_the_page_of_commands_has_every_command(pages: ModuleType) -> None:
    """With every option that its help has."""
    tables = rows(pages.commands())

    def check(command: Any, path: str) -> None:
        names = {one.opts[0] for one in command.params if hasattr(one, "hidden") and not one.hidden}
        listed = {row[0].strip("`").split()[0] for row in tables[path]}
        negated = {name.replace("--", "--no-", 1) for name in names}
        assert {option for option in listed if option.startswith("--")} <= names | negated, path
        assert len(listed) >= len(names), path
        for name in getattr(command, "commands", {}):
            check(command.commands[name], f"{path} {name}")

    check(get_command(app), "mnfpn")


def test_the_table_of_networks_is_of_the_presets(pages: ModuleType) -> None:
    """Parameters and MACs of torchvision's MobileNetV2 are those that its paper and torchvision print."""
    table = "\n".join(pages.networks_table())
    assert "| `mobilenetv2-classifier` |" in table
    assert "| 3,504,872 | 300,774,272 |" in table


def test_the_table_of_detectors_has_what_each_costs_at_its_usual_size(pages: ModuleType) -> None:
    """Parts add up to the whole; FPNSSD512's parameters are those of the original, which is a reference."""
    found = [line.strip("| ").replace(",", "").split(" | ") for line in pages.detectors_table()][2:-1]
    assert all(int(row[3]) == sum(map(int, row[4:])) for row in found)
    assert ["`fpnssd512`", "512×512", "37334817"] in [row[:3] for row in found]


def test_one_name_is_one_record() -> None:
    """A name in parentheses leads to one row."""
    keys: dict[str, tuple[str, ...]] = {}
    for document in document_schemas().values():
        for _, _, one in document.uses():
            assert keys.setdefault(one.title, tuple(one.properties)) == tuple(one.properties), one.title
