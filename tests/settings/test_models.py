"""Settings are frozen, presets are valid, and settings read back from JSON as they were."""

import pytest
from hypothesis import given
from pydantic import ValidationError

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.network import NetworkSettings
from tests.strategies import network_settings


def test_settings_are_frozen() -> None:
    """A validated value cannot be replaced."""
    with pytest.raises(ValidationError, match="frozen"):
        NetworkSettings().width_mult = 2.0  # type: ignore[misc]


def test_the_default_preset_has_the_default_settings() -> None:
    """mobilenetv2-fpn and no preset are the same network."""
    assert resolve([read_preset("mobilenetv2-fpn")]) == NetworkSettings()


def test_every_preset_is_valid() -> None:
    """A preset is a file that a user could have written."""
    assert [resolve([read_preset(name)]) for name in preset_names()]


@given(network_settings())
def test_resolved_settings_read_back_as_themselves(settings: NetworkSettings) -> None:
    """What `settings show` prints loses nothing."""
    assert NetworkSettings.model_validate(settings.model_dump(mode="json")) == settings
