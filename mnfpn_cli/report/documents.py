"""What every JSON document of mnfpn has: version, command, settings."""

from typing import Any

from mnfpn_cli import FORMAT_VERSION, __version__
from mnfpn_cli.external.inputs import Inputs
from mnfpn_cli.external.target import Target
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings


def document(command: str, settings: NetworkSettings, body: dict[str, Any]) -> dict[str, Any]:
    """A command's result with what it was made from. Numbers are raw, in seconds, bytes, MACs and parameters."""
    return {
        "format_version": FORMAT_VERSION,
        "mnfpn_version": __version__,
        "command": command,
        "settings": settings.model_dump(mode="json"),
        **body,
    }


def network_document(
    command: str, settings: NetworkSettings | None, target: Target | None, body: dict[str, Any]
) -> dict[str, Any]:
    """The same of a network that may be anybody's: ``settings`` is then null, and ``model`` says where it is."""
    return {
        "format_version": FORMAT_VERSION,
        "mnfpn_version": __version__,
        "command": command,
        **whose_document(settings, target),
        **body,
    }


def whose_document(settings: NetworkSettings | None, target: Target | None) -> dict[str, Any]:
    """Which network: its settings, or where it is."""
    return {
        "settings": settings.model_dump(mode="json") if settings else None,
        "model": {"target": target.text, "arguments": dict(target.arguments)} if target else None,
    }


def input_document(input: Inputs) -> dict[str, Any]:
    """An input under the keys batch, channels, height and width; of tensors of given shapes under ``shapes``."""
    if isinstance(input, NetworkInput):
        return dict(zip(("batch", "channels", "height", "width"), input.shape, strict=True))
    shapes = [{"shape": list(one.shape), "dtype": one.dtype} for one in input.specs]
    return {"batch": input.batch, "channels": None, "height": None, "width": None, "shapes": shapes}
