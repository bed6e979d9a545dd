"""The tables and the document of `mnfpn summary --counts`."""

import io
import json
from dataclasses import fields

from rich.console import Console

from mnfpn_cli.audit.counts import WorkCounts
from mnfpn_cli.documents.base import to_json
from mnfpn_cli.documents.counts import CountsRecord, ToolRecord, WorkRecord
from mnfpn_cli.report.terminal.counts import KINDS, counts_tables

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
EXACT = ToolRecord(
    tool="thop",
    version="0.1.1",
    total=30_236_874_128,
    unit="MACs",
    meaning="MACs + 4 per element of batch norm",
    exact=True,
    note="",
)
DOUBTFUL = ToolRecord(
    tool="ptflops",
    version="0.7.5",
    total=1_234,
    unit="MACs",
    meaning="MACs + biases",
    exact=False,
    note="sum() is taken for add()",
)
FAILED = ToolRecord(
    tool="fvcore",
    version="0.1.5",
    total=None,
    unit="flops",
    meaning="MACs + norms",
    exact=False,
    note="fvcore fails [here]",
)


def lines(*totals: ToolRecord, width: int = 140) -> list[str]:
    """The report as it is printed."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for item in counts_tables(CountsRecord(work=WORK, tools=totals)):
        console.print(item)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def line(found: list[str], start: str) -> str:
    """The one line that begins so."""
    (one,) = (text for text in found if text.startswith(start))
    return one


def test_every_kind_of_work_has_a_name_and_a_unit() -> None:
    """A kind that is counted and has no row would be left out in silence."""
    assert list(KINDS) == list(WorkRecord.model_fields) == [field.name for field in fields(WorkCounts)]


def test_kinds_are_shown_in_full_with_their_unit_where_there_are_any() -> None:
    """Whole numbers, MACs told from elements; no row of nothing."""
    found = lines(EXACT)
    assert line(found, "convolutions").split()[-2:] == ["29,949,721,552", "MACs"]
    assert line(found, "upsampling").split()[-5:] == ["11,364,096", "elements", "of", "the", "output"]
    assert not any(text.startswith(("other norms", "dense")) for text in found)


def test_a_total_is_whole_and_says_what_the_tool_calls_it_and_what_it_is() -> None:
    """30,236,874,128, not 30.24 G: a number that is looked for must be found."""
    text = line(lines(EXACT), "thop")
    assert "30,236,874,128" in text
    assert "≈" not in text
    assert text.rstrip().endswith("MACs + 4 per element of batch norm")


def test_a_doubtful_total_is_marked_and_a_missing_one_is_none_with_the_reason_below() -> None:
    """Never a wrong number without a word; brackets in a reason are no markup."""
    found = lines(EXACT, DOUBTFUL, FAILED)
    assert line(found, "ptflops  ").split()[1:3] == ["≈", "1,234"]
    assert line(found, "fvcore  ").split()[1] == "none"
    assert line(found, "ptflops: ") == "ptflops: sum() is taken for add()."
    assert line(found, "fvcore: ") == "fvcore: fvcore fails [here]."
    assert not any(text.startswith("thop:") for text in found)


def test_a_line_says_how_to_place_a_number() -> None:
    """With the one relation that explains most surprises."""
    assert any("FLOPs are 2 × MACs" in text for text in lines(EXACT))


def test_totals_are_whole_in_eighty_columns() -> None:
    """The text is broken into lines, never a number."""
    assert any("30,236,874,128" in text for text in lines(EXACT, width=80))


def test_the_document_has_every_kind_and_null_where_a_tool_fails() -> None:
    """Kinds that the network has nothing of are zero there, not missing."""
    document = json.loads(to_json(CountsRecord(work=WORK, tools=(EXACT, FAILED))))
    assert document["work"] == {field.name: getattr(WORK, field.name) for field in fields(WorkCounts)}
    assert document["tools"][0] == {
        "tool": "thop",
        "version": "0.1.1",
        "total": 30_236_874_128,
        "unit": "MACs",
        "meaning": "MACs + 4 per element of batch norm",
        "exact": True,
        "note": "",
    }
    assert (document["tools"][1]["total"], document["tools"][1]["note"]) == (None, "fvcore fails [here]")
