"""Settings as the options of a command line that give them."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from mnfpn_cli.settings.models import NetworkSettings

OF_THEIR_OWN = {("width_mult",): "--width-mult", ("pyramid", "channels"): "--pyramid-channels"}
"""Settings that have options of their own."""


def as_options(settings: NetworkSettings) -> list[str]:
    """The options that say what differs from the defaults: no preset, no file, and only as many as it takes."""
    wanted, default = settings.model_dump(mode="json"), NetworkSettings.model_fields
    usual = _usual(settings.backbone.kind, settings.head.kind)
    options = list[str]()
    for part in ("backbone", "head"):
        if wanted[part]["kind"] != default[part].default.kind:
            options += ["--set", f"{part}.kind={wanted[part]['kind']}"]
    for path, value in _differences(wanted, usual, ()):
        if path == ("stages",):
            options += ["--stages", " ".join(",".join(map(str, row.values())) for row in value)]
        elif path in OF_THEIR_OWN:
            options += [OF_THEIR_OWN[path], f"{value}"]
        else:
            options += ["--set", f"{'.'.join(path)}={value if _is_word(value) else json.dumps(value)}"]
    return options


@lru_cache
def _usual(backbone: str, head: str) -> Mapping[str, Any]:
    """What settings of these kinds are where nothing else is said."""
    return NetworkSettings.model_validate({"backbone": {"kind": backbone}, "head": {"kind": head}}).model_dump(
        mode="json"
    )


def _differences(wanted: Any, usual: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if wanted == usual:
        return
    if isinstance(wanted, Mapping) and isinstance(usual, Mapping):
        for key, value in wanted.items():
            yield from _differences(value, usual.get(key), (*path, key))
    else:
        yield path, wanted


def _is_word(value: Any) -> bool:
    """Whether it is text that reads as itself, not as JSON."""
    return isinstance(value, str) and value[:1].isalpha() and value not in ("true", "false", "null")
