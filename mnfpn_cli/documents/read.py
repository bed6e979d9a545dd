"""Read a document back: from a file, or from bytes. What is wrong is told by place, rule and value."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mnfpn_cli import FORMAT_VERSION
from mnfpn_cli.documents.base import Document
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.settings.files import parse_json
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe

MAX_BYTES = 100_000_000
"""More is no result of a benchmark: a million samples are 20 MB."""

SHOWN_PROBLEMS = 5

Read = TypeVar("Read", bound=Document)


class _Settings(BaseModel):
    """The settings alone: keys that this version does not know are left out but here, where they make the network."""

    model_config = ConfigDict(extra="ignore")

    settings: NetworkSettings | None


def read_document(path: Path, model: type[Read]) -> Read:
    """Read what a command wrote to a file, in JSON.

    Raises:
        UsageError: where it is no such file, or another format version's.
        MnfpnError: where it cannot be read.
    """
    return parse_document(_content(path), model, str(path))


def parse_document(content: bytes, model: type[Read], name: str) -> Read:
    """Read a document from its bytes; ``name`` is where they come from.

    Raises:
        UsageError: where they are no such document, or one of another format version.
    """
    found, command = _json(content, name), model.model_fields["command"].default
    if not isinstance(found, dict) or not {"format_version", "command"} <= found.keys():
        raise UsageError(Problem(name, f"must be a result of mnfpn {command}, as `output` writes it in JSON"))
    if found["format_version"] != FORMAT_VERSION:
        by = f", of mnfpn {found['mnfpn_version']}" if "mnfpn_version" in found else ""
        rule = f"must be of format_version {FORMAT_VERSION}, which this mnfpn reads"
        raise UsageError(Problem(name, rule, repr(found["format_version"]), by))
    if found["command"] != command:
        raise UsageError(Problem(name, f"must be a result of mnfpn {command}", f"one of mnfpn {found['command']}"))
    try:
        _Settings.model_validate(found)
        return model.model_validate(found, extra="ignore")
    except SettingsError as error:
        raise error.within(name) from None
    except ValidationError as error:
        raise UsageError(*describe(error)[:SHOWN_PROBLEMS]).within(name) from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # not by its size: a pipe has none, and a device no end
    except FileNotFoundError:
        raise UsageError(Problem(str(path), "must be a file, but there is none of that name")) from None
    except IsADirectoryError:
        raise UsageError(Problem(str(path), "must be a file, but it is a folder")) from None
    except OSError as error:
        raise MnfpnError(Problem(str(path), f"could not be read: {error.strerror}")) from None
    if len(content) > MAX_BYTES:
        raise UsageError(Problem(str(path), f"a result file must have at most {MAX_BYTES / 1e6:g} MB"))
    return content


def _json(content: bytes, name: str) -> Any:
    try:
        return parse_json(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(Problem(name, f"must be JSON, but byte {error.start} is no text")) from None
    except json.JSONDecodeError as error:
        raise UsageError(Problem(name, f"must be JSON: {_reason(error)}")) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(Problem(name, f"must be JSON: {reason}")) from None


def _reason(error: json.JSONDecodeError) -> str:
    """What is wrong with the text; most often it was cut off."""
    if not error.doc.strip():
        return "it is empty"
    rest = len(error.doc.rstrip()) - error.pos
    cut = error.msg.startswith("Unterminated") or (error.msg != "Extra data" and rest < len("false"))
    end = " (the file ends too early)" if cut else ""
    return f"{error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}{end}"
