"""What settings mean, before anything is planned."""

import pytest
from hypothesis import given
from pydantic import ValidationError

from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.sources import resolve
from tests.strategies import network_settings


def test_each_stage_of_stride_2_opens_a_level_tapped_at_the_last_map_of_its_stride() -> None:
    """MobileNetV2: p4 is tapped after the 96-channel stage, p5 after the 320-channel one."""
    assert NetworkSettings().taps == {"p2": 1, "p3": 2, "p4": 4, "p5": 6}
    assert NetworkSettings().backbone_stride == 32


@pytest.mark.parametrize("levels", [2, 6])
def test_as_many_levels_as_stages_of_stride_2(levels: int) -> None:
    """Two give two, six give six."""
    settings = NetworkSettings.model_validate({"stages": [(1, 16, 1, 1), *[(2, 8, 1, 2)] * levels]})
    assert settings.levels == tuple(f"p{k}" for k in range(2, levels + 2))


@pytest.mark.parametrize(
    ("written", "levels"),
    [
        ("all", ("p2", "p3", "p4", "p5")),
        ("p3-p5", ("p3", "p4", "p5")),
        ("p3–p5", ("p3", "p4", "p5")),
        ("p5,p3", ("p3", "p5")),
        (["p4"], ("p4",)),
    ],
)
def test_levels_can_be_all_a_range_or_a_list(written: object, levels: tuple[str, ...]) -> None:
    """Always finest first, however they were written."""
    assert NetworkSettings.model_validate({"pyramid": {"levels": written}}).levels == levels


def test_settings_are_frozen() -> None:
    """A value that was validated stays as it is."""
    with pytest.raises(ValidationError, match="frozen"):
        NetworkSettings().width_mult = 2.0  # type: ignore[misc]


def test_the_default_preset_is_the_defaults() -> None:
    """One network stands behind both words."""
    assert resolve([read_preset("mobilenetv2-fpn")]) == NetworkSettings()


def test_every_preset_is_valid() -> None:
    """A preset is a file that a user could have written."""
    assert [resolve([read_preset(name)]) for name in preset_names()]


@given(network_settings())
def test_resolved_settings_read_back_as_themselves(settings: NetworkSettings) -> None:
    """What `settings show` prints loses nothing."""
    assert NetworkSettings.model_validate(settings.model_dump(mode="json")) == settings
