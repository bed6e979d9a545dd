"""Reading result files of `mnfpn bench`. No torch here."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mnfpn_cli import FORMAT_VERSION
from mnfpn_cli.bench.recorded import Recorded
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.files import parse_json
from mnfpn_cli.settings.problems import describe

MAX_BYTES = 100_000_000
"""More is no result of a benchmark: a million samples are 20 MB."""

SHOWN_PROBLEMS = 5


def read_result(path: Path) -> Recorded:
    """Read what `mnfpn bench --output` wrote.

    Raises:
        UsageError: where it is no such file, or a newer mnfpn's.
        MnfpnError: where it cannot be read.
    """
    document = _document(path)
    if not isinstance(document, dict) or not {"format_version", "command"} <= document.keys():
        raise UsageError(f"{path}: must be a result of mnfpn bench, as --output writes it in JSON")
    version, command = document["format_version"], document["command"]
    if version != FORMAT_VERSION:
        by = f", of mnfpn {document['mnfpn_version']}" if "mnfpn_version" in document else ""
        raise UsageError(
            f"{path}: must be of format_version {FORMAT_VERSION}, which this mnfpn reads, got {version!r}{by}"
        )
    if command != "bench":
        raise UsageError(f"{path}: must be a result of mnfpn bench, got one of mnfpn {command}")
    try:
        return Recorded.model_validate(document)
    except ValidationError as error:
        problems = [f"{path}: {problem}" for problem in describe(error)]
        raise UsageError("\n".join(problems[:SHOWN_PROBLEMS])) from None


def _document(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # not by its size: a pipe has none, and a device no end
    except FileNotFoundError:
        raise UsageError(f"{path}: must be a file, but there is none of that name") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: must be a file, but it is a folder") from None
    except OSError as error:
        raise MnfpnError(f"{path}: could not be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: a result file must have at most {MAX_BYTES / 1e6:g} MB")
    try:
        return parse_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: must be JSON, but byte {error.start} is no text") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: must be JSON: {_reason(error)}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(f"{path}: must be JSON: {reason}") from None


def _reason(error: json.JSONDecodeError) -> str:
    """What is wrong with the text; most often it was cut off."""
    if not error.doc.strip():
        return "it is empty"
    rest = len(error.doc.rstrip()) - error.pos
    cut = error.msg.startswith("Unterminated") or (error.msg != "Extra data" and rest < len("false"))
    end = " (the file ends too early)" if cut else ""
    return f"{error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}{end}"
