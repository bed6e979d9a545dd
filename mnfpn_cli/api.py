"""The same from Python: settings, their plan, and the network. Torch is imported by what builds a network alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.levels import network_input, resolve
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.settings.files import parse_settings, read_config, read_preset
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source

if TYPE_CHECKING:
    from mnfpn_cli.documents.records import WeightsRecord
    from mnfpn_cli.network.network import DetectorBackbone, Network

Config = str | PathLike[str] | Mapping[str, Any] | list[Any]
Sides = str | int | Sequence[int]
"""A size as ``"600x900"`` or ``(600, 900)``, height first; 600 is a square."""

MAX_SEED = 2**63 - 1


def settings(
    preset: str | None = None, config: Config | None = None, overrides: Mapping[str, Any] | None = None
) -> NetworkSettings:
    """Settings from a preset, a JSON file or what one would hold, and dotted keys; later beats earlier.

    ``settings("mobilenetv2-fpnlite", overrides={"pyramid.channels": 64})``

    Raises:
        UsageError: where they are no settings.
        MnfpnError: where the file cannot be read.
    """
    if preset is not None and not isinstance(preset, str):
        raise UsageError(
            Problem("preset", "must be the name of a preset", _a(preset), "; config= takes files and settings")
        )
    if overrides is not None and not isinstance(overrides, Mapping):
        raise UsageError(Problem("overrides", "must be a dictionary of dotted keys and values", _a(overrides)))
    sources = [read_preset(preset)] if preset is not None else []
    sources += [_read(config)] if config is not None else []
    sources += [_override(key, value) for key, value in (overrides or {}).items()]
    return resolve(sources)


def plan(settings: NetworkSettings, size: Sides | None = None) -> NetworkPlan:
    """Every layer of the network, without torch; for a head on flattened maps, made for a size as ``"600x900"``.

    Raises:
        UsageError: where the network cannot take the size, or the head needs one that is given nowhere.
    """
    return plan_network(_at(settings, size))


def build_network(settings: NetworkSettings, seed: int = 0, size: Sides | None = None) -> "Network":
    """The network on the CPU in float32 and eval mode, initialised from the seed; ``size`` as for the plan.

    Raises:
        UsageError: as for the plan; or where the seed is no whole number from 0 to 2⁶³ - 1.
    """
    made = _at(settings, size)
    whole = _whole(seed)
    if whole is None or not 0 <= whole <= MAX_SEED:
        raise UsageError(Problem("seed", f"must be a whole number from 0 to {MAX_SEED}", f"{seed!r:.40}"))
    from mnfpn_cli.network import network as build

    return build.build_network(made, whole)


def load_weights(
    network: "Network",
    settings: NetworkSettings,
    file: str | PathLike[str],
    size: Sides | None = None,
) -> "WeightsRecord":
    """Copy a checkpoint into a network of these settings, all that fits or nothing, and say what became of it.

    ``size`` is the one that the network was built for, where it needed one.

    Raises:
        UsageError: where the file is no checkpoint, or one of another network; the network is then as before.
        MnfpnError: where it cannot be read.
    """
    from mnfpn_cli.weights import load
    from mnfpn_cli.weights.files import read_checkpoint

    made = _at(settings, size)
    _check_network(network)
    return load.load_weights(network, made, read_checkpoint(Path(_file_name("file", file))))


def detector_backbone(network: "Network") -> "DetectorBackbone":
    """The network as torchvision's detectors take a backbone: a dictionary of levels, and ``out_channels``.

    Raises:
        UsageError: where the network has a head.
    """
    from mnfpn_cli.network.network import DetectorBackbone

    _check_network(network)
    return DetectorBackbone(network)


def _read(config: Config) -> Source:
    if isinstance(config, Mapping):
        return Source("config", parse_settings("config", _json("config", dict(config)).encode()))
    if isinstance(config, list):
        return Source("config", parse_settings("config", _json("config", config).encode()))
    return read_config(_file_name("config", config))


def _file_name(name: str, value: str | PathLike[str]) -> str:
    if not isinstance(value, str | PathLike) or not isinstance(fspath(value), str):
        raise UsageError(Problem(name, "must be the name of a file", _a(value)))
    return fspath(value)


def _override(key: str, value: Any) -> Source:
    name = f"overrides {key}"
    if not isinstance(key, str) or "" in key.split(".") or "=" in key:
        raise UsageError(Problem("overrides", "must have dotted keys, as pyramid.smooth", f"'{key}'"))
    return replace(parse_override(f"{key}={_json(name, value)}"), name=name)


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(Problem(name, f"must be what JSON can say: {error}")) from None


def _at(settings: NetworkSettings, size: Sides | None) -> NetworkSettings:
    if not isinstance(settings, NetworkSettings):
        raise UsageError(Problem("settings", "must be what settings() returns", _a(settings)))
    if size is None:
        return settings
    wanted = parse_size(_size_text(size))
    made = settings.at(wanted)
    network_input(made, wanted)
    return made


def _size_text(size: Sides) -> str:
    if isinstance(size, str):
        return size
    sides = [_whole(side) for side in (size if isinstance(size, Sequence) else [size])]
    if None in sides or isinstance(size, bytes):
        raise UsageError(Problem("size", 'must be as "600x900", (600, 900), or 600 for a square', f"{size!r:.40}"))
    return "x".join(map(str, sides))


def _whole(value: Any) -> int | None:
    """A whole number, of Python's or of another library's; None where it is none, as true and false are."""
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def _check_network(network: object) -> None:
    from mnfpn_cli.network.network import Network

    if not isinstance(network, Network):
        raise UsageError(Problem("network", "must be what build_network() returns", _a(network)))


def _a(value: object) -> str:
    """What a value is, for a message."""
    return f"an object of type {type(value).__name__}"
