"""The table of the layers that lose the precision of int8, and its sentences."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from mnfpn_cli.documents.noise import FloatAdvice, LayerNoise, NoiseRecord
from mnfpn_cli.report.terminal.noise import MOST_ROWS, noise_tables
from mnfpn_cli.report.terminal.screen import print_report


def layer(number: int, share: float, path: str = "", **values: Any) -> LayerNoise:
    """A layer of which all is measured."""
    given = {
        "path": path or f"stages.{number}.0.depthwise",
        "number": number,
        "left_float": False,
        "macs": 1000 * number,
        "macs_share": 0.05,
        "low": -1.25,
        "high": 118.4,
        "alone_db": 12.345,
        "cumulative_db": 11.0,
        "noise_share": share,
        "weights_share": 0.004,
        "kept_gain_db": -0.02,
    }
    return LayerNoise.model_validate(given | values)


LITTLE: dict[str, Any] = {"weights_share": None, "kept_gain_db": None}
LAYERS = (
    layer(4, 0.7),
    layer(2, 0.2, weights_share=0.996, kept_gain_db=6.07),
    layer(1, 0.05, left_float=True, kept_gain_db=None),
    *(layer(number, 0.01, **LITTLE) for number in (3, 5, 6, 7)),
    layer(8, 0.01, alone_db=None, cumulative_db=None, **LITTLE),
    layer(9, 0.004, **LITTLE),
    layer(10, 0.001, **LITTLE),
)
ADVICE = FloatAdvice(
    paths=("stages.2.0.depthwise",),
    gain_db=6.07,
    macs_share=0.004,
    sentence="leave stages.2.0.depthwise in float32: +6.1 dB for 0.4 % of the MACs",
)
RECORD = NoiseRecord(
    passes=1,
    calibrated_on=64,
    overall_db=9.96,
    advised_db=16.03,
    option="`keep_float` stages.2.0.depthwise",
    advice=(ADVICE,),
    obstacle="stages.4.0.depthwise has 70 % of the noise: an operation reads it",
    layers=LAYERS,
)


def lines_of(record: NoiseRecord, width: int = 80) -> list[str]:
    """The lines on a screen of so many columns."""
    buffer = StringIO()
    print_report(noise_tables("Which layers lose it", record), Console(file=buffer, width=width, color_system=None))
    return [line.rstrip() for line in buffer.getvalue().splitlines() if line.strip()]


def test_a_row_for_each_of_the_noisiest_and_one_for_the_others() -> None:
    """What was not measured is left empty, and so is what is no number; shares are in per cent, the rest is in dB."""
    lines = lines_of(RECORD)
    assert lines[0] == "Which layers lose it"
    assert lines[1].split() == ["Layer", "Noise", "Weights", "Map", "Alone", "So", "far", "Float", "MACs"]
    rows = [line.split("  ") for line in lines[3 : 3 + MOST_ROWS + 1]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["stages.4.0.depthwise", "70.0 %", "0 %", "-1.2 to 118", "12.3", "11.0", "+0.0", "5.0 %"]
    assert cells[1] == ["stages.2.0.depthwise", "20.0 %", "100 %", "-1.2 to 118", "12.3", "11.0", "+6.1", "5.0 %"]
    assert cells[2][-2:] == ["float", "5.0 %"]
    assert cells[3] == ["stages.3.0.depthwise", "1.0 %", "-1.2 to 118", "12.3", "11.0", "5.0 %"]
    assert cells[7] == ["stages.8.0.depthwise", "1.0 %", "-1.2 to 118", "5.0 %"]
    assert cells[8] == ["2 others", "0.5 %", "10.0 %"]


def test_the_table_and_its_sentences_fit_into_80_columns() -> None:
    """Long paths take the room of the range of the map, whose column is left out then."""
    assert max(map(len, lines_of(RECORD))) <= 80
    long = RECORD.model_copy(update={"layers": (layer(1, 1.0, "pyramid.smooth.p3.depthwise"), *LAYERS[1:])})
    lines = lines_of(long)
    assert max(map(len, lines)) <= 80
    assert "Map" not in lines[1]
    assert lines[3].startswith("pyramid.smooth.p3.depthwise  100.0 %")
    assert "Map" in lines_of(long, width=100)[1]


def test_the_advice_is_a_sentence_for_each_step_and_the_option_for_all() -> None:
    """And what stands in the way of the layer with the most noise."""
    text = " ".join(lines_of(RECORD))
    assert "Everything in int8, simulated: 10.0 dB (1 pass, calibrated on 64)." in text
    assert "Leave stages.2.0.depthwise in float32: +6.1 dB for 0.4 % of the MACs." in text
    assert "`keep_float` stages.2.0.depthwise gives 16.0 dB." in text
    assert "stages.4.0.depthwise has 70 % of the noise: an operation reads it." in text


@pytest.mark.parametrize(("obstacle", "expected"), [(None, 1), ("stem has 50 % of the noise: so", 0)])
def test_without_advice_a_sentence_says_that_there_is_none_or_why(obstacle: str | None, expected: int) -> None:
    """No option is named."""
    nothing = {"advised_db": None, "option": None, "advice": (), "obstacle": obstacle, "overall_db": None}
    text = " ".join(lines_of(RECORD.model_copy(update=nothing)))
    assert text.count("No layer is worth leaving in float32: none gains 1 dB for at most 5 % of the MACs.") == expected
    assert (obstacle or "simulated: no noise") in text
    assert "`keep_float`" not in text


def test_the_record_is_read_back_from_json() -> None:
    """All that is measured, and what is not."""
    assert NoiseRecord.model_validate_json(RECORD.model_dump_json()) == RECORD
