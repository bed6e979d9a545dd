"""The table of parts, its notes, and the document."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from mnfpn_cli.bench.profile import advice_record, profile_record
from mnfpn_cli.documents.bench import ProfileRecord
from mnfpn_cli.measure.layer_times import LayerTime, LayerTimes
from mnfpn_cli.plan.advice import Advice
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerWork, Peaks, network_work, roofline
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.report.terminal.profile import layers_tables
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.report.terminal.tables import Line, least_width
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import DEFAULT_SIZE, parse_size
from mnfpn_cli.settings.overrides import parse_override

WORKS = (
    LayerWork("stem", "stem", "conv", 1_000_000, 4_000_000),
    LayerWork("stages.0.0.depthwise", "stages.0", "depthwise", 1_000_000, 40_000_000),
    LayerWork("stages.0.0.project", "stages.0", "pointwise", 50_000_000, 4_000_000),
    LayerWork("pyramid", "top-down", "move", 0, 20_000_000),
    LayerWork("pyramid.smooth.p2", "smooth p2", "conv", 900_000_000, 4_000_000),
)
SECONDS = (0.002, 0.008, 0.002, 0.004, 0.018)
TIMES = LayerTimes(
    (
        LayerTime("", "rest", 0.001),
        *(LayerTime(*work.id, time) for work, time in zip(WORKS, SECONDS, strict=True)),
    ),
    marked=0.0360,
    undisturbed=0.0352,
)
ADVICE = Advice("smooth p2", 0.612, ("pyramid.levels=p3-p5",), 2.44)
ROOF = roofline(WORKS, Peaks(100e9, 10e9))
PROFILE = profile_record(WORKS, 0.03515, TIMES, ROOF, ADVICE)


def text_of(profile: ProfileRecord, width: int = 100) -> list[str]:
    """The report's lines on a screen of so many columns."""
    buffer = StringIO()
    console = Console(file=buffer, width=width, color_system=None)
    report = layers_tables("Where the time goes", profile)
    print_report([replace(item, whole=True) if isinstance(item, Line) else item for item in report], console)
    return [line.rstrip() for line in buffer.getvalue().splitlines()]


def row(profile: ProfileRecord, part: str) -> list[str]:
    """The cells of a part's row, separated by at least two spaces."""
    line = next(line for line in text_of(profile) if line.startswith(part))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_part_has_the_time_and_the_work_of_its_layers() -> None:
    """Their sum, the shares, the rate, the floor, what sets most of it, and what was reached."""
    assert row(PROFILE, "stages.0") == [
        "stages.0",
        "10.00 ms",
        "28.6",
        "51.00 M",
        "5.4",
        "5.100 G",
        "4.500 ms",
        "memory",
        "45.0",
    ]
    assert row(PROFILE, "smooth p2")[5:] == ["50.00 G", "9.000 ms", "compute", "50.0"]
    assert row(PROFILE, "top-down") == ["top-down", "4.000 ms", "11.4", "2.000 ms", "memory", "50.0"]
    assert row(PROFILE, "rest") == ["rest", "1.000 ms", "2.9"]


def test_page_faults_are_counted_in_a_line() -> None:
    """Where they were counted, also where there are none; with the part that has most of them."""
    for each, text in (
        (400.0, "Page faults: 2,000 in a pass while layers were timed, 40 % of them in stages.0."),
        (0.0, "Page faults: 0 in a pass while layers were timed."),
    ):
        rows = tuple(replace(one, faults=each) if one.path else one for one in TIMES.rows)
        assert text in text_of(profile_record(WORKS, 0.03515, replace(TIMES, rows=rows), ROOF, ADVICE))
    assert not any(line.startswith("Page faults") for line in text_of(PROFILE))


def test_the_total_is_that_of_the_layers() -> None:
    """As every row is; the note holds the floor against an undisturbed pass."""
    assert row(PROFILE, "total") == [
        "total",
        "35.00 ms",
        "100",
        "952.0 M",
        "100",
        "27.20 G",
        "15.90 ms",
        "compute",
        "45.4",
    ]
    notes = text_of(PROFILE)[-5:]
    assert notes[0] == (
        "The layers add up to 35.00 ms; a pass took 35.20 ms undisturbed, 36.00 ms while they were timed (+2.3 %)."
    )
    assert notes[1].startswith("rest: ")
    assert notes[2] == (
        "This device does 100.0 GMAC/s (large product or convolution) and 10.00 GB/s (large copy, read plus written): "
        "the network's floor is 15.90 ms. A pass took 35.15 ms: 45.2 % of what the device can do."
    )


def test_the_advice_is_one_plain_sentence() -> None:
    """As a person would say it; the last line of the report."""
    assert text_of(PROFILE)[-1] == (
        "Smoothing p2 takes 61 % of the time: `set` pyramid.levels=p3-p5 would make the network about 2.4 × faster."
    )
    assert text_of(profile_record(WORKS, 0.03515, TIMES, ROOF))[-1].startswith("Floors: ")


@pytest.mark.parametrize(
    ("part", "start"),
    [
        ("laterals", "the laterals take 61 %"),
        ("top-down", "the top-down path takes 61 %"),
        ("stages.3", "stage stages.3 takes 61 %"),
        ("extra p6", "extra level p6 takes 61 %"),
        ("smooth top", "smoothing top takes 61 %"),
        ("head", "the head takes 61 %"),
        ("head p3", "the head on p3 takes 61 %"),
        ("rest", "the work between the layers takes 61 %"),
    ],
)
def test_every_part_has_a_name_in_a_sentence(part: str, start: str) -> None:
    """A stage is called by its path, as in the table."""
    assert advice_record(replace(ADVICE, part=part)).sentence.startswith(start)


