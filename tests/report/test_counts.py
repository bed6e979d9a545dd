"""The tables of `mnfpn summary --counts`."""

import io

from rich.console import Console

from mnfpn_cli.documents.summary import CounterTotal, CountsRecord, Term, WorkRecord
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.report.terminal.summary import KINDS, counts_tables

WORK = WorkRecord(
    convolution_macs=29_949_721_552,
    dense_macs=0,
    bias_adds=23_010_304,
    batch_norm=71_788_144,
    other_norms=0,
    activations=65_575_440,
    resized=11_364_096,
    additions=13_724_560,
    multiplications=0,
    pooled=0,
)


def total(tool: str, number: int | None, unit: str, meaning: str, note: str = "") -> CounterTotal:
    """A counter's total, of one term."""
    terms = (Term(quantity="MACs", factor=1, amount=1_000),) if number else ()
    return CounterTotal(
        tool=tool,
        version=None if note.startswith("not installed") else "0.1.1",
        total=number,
        unit=unit,
        meaning=meaning,
        exact=bool(number),
        terms=terms,
        remainder=number and number - 1_000,
        note=note,
    )


EXACT = total("thop", 30_236_874_128, "MACs", "MACs + 4 × batch-norm elements")
UNCLEAR = total("ptflops", 1_234, "MACs", "MACs + 234 unexplained", note="it counts modules for one image")
FAILED = total("fvcore", None, "flops", "", note="it failed [here]")
MISSING = tuple(total(tool, None, "MACs", "", note="not installed; pip installs it") for tool in ("thop", "calflops"))
COUNTS = CountsRecord(work=WORK, tools=(EXACT, UNCLEAR, FAILED))


def lines(*totals: CounterTotal, width: int = 140) -> list[str]:
    """The report as it is printed."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_report(counts_tables(CountsRecord(work=WORK, tools=totals)), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def line(found: list[str], start: str) -> str:
    """The one line that begins so."""
    (one,) = (text for text in found if text.startswith(start))
    return one


def test_every_kind_of_work_has_a_name_and_a_unit() -> None:
    """A kind that is counted and has no row would be left out in silence."""
    assert list(KINDS) == list(WorkRecord.model_fields)


def test_kinds_are_shown_in_full_with_their_unit_where_there_are_any() -> None:
    """Whole numbers, MACs apart from elements; no row of nothing."""
    found = lines(EXACT)
    assert line(found, "convolutions").split()[-2:] == ["29,949,721,552", "MACs"]
    assert line(found, "upsampling").split()[-5:] == ["11,364,096", "elements", "of", "the", "output"]
    assert not any(text.startswith(("other norms", "dense")) for text in found)


def test_a_total_is_whole_and_says_what_the_tool_calls_it_and_what_it_is() -> None:
    """30,236,874,128, not 30.24 G: a number that is looked for must be found."""
    text = line(lines(EXACT), "thop")
    assert "30,236,874,128" in text
    assert text.rstrip().endswith("MACs + 4 × batch-norm elements")


def test_a_remainder_stands_in_its_row_and_a_missing_total_is_none_with_the_reason_below() -> None:
    """Never a number without a word on what it is; brackets in a reason are no markup."""
    found = lines(EXACT, UNCLEAR, FAILED)
    assert line(found, "ptflops  ").split()[1] == "1,234"
    assert line(found, "ptflops  ").rstrip().endswith("MACs + 234 unexplained")
    assert line(found, "fvcore  ").split() == ["fvcore", "none", "flops", "failed"]
    assert line(found, "ptflops: ") == "ptflops: it counts modules for one image."
    assert line(found, "fvcore: ") == "fvcore: it failed [here]."
    assert not any(text.startswith("thop:") for text in found)


def test_counters_with_the_same_reason_share_its_line() -> None:
    """As three that one install would add; their rows say that they were not run."""
    assert line(lines(*MISSING), "calflops  ").split()[-2:] == ["not", "run"]
    assert line(lines(EXACT, *MISSING), "thop, ") == "thop, calflops: not installed; pip installs it."


def test_a_line_says_how_to_place_a_number() -> None:
    """With the one relation that explains most surprises."""
    assert any("FLOPs are 2 × MACs" in text for text in lines(EXACT))


def test_totals_are_whole_in_eighty_columns() -> None:
    """The text is broken into lines, never a number."""
    assert any("30,236,874,128" in text for text in lines(EXACT, width=80))
