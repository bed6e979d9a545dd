"""What every JSON document of mnfpn has: version, command, settings."""

import json
from typing import Any

from mnfpn_cli import FORMAT_VERSION, __version__
from mnfpn_cli.models.subject import Subject
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.models import NetworkSettings


def document(command: str, settings: NetworkSettings, body: dict[str, Any]) -> dict[str, Any]:
    """A command's result with what it was made from. Numbers are raw, in seconds, bytes, MACs and parameters."""
    return {
        "format_version": FORMAT_VERSION,
        "mnfpn_version": __version__,
        "command": command,
        "settings": settings.model_dump(mode="json"),
        **body,
    }


def subject_document(command: str, subject: Subject, body: dict[str, Any]) -> dict[str, Any]:
    """The same of a network that may be anybody's: ``settings`` is then null, and ``model`` says where it is."""
    target = subject.target
    return {
        "format_version": FORMAT_VERSION,
        "mnfpn_version": __version__,
        "command": command,
        "settings": subject.settings.model_dump(mode="json") if subject.settings else None,
        "model": {"target": target.text, "arguments": dict(target.arguments)} if target else None,
        **body,
    }


def input_document(input: NetworkInput) -> dict[str, int]:
    """An input under the keys batch, channels, height and width."""
    return dict(zip(("batch", "channels", "height", "width"), input.shape, strict=True))


def to_json(value: Any) -> str:
    """JSON for people and programs: whatever fits on a line stands on one. Ends with a line break.

    Raises:
        ValueError: where a number is not finite, which JSON has no word for.
    """
    return _lines(value, indent="") + "\n"


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
