"""The options of quantisation: how they are spelled, and which values they refuse."""

from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.cli.groups import command_line, grouped
from mnfpn_cli.cli.quantization import QuantizationOptions
from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.quantization import QuantizationCase, quantization_case


@grouped
def command(*, quantization: QuantizationOptions) -> QuantizationCase:
    """A command with these options alone."""
    return quantization.quantization()


def test_options_become_a_case() -> None:
    """A path may be given with others, separated by commas, or alone; one given twice counts once."""
    run: Any = command
    nothing = {**dict.fromkeys(("calibration", "keep_float", "mean", "std")), "quiet": False, "verbose": False}
    assert run(**nothing) == QuantizationCase()
    given: dict[str, Any] = {
        "calibration": ["photos"],
        "keep_float": ["stem, head", "stem"],
        "mean": ["0.485,0.456,-0.1"],
        "std": ["0.5"],
        "quiet": False,
        "verbose": False,
    }
    assert run(**given) == QuantizationCase(Path("photos"), ("stem", "head"), (0.485, 0.456, -0.1), (0.5,))


def test_options_are_written_as_they_were_given() -> None:
    """As a worker takes them."""
    options = QuantizationOptions(Path("photos"), ["stem", "head"], mean="0.5", std="0.5")
    expected = "bench --calibration photos --keep-float stem --keep-float head --mean 0.5 --std 0.5"
    assert command_line("bench", options) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"keep_float": ["a,,b"]},
            r"^keep_float: must be paths of layers, separated by commas, got 'a,,b'$",
        ),
        ({"keep_float": [""]}, r"^keep_float: must be paths of layers, separated by commas, got ''$"),
        ({"mean": [float("nan")]}, r"^mean: must be from -1000000 to 1000000, got nan$"),
        ({"mean": [0.0, 2e6]}, r"^mean: must be from -1000000 to 1000000, got 2e\+06$"),
        ({"std": [0.5, 0.0]}, r"^std: must be above 0, to 1000000, got 0$"),
        ({"std": [-0.5]}, r"^std: must be above 0, to 1000000, got -0\.5$"),
        ({"std": [float("inf")]}, r"^std: must be above 0, to 1000000, got inf$"),
    ],
)
def test_values_out_of_bounds_are_refused(values: dict[str, Any], message: str) -> None:
    """A deviation divides pixels, so it is more than 0."""
    with pytest.raises(UsageError, match=message):
        quantization_case(**values)


@pytest.mark.parametrize("text", ["", "a", "0.5,", "0.5;0.5"])
def test_a_mean_is_numbers_separated_by_commas(text: str) -> None:
    """One for each channel, or one for all."""
    rule = rf"^--mean: must be a number for each channel, separated by commas, or one for all, got '{text}'$"
    with pytest.raises(UsageError, match=rule):
        QuantizationOptions(mean=text).quantization()
