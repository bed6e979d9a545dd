"""Settings written as parameters of a command read back as the same settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import network_parameters, parse_override, parse_stages
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.text import Parameter, as_arguments
from tests.strategies import network_settings


def read_back(given: list[Parameter]) -> NetworkSettings:
    """Return the settings that parameters give, merged as `NetworkOptions.settings` does."""
    sources = [parse_stages(value) for name, value in given if name == "stages"]
    sources += [Source(name, float(value), (name,)) for name, value in given if name == "width_mult"]
    sources += [
        Source(name, int(value), ("pyramid", "channels")) for name, value in given if name == "pyramid_channels"
    ]
    return resolve([*sources, *(parse_override(value) for name, value in given if name == "set")])


@given(network_settings())
def test_parameters_give_the_settings_that_they_spell(settings: NetworkSettings) -> None:
    """For any settings: a copied command measures the same network."""
    assert read_back(network_parameters(settings)) == settings


@st.composite
def detections(draw: st.DrawFn) -> NetworkSettings:
    """A small detector that gives all of its own about pixels and boxes."""
    settings = draw(network_settings().filter(lambda one: one.detection is not None))
    share, count, number = st.floats(0, 1), st.integers(1, 1000), st.floats(0.01, 300.0)
    names = {"score_threshold": share, "topk": count, "nms_threshold": share, "detections": count}
    values = {
        "postprocess": draw(st.fixed_dictionaries(names)),
        "preprocess": {
            "mean": draw(st.lists(number, min_size=1, max_size=1)),
            "std": draw(st.lists(number, min_size=settings.in_channels, max_size=settings.in_channels)),
        },
    }
    return NetworkSettings.model_validate(settings.model_dump(mode="json") | values)


@given(detections())
def test_parameters_spell_how_images_become_boxes(settings: NetworkSettings) -> None:
    """As they spell the network: numbers to the last digit."""
    assert read_back(network_parameters(settings)) == settings


@pytest.mark.parametrize("preset", preset_names())
def test_presets_can_be_spelled(preset: str) -> None:
    """Without the name of the preset."""
    settings = resolve([read_preset(preset)])
    assert read_back(network_parameters(settings)) == settings


def test_the_default_network_needs_no_parameters() -> None:
    """Defaults are left out."""
    assert network_parameters(NetworkSettings()) == []


def test_only_what_differs_from_the_defaults_is_a_parameter() -> None:
    """A width and a kind of smoothing are two parameters; a shell takes them as options."""
    settings = NetworkSettings.model_validate({"width_mult": 0.5, "pyramid": {"smooth": "separable"}})
    assert network_parameters(settings) == [("width_mult", "0.5"), ("set", "pyramid.smooth=separable")]
    assert as_arguments(network_parameters(settings)) == ["--width-mult", "0.5", "--set", "pyramid.smooth=separable"]
