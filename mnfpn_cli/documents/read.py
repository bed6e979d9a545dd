"""Read a document back: from a file, or from bytes. What is wrong is told by place, rule and value."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mnfpn_cli import FORMAT_VERSION
from mnfpn_cli.documents.base import Document
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe
from mnfpn_cli.settings.strict_json import read_file, read_json

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
    return parse_document(read_file(path, "a result file", MAX_BYTES), model, str(path))


def parse_document(content: bytes, model: type[Read], name: str) -> Read:
    """Read a document from its bytes; ``name`` is where they come from.

    Raises:
        UsageError: where they are no such document, or one of another format version.
    """
    found, command = read_json(name, content), model.model_fields["command"].default
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
