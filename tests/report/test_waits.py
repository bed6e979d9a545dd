"""The table of what parts wait for."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from mnfpn_cli.bench.parts import LayerSum
from mnfpn_cli.bench.waits import WaitMeasurements, part_waits
from mnfpn_cli.documents.bench import PartWaits
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.report.terminal.tables import Line
from mnfpn_cli.report.terminal.waits import COLUMNS, HELPS, NAMES, waits_tables

MEASURED = WaitMeasurements(
    threads=2,
    fault_s=1e-6,
    fault_alone_s=1e-6,
    calls={"stem": 0.001, "stages.0": 0.002},
    on_one_thread={"stem": 0.010, "stages.0": 0.020},
)
PARTS = {
    "stem": LayerSum(0.010, 10, 10, {"compute": 0.002}, faults=500.0),
    "stages.0": LayerSum(0.030, 10, 10, {"compute": 0.001, "memory": 0.005}, faults=12_000.0),
    "rest": LayerSum(0.00001, faults=0.0),
}


def made(measured: WaitMeasurements) -> tuple[PartWaits, ...]:
    """What the parts wait for."""
    return tuple(part_waits(part, total, measured) for part, total in PARTS.items())


def text_of(waits: tuple[PartWaits, ...]) -> list[str]:
    """The lines on a screen of 80 columns."""
    buffer = StringIO()
    print_report(waits_tables("What it waits for", waits), Console(file=buffer, width=80, color_system=None))
    return [line.rstrip() for line in buffer.getvalue().splitlines()]


def test_each_part_has_the_shares_of_its_time() -> None:
    """Those that were measured, in 80 columns; parts that take no time are left out."""
    lines = [line for line in text_of(made(MEASURED)) if line.strip(" ─")]
    assert lines[1].split() == ["Part", "Compute", "Memory", "Faults", "Calls", "Threads", "Again", "Vectors", "Other"]
    assert lines[2].split() == ["stem", "20.0", "0.0", "5.0", "10.0", "42.5", "0.0", "0.0", "22.5"]
    assert lines[3].split() == ["stages.0", "3.3", "16.7", "40.0", "6.7", "33.3", "0.0", "0.0", "0.0"]
    assert lines[4].split() == ["total", "7.5", "12.5", "31.2", "7.5", "35.6", "0.0", "0.0", "5.6"]
    assert max(map(len, lines)) <= 80


def test_what_was_not_measured_has_no_column() -> None:
    """As the threads of a run on one thread."""
    columns = text_of(made(replace(MEASURED, on_one_thread=None, calls=None)))[1].split()
    assert columns == ["Part", "Compute", "Memory", "Faults", "Again", "Vectors", "Other"]
    assert waits_tables("", ()) == []


def test_a_sentence_names_what_takes_most_beyond_the_floor() -> None:
    """Where most of it is, and what helps."""
    joined = " ".join(text_of(made(replace(MEASURED, on_one_thread=None))))
    expected = "Beyond the floor, most time goes to what kernels lose: 41 % of a pass"
    assert expected in joined
    faults = replace(MEASURED, fault_s=2e-6)
    assert " ".join(text_of(made(faults))).endswith(
        "Beyond the floor, most time goes to page faults: 62 % of a pass, 96 % of that in stages.0. What helps: "
        "`allocator` keep."
    )


def test_threads_lose_less_where_memory_is_kept() -> None:
    """Giving memory back interrupts them; where it is kept, or no page is new, that is no advice."""
    text = "What helps: `allocator` keep; else a larger `batch`, or several processes with `threads` 1."
    assert text in " ".join(text_of(made(MEASURED)))
    kept = [line.text for line in waits_tables("", made(MEASURED), "keep") if isinstance(line, Line)][-1]
    none = " ".join(text_of(made(replace(MEASURED, fault_s=0.0, fault_alone_s=0.0))))
    for other in (kept, none):
        assert "What helps: a larger `batch`, or several processes with `threads` 1." in other


def test_memory_that_is_kept_already_is_no_advice() -> None:
    """The run has it."""
    waits = made(replace(MEASURED, fault_s=2e-6, fault_alone_s=2e-6))
    assert [line.text for line in waits_tables("", waits, "keep")[2:] if isinstance(line, Line)] == [
        "Beyond the floor, most time goes to page faults: 62 % of a pass, 96 % of that in stages.0."
    ]


def test_every_share_has_a_column() -> None:
    """In the order of the document; what is beyond the floor has a name."""
    shares = [name for name in PartWaits.model_fields if name.endswith("_s")]
    assert list(COLUMNS.values()) == shares
    assert list(NAMES) == shares[2:]
    assert list(HELPS) == shares[2:-1]


def test_a_run_at_its_floor_has_no_sentence() -> None:
    """There is nothing worth naming."""
    part = LayerSum(1.0, 10, 10, {"compute": 0.99})
    assert not any(line.startswith("Beyond") for line in text_of((part_waits("stem", part, WaitMeasurements()),)))
