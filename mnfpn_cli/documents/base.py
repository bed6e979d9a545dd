"""The base of all documents: frozen records, numbers with units, the envelope of a document, and writing it as JSON."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mnfpn_cli import FORMAT_VERSION, __version__
from mnfpn_cli.documents.render import HTML, TEXT, frame, written
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import in_words
from mnfpn_cli.settings.problems import SettingsError

if TYPE_CHECKING:
    from pandas import DataFrame

MOST = 10**30
"""The largest whole number in a document; a file may have one of a thousand digits."""

KEY_DIGITS = 8
"""The digits of a key that messages and tables print: enough to tell the runs of a store apart."""


def _unit(name: str) -> Any:
    """Return the field of a number with a unit; strict, so that neither text nor true and false are read as one."""
    return Field(json_schema_extra={"unit": name}, strict=True)


def _whole(name: str, least: int = -MOST) -> Any:
    return Field(json_schema_extra={"unit": name}, strict=True, ge=least, le=MOST)


Seconds = Annotated[float, _unit("s")]
Bytes = Annotated[int, _whole("B", 0)]
Macs = Annotated[int, _whole("MAC", 0)]
Flops = Annotated[int, _whole("FLOP", 0)]
Pixels = Annotated[int, _whole("px", 1)]
Coordinate = Annotated[float, _unit("px")]
Cells = Annotated[int, _whole("cells", 0)]
Stride = Annotated[int, _whole("px", 1)]
Parameters = Annotated[int, _whole("parameters", 0)]
Count = Annotated[int, _whole("count", 0)]
Amount = Annotated[int, _whole("count")]
Positive = Annotated[int, _whole("count", 1)]
MeanCount = Annotated[float, _unit("count")]
Share = Annotated[float, _unit("share, 0 to 1")]
Ratio = Annotated[float, _unit("ratio")]
ScoreValue = Annotated[float, _unit("unit of the metric")]
ElementValue = Annotated[float, _unit("value of an element")]
Rate = Annotated[float, _unit("1/s")]
MacRate = Annotated[float, _unit("MAC/s")]
ByteRate = Annotated[float, _unit("B/s")]
Decibels = Annotated[float, _unit("dB")]
Hertz = Annotated[float, _unit("Hz")]
Celsius = Annotated[float, _unit("°C")]
Watts = Annotated[float, _unit("W")]
Joules = Annotated[float, _unit("J")]

Message = Annotated[str, Field(json_schema_extra={"parameters": "in backquotes"})]
"""A sentence for people. It names parameters in backquotes, as `run_timeout`; `mnfpn_cli.cli.words` spells options."""

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9:_-]{0,40}$")]
"""The name of a runtime, a device or an element type; titles of tables show it, so it holds no other characters."""


class Record(BaseModel):
    """A part of a document. Its fields are checked when it is built, and never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Model(Record):
    """An external network: a module that someone else wrote."""

    target: str = Field(description="Where the module is found: package.module:name or file.py:name.")
    arguments: dict[str, Any] = Field(description="The arguments that the target was called with, by name.")


MOST_OF_NETWORK = 60
"""The most characters of the settings in the `repr` of a document."""


class Document(Record):
    """The keys of every document: what made it, and from which network. ``settings``, ``model``, or both are null.

    ``print(document)`` prints what the command prints, `to_json` returns what it prints as JSON, a notebook
    shows the same tables, and `to_pandas` returns their rows.
    """

    format_version: int = Field(
        FORMAT_VERSION,
        description="Version of the format, raised when a key is removed or changes its meaning.",
        json_schema_extra={"unit": "version"},
    )
    mnfpn_version: str = Field(__version__, description="Version of mnfpn that made the document.")
    command: str = Field(description="The command that made the document.")
    settings: NetworkSettings | None = Field(
        description="All settings of the network; null for an external network, or without a network."
    )
    model: Model | None = Field(
        description="The external network; null for a network from settings, or without a network."
    )

    def __str__(self) -> str:
        """Return the tables that the command prints, with parameters in backquotes; JSON where it has no tables."""
        return (written(self.command, self, TEXT) or self.to_json()).removesuffix("\n")

    def _repr_html_(self) -> str | None:
        """Return the tables of the command as HTML, for notebooks; None where it has no tables."""
        return written(self.command, self, HTML)

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        """Yield what `repr` gives: the command, and in a few words which network it is about."""
        yield "command", self.command
        if self.model is not None:
            yield "model", self.model.target
        elif self.settings is not None:
            words = in_words(self.settings)
            yield "settings", words if len(words) <= MOST_OF_NETWORK else f"{words[: MOST_OF_NETWORK - 1]}…"

    def to_json(self) -> str:
        """Return the document as JSON: the text that its command prints on request, with a line break at its end.

        Examples:
            >>> import json
            >>> from mnfpn_cli.accuracy.presets import presets_document
            >>> json.loads(presets_document().to_json())["command"]
            'settings presets'
        """
        return to_json(self)

    def to_pandas(self) -> "DataFrame":
        """Return the rows of the command's table as a data frame, one row for each item.

        The items are the levels of each size, the layers of a summary, the findings of an audit, the runs of a bench,
        a sweep's frontier or a store, the sides of a comparison, or the outputs of an exported file. Values are in
        base units, as in the JSON: seconds, bytes, MACs. Columns of nested keys have dots, as ``latency_s.median``.

        Raises:
            MnfpnError: where pandas is not installed.

        Examples:
            >>> from mnfpn_cli.accuracy.presets import presets_document
            >>> presets_document().to_pandas()["settings.width_mult"].max().item()
            1.0
        """
        return frame(self)


class NetworkDocument(Document):
    """A document that is always of a network: it has settings or a model."""

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        if self.settings is None and self.model is None:
            raise SettingsError("settings", "must be there where there is no model", "null")
        return self


def to_json(value: Any) -> str:
    """Return JSON text that people can read: a value that fits is on one line. The text ends with a line break.

    Raises:
        ValueError: where a number is not finite, which JSON cannot express.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = _lines(value, indent="") + "\n"
    return text if text.replace("\n", "").isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    """Escape a character that would control a terminal; JSON allows the escape of any character in a string."""
    return character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]


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
