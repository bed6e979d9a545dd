"""The same from Python: settings, their plan, and the network. Torch is imported by what builds a network alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.settings.files import parse_settings, read_config, read_preset
from mnfpn_cli.settings.input import network_input, parse_size
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source, resolve

if TYPE_CHECKING:
    from mnfpn_cli.network.detector import DetectorBackbone
    from mnfpn_cli.network.network import Network
    from mnfpn_cli.weights.load import Loaded

Config = str | PathLike[str] | Mapping[str, Any]


def settings(
    preset: str | None = None, config: Config | None = None, overrides: Mapping[str, Any] | None = None
) -> NetworkSettings:
    """Settings from a preset, a JSON file or what one would hold, and dotted keys; later beats earlier.

    ``settings("mobilenetv2-fpnlite", overrides={"pyramid.channels": 64})``

    Raises:
        UsageError: where they are no settings, in the words of the command line.
        MnfpnError: where the file cannot be read.
    """
    with _in_pythons_words():
        sources = [read_preset(preset)] if preset is not None else []
        sources += [_read(config)] if config is not None else []
        sources += [_override(key, value) for key, value in (overrides or {}).items()]
        return resolve(sources)


def plan(settings: NetworkSettings, size: str | Sequence[int] | None = None) -> NetworkPlan:
    """Every layer of the network, without torch; for a head on flattened maps, made for a size as ``"600x900"``.

    Raises:
        UsageError: where the network cannot take the size, or the head needs one that is given nowhere.
    """
    return plan_network(_at(settings, size))


def build_network(settings: NetworkSettings, seed: int = 0, size: str | Sequence[int] | None = None) -> "Network":
    """The network on the CPU in float32 and eval mode, initialised from the seed; ``size`` as for the plan.

    Raises:
        UsageError: as for the plan.
    """
    from mnfpn_cli.network import build

    return build.build_network(_at(settings, size), seed)


def load_weights(
    network: "Network",
    settings: NetworkSettings,
    file: str | PathLike[str],
    size: str | Sequence[int] | None = None,
) -> "Loaded":
    """Copy a checkpoint into a network of these settings, all that fits or nothing, and say what became of it.

    ``size`` is the one that the network was built for, where it needed one.

    Raises:
        UsageError: where the file is no checkpoint, or one of another network; the network is then as before.
        MnfpnError: where it cannot be read.
    """
    from mnfpn_cli.weights import load
    from mnfpn_cli.weights.files import read_checkpoint

    return load.load_weights(network, _at(settings, size), read_checkpoint(Path(file)))


def detector_backbone(network: "Network") -> "DetectorBackbone":
    """The network as torchvision's detectors take a backbone: a dictionary of levels, and ``out_channels``.

    Raises:
        UsageError: where the network has a head.
    """
    from mnfpn_cli.network.detector import DetectorBackbone

    return DetectorBackbone(network)


def _read(config: Config) -> Source:
    if not isinstance(config, Mapping):
        return read_config(fspath(config))
    return Source("config", parse_settings("config", _json("config", dict(config)).encode()))


def _override(key: str, value: Any) -> Source:
    name = f"overrides {key}"
    if "" in key.split(".") or "=" in key:
        raise UsageError(f"overrides: must have dotted keys, as pyramid.smooth, got '{key}'")
    return replace(parse_override(f"{key}={_json(name, value)}"), name=name)


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}: must be what JSON can say: {error}") from None


def _at(settings: NetworkSettings, size: str | Sequence[int] | None) -> NetworkSettings:
    if size is None:
        return settings
    with _in_pythons_words():
        wanted = parse_size(size if isinstance(size, str) else "x".join(map(str, size)))
        made = settings.at(wanted)
        network_input(made, wanted)
        return made


@contextmanager
def _in_pythons_words() -> Iterator[None]:
    """Name an argument as Python does: ``preset`` is the command line's ``--preset``."""
    try:
        yield
    except UsageError as error:
        raise UsageError(str(error).removeprefix("--")) from None
