"""Read a document from a file or from bytes; an error gives the place, the rule and the value of each problem."""

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mnfpn_cli import FORMAT_VERSION
from mnfpn_cli.documents.base import Document
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe
from mnfpn_cli.settings.strict_json import read_file, read_json

MAX_BYTES = 100_000_000
"""The largest file that is read: a million samples are 20 MB."""

MOST_PROBLEMS = 5
"""The most problems that an error lists."""

Read = TypeVar("Read", bound=Document)

ExtraKeys = Literal["ignore", "forbid"]


class _Settings(BaseModel):
    """The settings of a document alone: an unknown key is an error here, as it may make another network."""

    model_config = ConfigDict(extra="ignore")

    settings: NetworkSettings | None


def read_document(path: Path, model: type[Read]) -> Read:
    """Read a document that a command wrote to a file as JSON.

    Args:
        path: the file.
        model: the model of the document.

    Raises:
        UsageError: where the file is no such document, or has another format version.
        MnfpnError: where it cannot be read.
    """
    return parse_document(read_file(path, "a result file", MAX_BYTES), model, str(path))


def parse_document(content: bytes, model: type[Read], name: str, extra: ExtraKeys = "ignore") -> Read:
    """Read a document from bytes of JSON.

    Args:
        content: the JSON text in UTF-8.
        model: the model of the document.
        name: names the source in messages.
        extra: whether unknown keys are left out or are an error; in settings they always are one.

    Raises:
        UsageError: where the content is no such document, or has another format version.
    """
    whole, command = read_json(name, content), model.model_fields["command"].default
    if not isinstance(whole, dict) or not {"format_version", "command"} <= whole.keys():
        raise UsageError(Problem(name, f"must be a JSON document of mnfpn {command}"))
    if whole["format_version"] != FORMAT_VERSION:
        by = f", of mnfpn {whole['mnfpn_version']}" if "mnfpn_version" in whole else ""
        rule = f"must be of format_version {FORMAT_VERSION}, which this mnfpn reads"
        raise UsageError(Problem(name, rule, repr(whole["format_version"]), by))
    if whole["command"] != command:
        raise UsageError(Problem(name, f"must be a document of mnfpn {command}", f"one of mnfpn {whole['command']}"))
    try:
        _Settings.model_validate(whole)
        return model.model_validate(whole, extra=extra)
    except SettingsError as error:
        raise error.within(name) from None
    except ValidationError as error:
        raise UsageError(*describe(error)[:MOST_PROBLEMS]).within(name) from None
