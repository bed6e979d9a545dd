"""Settings as options: what they say is what they were made of."""

import pytest
from hypothesis import given

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import as_options, parse_override, parse_stages
from mnfpn_cli.settings.sources import Source
from tests.strategies import network_settings


def read_back(options: list[str]) -> NetworkSettings:
    """The settings that options give, as `NetworkOptions.settings` puts them together."""
    named = {"--width-mult": ("width_mult",), "--pyramid-channels": ("pyramid", "channels")}
    pairs = list(zip(options[::2], options[1::2], strict=True))
    sources = [parse_stages(value) for name, value in pairs if name == "--stages"]
    sources += [Source(name, float(value), named[name]) for name, value in pairs if name == "--width-mult"]
    sources += [Source(name, int(value), named[name]) for name, value in pairs if name == "--pyramid-channels"]
    return resolve([*sources, *(parse_override(value) for name, value in pairs if name == "--set")])


@given(network_settings())
def test_options_give_the_settings_that_they_spell(settings: NetworkSettings) -> None:
    """Whatever the settings: a command that was copied measures what the row measured."""
    assert read_back(as_options(settings)) == settings


@pytest.mark.parametrize("preset", preset_names())
def test_presets_can_be_spelled(preset: str) -> None:
    """Each of them, without its name."""
    settings = resolve([read_preset(preset)])
    assert read_back(as_options(settings)) == settings


def test_the_default_network_needs_no_options() -> None:
    """Nothing is said that goes without saying."""
    assert as_options(NetworkSettings()) == []


def test_only_what_differs_is_said() -> None:
    """A width and a kind of smoothing are two options."""
    settings = NetworkSettings.model_validate({"width_mult": 0.5, "pyramid": {"smooth": "separable"}})
    assert as_options(settings) == ["--width-mult", "0.5", "--set", "pyramid.smooth=separable"]
