"""The base of every document: frozen records, the units of their numbers, and one envelope."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mnfpn_cli import FORMAT_VERSION, __version__
from mnfpn_cli.settings.network import NetworkSettings

MOST = 10**30
"""More than any whole number in a document; one that a file has may have a thousand digits."""


def _unit(name: str) -> Any:
    """Numbers are never read from text, nor true or false for one."""
    return Field(json_schema_extra={"unit": name}, strict=True)


def _whole(name: str, least: int = -MOST) -> Any:
    return Field(json_schema_extra={"unit": name}, strict=True, ge=least, le=MOST)


Seconds = Annotated[float, _unit("s")]
Bytes = Annotated[int, _whole("B", 0)]
Macs = Annotated[int, _whole("MAC", 0)]
Flops = Annotated[int, _whole("FLOP", 0)]
Pixels = Annotated[int, _whole("px", 1)]
Cells = Annotated[int, _whole("cells", 0)]
Stride = Annotated[int, _whole("px", 1)]
Parameters = Annotated[int, _whole("parameters", 0)]
Count = Annotated[int, _whole("count", 0)]
Amount = Annotated[int, _whole("count")]
Positive = Annotated[int, _whole("count", 1)]
Share = Annotated[float, _unit("share, 0 to 1")]
Ratio = Annotated[float, _unit("ratio")]
Value = Annotated[float, _unit("value of an element")]
Rate = Annotated[float, _unit("1/s")]
MacRate = Annotated[float, _unit("MAC/s")]
ByteRate = Annotated[float, _unit("B/s")]
Hertz = Annotated[float, _unit("Hz")]
Celsius = Annotated[float, _unit("°C")]
Watts = Annotated[float, _unit("W")]
Joules = Annotated[float, _unit("J")]

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9:_-]{0,40}$")]
"""The name of a runtime or a device: nothing else comes into the titles of tables."""


class Record(BaseModel):
    """A part of a document: its fields are checked where it is made, and never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Model(Record):
    """Where a network that others wrote is found."""

    target: str = Field(description="As `model` has it: package.module:name or file.py:name.")
    arguments: dict[str, Any] = Field(description="What the target was called with.")


class Document(Record):
    """The envelope: what made a document, and from which network; ``settings`` or ``model`` is null, or both are."""

    format_version: int = Field(
        FORMAT_VERSION,
        description="Raised when a key is removed or changes its meaning.",
        json_schema_extra={"unit": "version"},
    )
    mnfpn_version: str = Field(__version__, description="The version of mnfpn that made the document.")
    command: str = Field(description="The command that made the document.")
    settings: NetworkSettings | None = Field(description="All settings of the network; null where it has none.")
    model: Model | None = Field(description="The network that others wrote; null where there is none.")


def to_json(value: Any) -> str:
    """Write JSON for people and programs: whatever fits on a line stands on one. End with a line break.

    Raises:
        ValueError: where a number is not finite, which JSON has no word for.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = _lines(value, indent="") + "\n"
    return text if text.replace("\n", "").isprintable() else "".join(map(_shown, text))


def _shown(sign: str) -> str:
    """A sign of JSON's text as a terminal can show it: whatever would steer that is escaped, as JSON allows."""
    return sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1]


def _lines(value: Any, indent: str) -> str:
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    deeper = f"{indent}  "
    if len(indent) + len(line) <= 100 or not isinstance(value, dict | list):
        return line
    if isinstance(value, list):
        items = [_lines(item, deeper) for item in value]
        return f"[\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}]"
    items = [f"{json.dumps(key)}: {_lines(item, deeper)}" for key, item in value.items()]
    return f"{{\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}}}"