def test_a_change_with_lists_is_quoted_for_shells() -> None:
    """Which take brackets as patterns."""
    advice = replace(ADVICE, part="head p3", overrides=("pyramid.levels=p4-p5", "head.anchors.sizes=[64,128]"))
    assert advice_record(advice).option == "`set` pyramid.levels=p4-p5 `set` 'head.anchors.sizes=[64,128]'"


def test_the_head_of_a_detector_has_a_row_for_each_level_and_one_for_what_is_done_for_all() -> None:
    """Behind its levels, however the work is mixed; with seven levels in 80 columns."""
    overrides = ("pyramid.levels=p3-p9", "head.kind=retinanet", "head.classes=21")
    settings = resolve([read_preset("fpnssd"), *map(parse_override, overrides)])
    works = network_work(plan_network(settings), network_input(settings, parse_size("512")), 4)
    times = LayerTimes(tuple(LayerTime(*work.id, 1e-3 + work.macs / 1e11) for work in works), 1.0, 1.0)
    profile = profile_record(works, 1.0, times, roofline(works, Peaks(100e9, 10e9)))
    parts = [part.part for part in profile.parts]
    assert parts[-8:] == [*(f"head p{k}" for k in range(3, 10)), "head"]
    assert sum(part.macs for part in profile.parts) == sum(work.macs for work in works)
    assert max(map(len, text_of(profile, 80)[1:-3])) <= 80


def test_floors_alone_and_times_alone_are_tables_of_their_own() -> None:
    """Columns that nothing is known for are left out."""
    assert row(profile_record(WORKS, 0.03515, None, ROOF), "stages.0") == [
        "stages.0",
        "51.00 M",
        "5.4",
        "4.500 ms",
        "memory",
    ]
    assert row(profile_record(WORKS, 0.03515, TIMES), "stages.0") == [
        "stages.0",
        "10.00 ms",
        "28.6",
        "51.00 M",
        "5.4",
        "5.100 G",
    ]
    assert text_of(profile_record(WORKS, 0.03515, None, ROOF))[1].split() == ["Part", "MACs", "%", "Floor", "Bound"]


def test_what_runs_between_the_layers_is_left_out_where_it_is_nothing() -> None:
    """Less than a thousandth of the time; from a hundredth on it is explained."""
    for rest, lines in ((0.00001, 0), (0.0001, 1), (0.001, 2)):
        times = replace(TIMES, rows=(LayerTime("", "rest", rest), *TIMES.rows[1:]))
        assert (
            sum(line.startswith("rest") for line in text_of(profile_record(WORKS, 0.03515, times, ROOF, ADVICE)))
            == lines
        )


@pytest.mark.parametrize("name", preset_names())
def test_the_table_fits_eighty_columns(name: str) -> None:
    """With every column, for every preset."""
    size = parse_size(DEFAULT_SIZE)
    settings = resolve([read_preset(name)]).at(size)
    works = network_work(plan_network(settings), network_input(settings, size), 4)
    times = LayerTimes(tuple(LayerTime(*work.id, 0.1234) for work in works), 1.0, 1.0)
    made = layers_tables("", profile_record(works, 1.0, times, roofline(works, Peaks(123e9, 12e9))))[0]
    assert least_width(made) <= 80  # type: ignore[arg-type]


def test_the_document_has_raw_numbers_of_parts_and_layers() -> None:
    """In the order in which they run; every layer once, with null for what was not measured."""
    found = PROFILE.model_dump(mode="json")
    assert found["parts"][1] == {
        "part": "stages.0",
        "seconds": 0.010,
        "macs": 51_000_000,
        "bytes": 44_000_000,
        "floor_s": pytest.approx(0.0045),
        "bound": "memory",
        "page_faults": None,
    }
    assert [layer["path"] for layer in found["layers"]] == [*(work.path for work in WORKS), ""]
    assert sum(layer["macs"] for layer in found["layers"]) == sum(part["macs"] for part in found["parts"])
    assert found["roofline"] == {
        "macs_per_s": 100e9,
        "bytes_per_s": 10e9,
        "floor_s": pytest.approx(0.0159),
        "reached": pytest.approx(0.0159 / 0.03515),
    }
    assert found["advice"]["option"] == "`set` pyramid.levels=p3-p5"
    assert (found["measured_s"], found["undisturbed_s"], found["marked_s"]) == (0.03515, 0.0352, 0.0360)
    alone = profile_record(WORKS, 1.0).model_dump(mode="json")
    assert (alone["roofline"], alone["advice"], alone["undisturbed_s"]) == (None, None, None)
    assert alone["layers"][0] == {
        "path": "stem",
        "part": "stem",
        "seconds": None,
        "macs": 1_000_000,
        "bytes": 4_000_000,
        "floor_s": None,
        "bound": None,
        "page_faults": None,
        "joined": [],
    }


def test_a_pass_that_waits_for_the_host_says_so() -> None:
    """Its layers take less than it does."""
    words = "a pass took 35.20 ms undisturbed, the time that the host needs to queue it."
    assert not any(words in line for line in text_of(PROFILE))
    waiting = profile_record(WORKS, 0.03515, TIMES, ROOF, ADVICE, launch_bound=True)
    assert any(words in line for line in text_of(waiting))
    assert waiting.launch_bound


def test_the_advice_stands_beside_a_warning_that_the_machine_was_in_another_state() -> None:
    """The shares that it follows from are of one state."""
    text = "\n".join(text_of(profile_record(WORKS, 0.05, TIMES, ROOF, ADVICE)))
    assert "warning: a pass took 50.00 ms before, and 35.20 ms while layers were timed" in text
    assert "`set` pyramid.levels=p3-p5 would make the network about 2.4 × faster." in text
