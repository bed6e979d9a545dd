"""The Python API: settings, plans, networks and weights. Only functions that build a network import torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.settings.files import parse_settings, read_config, read_preset
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source

if TYPE_CHECKING:
    from mnfpn_cli.documents.records import WeightsRecord
    from mnfpn_cli.network.network import DetectorBackbone, Network

Config = str | PathLike[str] | Mapping[str, Any] | list[Any]
"""A settings file, or its content: settings, or a list of stages."""

Sides = str | int | Sequence[int]
"""A size in pixels as ``"600x900"`` or ``(600, 900)``, height first; 600 is a square."""

MAX_SEED = 2**63 - 1


def settings(
    preset: str | None = None, config: Config | None = None, overrides: Mapping[str, Any] | None = None
) -> NetworkSettings:
    """Return settings. Overrides replace values of the config, and these replace values of the preset.

    ``settings("mobilenetv2-fpnlite", overrides={"pyramid.channels": 64})``

    Args:
        preset: the name of a preset.
        config: a JSON file, or its content.
        overrides: values by dotted keys.

    Raises:
        UsageError: where the settings are not valid.
        MnfpnError: where the file cannot be read.
    """
    if preset is not None and not isinstance(preset, str):
        raise UsageError(
            Problem("preset", "must be the name of a preset", _type_of(preset), "; config= takes files and settings")
        )
    if overrides is not None and not isinstance(overrides, Mapping):
        raise UsageError(Problem("overrides", "must be a dictionary of dotted keys and values", _type_of(overrides)))
    sources = [read_preset(preset)] if preset is not None else []
    sources += [_read(config)] if config is not None else []
    sources += [_override(key, value) for key, value in (overrides or {}).items()]
    return resolve(sources)


def plan(settings: NetworkSettings, size: Sides | None = None) -> NetworkPlan:
    """Return every layer of the network, without importing torch.

    Args:
        settings: what `settings` returns.
        size: the size of images; needed only for a head on flattened maps.

    Raises:
        UsageError: where the network cannot take the size, or the head needs one and none is given.
    """
    return plan_network(_at(settings, size))


def build_network(settings: NetworkSettings, seed: int = 0, size: Sides | None = None) -> "Network":
    """Return the network on the CPU, in float32 and eval mode.

    Args:
        settings: what `settings` returns.
        seed: the seed of the weights.
        size: the size of images; needed only for a head on flattened maps.

    Raises:
        UsageError: where the network cannot take the size, the head needs one and none is given, or the seed is not
            a whole number from 0 to 2⁶³ - 1.
    """
    settings = _at(settings, size)
    number = _whole_number(seed)
    if number is None or not 0 <= number <= MAX_SEED:
        raise UsageError(Problem("seed", f"must be a whole number from 0 to {MAX_SEED}", f"{seed!r:.40}"))
    from mnfpn_cli.network import network as build

    return build.build_network(settings, number)


def load_weights(
    network: "Network",
    settings: NetworkSettings,
    file: str | PathLike[str],
    size: Sides | None = None,
) -> "WeightsRecord":
    """Load a checkpoint into a network. After an error the network is unchanged.

    Args:
        network: what `build_network` returns.
        settings: the settings that it was built from.
        file: the checkpoint.
        size: the size that the network was built for, where it needed one.

    Returns:
        The keys that matched, and those that did not.

    Raises:
        UsageError: where the file is not a checkpoint, or belongs to another network.
        MnfpnError: where it cannot be read.
    """
    from mnfpn_cli.weights import load
    from mnfpn_cli.weights.checkpoint import read_checkpoint

    settings = _at(settings, size)
    _check_network(network)
    return load.load_weights(network, settings, read_checkpoint(Path(_file_name("file", file))))


def detector_backbone(network: "Network") -> "DetectorBackbone":
    """Return the network as a backbone of torchvision's detectors: a dictionary of levels, with ``out_channels``.

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
        raise UsageError(Problem(name, "must be the name of a file", _type_of(value)))
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
    """Return the settings for a size.

    Raises:
        UsageError: where the network cannot take the size.
    """
    if not isinstance(settings, NetworkSettings):
        raise UsageError(Problem("settings", "must be what settings() returns", _type_of(settings)))
    if size is None:
        return settings
    parsed = parse_size(_size_text(size))
    settings = settings.at(parsed)
    network_input(settings, parsed)  # checks that the network can take the size
    return settings


def _size_text(size: Sides) -> str:
    if isinstance(size, str):
        return size
    sides = [_whole_number(side) for side in (size if isinstance(size, Sequence) else [size])]
    if None in sides or isinstance(size, bytes):
        raise UsageError(Problem("size", 'must be as "600x900", (600, 900), or 600 for a square', f"{size!r:.40}"))
    return "x".join(map(str, sides))


def _whole_number(value: Any) -> int | None:
    """Return a whole number of Python or another library as an int; None for other values, and for True and False."""
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def _check_network(network: object) -> None:
    from mnfpn_cli.network.network import Network

    if not isinstance(network, Network):
        raise UsageError(Problem("network", "must be what build_network() returns", _type_of(network)))


def _type_of(value: object) -> str:
    """Describe a value in a message by its type."""
    return f"an object of type {type(value).__name__}"
