"""The README's table of keys: what the documents have, no more and no less."""

import os
from pathlib import Path

from mnfpn_cli.documents.schema import RecordSchema, document_schemas, key_reference

README = Path(__file__).parent.parent.parent / "README.md"
START, END = "<!-- keys -->\n", "<!-- end of keys -->\n"


def test_the_readme_lists_the_keys_of_every_document() -> None:
    """`MNFPN_WRITE_README=1` writes the table anew."""
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    made = before + START + "\n".join(["", *key_reference(), "", END]) + after
    if os.environ.get("MNFPN_WRITE_README"):
        README.write_text(made, encoding="utf-8")
    assert README.read_text(encoding="utf-8") == made


def test_one_name_is_one_record() -> None:
    """A name in parentheses leads to one row."""
    keys: dict[str, tuple[str, ...]] = {}
    for document in document_schemas().values():
        for _, _, one in document.uses():
            assert keys.setdefault(one.title, tuple(one.properties)) == tuple(one.properties), one.title


def test_keys_of_one_record_stand_together_and_those_with_a_row_are_named() -> None:
    """Lists are `[]`, any key is `.*`; settings are a value."""
    definitions = {
        "Part": {"title": "Part", "properties": {"b": {}, "c": {}, "time": {"$ref": "#/$defs/TimeRecord"}}},
        "TimeRecord": {"title": "TimeRecord", "properties": {"median": {}}},
        "NetworkSettings": {"title": "NetworkSettings", "properties": {"width_mult": {}}},
    }
    part = {"$ref": "#/$defs/Part"}
    properties: dict[str, dict[str, object]] = {
        "parts": {"anyOf": [{"type": "array", "items": part}, {"type": "null"}]},
        "by_name": {"type": "object", "additionalProperties": {"$ref": "#/$defs/TimeRecord"}},
        "settings": {"$ref": "#/$defs/NetworkSettings"},
    }
    node = RecordSchema("Whole", properties, definitions)
    assert list(node.key_texts(())) == [
        "`settings`",
        "`parts[].{b,c}`",
        "`parts[].time.median`",
        "`by_name.*.median`",
    ]
    assert list(node.key_texts({"Time"}))[1:] == ["`parts[].{b,c}`", "`parts[].time` (Time)", "`by_name.*` (Time)"]
