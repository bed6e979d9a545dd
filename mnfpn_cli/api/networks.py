"""Settings, plans, networks and weights. Only functions that build a network import torch."""

import json
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.api.arguments import Sides, file_name, type_of, whole_number
from mnfpn_cli.api.plans import settings_at
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import parse_settings, read_config, read_preset
from mnfpn_cli.settings.measuring import MAX_SEED
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source

if TYPE_CHECKING:
    from mnfpn_cli.documents.records import WeightsRecord
    from mnfpn_cli.network.network import DetectorBackbone, Network

Config = str | PathLike[str] | Mapping[str, Any] | list[Any]
"""A settings file, or its content: settings, or a list of stages."""


def settings(
    preset: str | None = None, config: Config | None = None, overrides: Mapping[str, Any] | None = None
) -> NetworkSettings:
    """Return settings. Overrides replace values of the config, and these replace values of the preset.

    Args:
        preset: the name of a preset.
        config: a JSON file, or its content.
        overrides: values by dotted keys.

    Raises:
        UsageError: where the settings are not valid.
        MnfpnError: where the file cannot be read.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> mnfpn.settings("mobilenetv2-fpnlite", overrides={"pyramid.channels": 64}).pyramid.channels
        64
        >>> mnfpn.settings(overrides={"width_mult": -1})
        Traceback (most recent call last):
        mnfpn_cli.errors.UsageError: overrides width_mult: must be greater than 0, got -1
    """
    if preset is not None and not isinstance(preset, str):
        raise UsageError(
            Problem("preset", "must be the name of a preset", type_of(preset), "; config= takes files and settings")
        )
    if overrides is not None and not isinstance(overrides, Mapping):
        raise UsageError(Problem("overrides", "must be a dictionary of dotted keys and values", type_of(overrides)))
    sources = [read_preset(preset)] if preset is not None else []
    sources += [_read(config)] if config is not None else []
    sources += [_override(key, value) for key, value in (overrides or {}).items()]
    return resolve(sources)


def build_network(settings: NetworkSettings, seed: int = 0, size: Sides | None = None) -> "Network":
    """Return the network on the CPU, in float32 and eval mode.

    Args:
        settings: what `settings` returns.
        seed: the seed of the weights.
        size: the size of images; needed only for a head on flattened maps.

    Raises:
        UsageError: where the network cannot take the size, the head needs one and none is given, or the seed is not
            a whole number from 0 to 2⁶³ - 1.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import torch
        >>> network = mnfpn.build_network(mnfpn.settings(overrides={"width_mult": 0.35, "pyramid.channels": 8}))
        >>> [tuple(level.shape) for level in network(torch.rand(1, 3, 64, 96))]
        [(1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)]
    """
    settings = settings_at(settings, size)
    number = whole_number("seed", seed, 0, MAX_SEED)
    from mnfpn_cli.network import network as build

    return build.build_network(settings, number)


def load_weights(
    network: "Network",
    settings: NetworkSettings,
    file: str | PathLike[str],
    size: Sides | None = None,
    *,
    weights_key: str | None = None,
    weights_partial: str | None = None,
) -> "WeightsRecord":
    """Load a checkpoint into a network. After an error the network is unchanged.

    Args:
        network: what `build_network` returns.
        settings: the settings that it was built from.
        file: the checkpoint.
        size: the size that the network was built for, where it needed one.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.

    Returns:
        The keys that matched, and those that did not.

    Raises:
        UsageError: where the file is not a checkpoint, or belongs to another network.
        MnfpnError: where it cannot be read.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import tempfile, torch
        >>> small = mnfpn.settings(overrides={"width_mult": 0.35, "pyramid.channels": 8})
        >>> with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        ...     torch.save(mnfpn.build_network(small, seed=1).state_dict(), file.name)
        ...     loaded = mnfpn.load_weights(mnfpn.build_network(small), small, file.name)
        >>> loaded.layout, loaded.missing
        ('mnfpn', ())
    """
    from mnfpn_cli.weights import load
    from mnfpn_cli.weights.checkpoint import read_checkpoint

    settings = settings_at(settings, size)
    _check_network(network)
    checkpoint = read_checkpoint(Path(file_name("file", file)), weights_key)
    return load.load_weights(network, settings, checkpoint, weights_partial)


def detector_backbone(network: "Network") -> "DetectorBackbone":
    """Return the network as a backbone of torchvision's detectors: a dictionary of levels, with ``out_channels``.

    Raises:
        UsageError: where the network has a head.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import torch
        >>> small = mnfpn.settings(overrides={"width_mult": 0.35, "pyramid.channels": 8})
        >>> backbone = mnfpn.detector_backbone(mnfpn.build_network(small))
        >>> backbone.out_channels, list(backbone(torch.rand(1, 3, 64, 96)))
        (8, ['p2', 'p3', 'p4', 'p5'])
    """
    from mnfpn_cli.network.network import DetectorBackbone

    _check_network(network)
    return DetectorBackbone(network)


def _read(config: Config) -> Source:
    if isinstance(config, Mapping):
        return Source("config", parse_settings("config", _json("config", dict(config)).encode()))
    if isinstance(config, list):
        return Source("config", parse_settings("config", _json("config", config).encode()))
    return read_config(file_name("config", config))


def _override(key: str, value: Any) -> Source:
    name = f"overrides {key}"
    if not isinstance(key, str) or "" in key.split(".") or "=" in key:
        raise UsageError(Problem("overrides", "must have dotted keys, as pyramid.smooth", f"'{key}'"))
    return replace(parse_override(f"{key}={_json(name, value)}"), name=name)


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value, default=_number)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(Problem(name, f"must be what JSON can say: {error}")) from None


def _number(value: object) -> int | float:
    """Return a number of another library, as NumPy's, as Python's own."""
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _check_network(network: object) -> None:
    from mnfpn_cli.network.network import Network

    if not isinstance(network, Network):
        raise UsageError(Problem("network", "must be what build_network() returns", type_of(network)))
