"""A comparison as tables and as JSON."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any, TypeVar

import pytest
from rich.console import Console

from mnfpn_cli.bench.comparison import TimedSide, compare_document, compared_run
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.base import Record, to_json
from mnfpn_cli.documents.compare import (
    CommitRecord,
    CompareDocument,
    ComparedRun,
    GatesRecord,
    SideEnvironment,
    SideRecord,
    Verdict,
)
from mnfpn_cli.documents.records import Ended, WarningRecord
from mnfpn_cli.external.origin import FromSettings, Workload
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.measure.statistics import Interval, TimeRatio
from mnfpn_cli.report.compare_checks import compare_commands, compare_markdown
from mnfpn_cli.report.markdown import as_markdown
from mnfpn_cli.report.terminal.compare import compare_tables
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.report.terminal.tables import Forms, Line, Report, pairs, table
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.documents.validated import check_document

INPUT = NetworkInput(1, 3, Size(600, 900))
FIGURES = {
    "parameters": 4_293_888,
    "macs": 29_950_000_000,
    "model_bytes": 17_313_804,
    "activation_bytes": 99_000_000,
}
FIGURES_OF_B = {**FIGURES, "parameters": 3_220_416}
TIMES_A = tuple(0.5 + k / 1000 for k in range(12))
TIMES_B = tuple(0.4 + k / 1000 for k in range(12))
RATIO = TimeRatio(0.8022, Interval(0.8, 0.81), "by hand")
R = TypeVar("R", bound=Record)


def run(
    ratio: TimeRatio | None = RATIO, name: str = "batch 1 on cpu", ended: Ended | None = "precision"
) -> ComparedRun:
    """A run of both sides with this ratio."""
    return compared_run(name, [TIMES_A, TIMES_B], ratio, 0.01, ended)


FASTER = run()


def side_b(difference: float) -> SideRecord:
    """The second side, with this difference from eager float32."""
    workload = Workload(FromSettings(NetworkSettings(width_mult=0.75)), INPUT)
    return TimedSide("--width-mult 0.75 --runtime fused", workload, "fused", "float32").record(
        INPUT, FASTER.b, device="cpu", threads=2, train=False, figures=FIGURES_OF_B, difference=difference
    )


A = TimedSide("--width-mult 1.0", Workload(FromSettings(NetworkSettings()), INPUT), "eager", "float32").record(
    INPUT, FASTER.a, device="cpu", threads=1, train=False, figures=FIGURES, difference=None
)
B = side_b(1.9e-6)
RESULT = compare_document(A, B, (FASTER,), 0.01)


def changed(record: R, **values: object) -> R:
    """A record with other values."""
    return record.model_copy(update=values)


def tables(result: CompareDocument) -> Report:
    """The tables of a comparison."""
    return compare_tables(result)


def document_of(result: CompareDocument) -> dict[str, Any]:
    """The document of a comparison, as JSON."""
    made = to_json(result)
    check_document(made)
    found: dict[str, Any] = json.loads(made)
    return found


def verdict(low: float, value: float, high: float) -> tuple[Verdict, CompareDocument]:
    """The verdict on a ratio with this interval, and a comparison of one run with it."""
    ratio = TimeRatio(value, Interval(low, high), "by hand")
    return ratio.verdict(0.01), compare_document(A, B, (run(ratio, "row"),), 0.01)


def lines(result: CompareDocument) -> list[list[str]]:
    """The words of each line of the tables."""
    return [line.split() for line in as_text(tables(result)).splitlines()]


@pytest.mark.parametrize(
    ("interval", "kind", "sentence"),
    [
        ((1.2, 1.25, 1.3), "a_faster", "A is faster: B takes 1.2500 × A's time, 95 % interval 1.2000 to 1.3000."),
        ((0.7, 0.75, 0.8), "b_faster", "B is faster: B takes 0.7500 × A's time, 95 % interval 0.7000 to 0.8000."),
        (
            (0.995, 1.0, 1.004),
            "same",
            "The same within 1 %: B takes 1.0000 × A's time, 95 % interval 0.9950 to 1.0040.",
        ),
        (
            (0.97, 1.0, 1.1),
            "inconclusive",
            "Inconclusive at a margin of 1 %: B takes 1.0000 × A's time, 95 % interval 0.9700 to 1.1000.",
        ),
    ],
    ids=["a_faster", "b_faster", "same", "inconclusive"],
)
def test_each_verdict_has_its_sentence(interval: tuple[float, float, float], kind: Verdict, sentence: str) -> None:
    """With the ratio, its interval, and the method."""
    found, result = verdict(*interval)
    text = as_text(tables(result)).splitlines()
    assert found == kind
    assert sentence in text
    assert "Method: by hand." in text


def test_too_few_passes_are_inconclusive() -> None:
    """With a ratio that has no interval, or with none."""
    for ratio in (None, TimeRatio(0.8, None, "by hand")):
        text = as_text(tables(compare_document(A, B, (run(ratio),), 0.01))).splitlines()
        assert "Inconclusive: too few passes for an interval." in text


def test_the_sides_stand_side_by_side() -> None:
    """What each is and costs, and B's figures over A's."""
    text = as_text(tables(RESULT))
    assert "--width-mult 1.0" in text
    assert "--width-mult 0.75 --runtime fused" in text
    for line in (
        "runtime eager, float32 fused, float32",
        "on cpu, 1 thread cpu, 2 threads",
        "input 1×3×600×900 1×3×600×900",
        "parameters 4,293,888 3,220,416 0.7500",
        "MACs 29.95 G 29.95 G 1.0000",
        "difference 1.9e-06 from eager float32",
        "A 505.5 ms 502.0–509.0 ms 500.0 ms 12",
        "Ended by: precise enough.",
    ):
        assert line.split() in lines(RESULT)


def test_each_of_several_runs_has_its_name_and_its_sentence() -> None:
    """The runtime is part of the name."""
    result = compare_document(A, B, (FASTER, run(None, "fused on cpu")), 0.01)
    text = as_text(tables(result)).splitlines()
    assert "fused on cpu: Inconclusive: too few passes for an interval." in text
    assert any(line.startswith("batch 1 on cpu: B is faster: ") for line in text)
    assert not any(line.startswith("runtime") for line in text)
    shown = [" ".join(words) for words in lines(result)]
    assert "fused on cpu A 505.5 ms 502.0–509.0 ms 500.0 ms 12" in shown


def test_warnings_are_printed() -> None:
    """With what helps, where anything does."""
    warnings = (
        WarningRecord(kind="load", cause="chrome used 1.5 cores", helps="close it"),
        WarningRecord(kind="x", cause="something else", helps=""),
    )
    text = as_text(tables(changed(RESULT, warnings=warnings))).splitlines()
    assert "warning: chrome used 1.5 cores. What helps: close it." in text
    assert "warning: something else." in text


def test_an_early_end_is_printed() -> None:
    """Ctrl-C, or a side that failed; the latter also in JSON."""
    interrupted = compare_document(A, B, (run(ended="interrupted"),), 0.01, complete=False)
    assert as_text(tables(interrupted)).splitlines()[-1] == "Interrupted: the measurement is incomplete."
    failed = compare_document(A, B, (run(ended="failed"),), 0.01, complete=False, failure="B: out of memory")
    assert as_text(tables(failed)).splitlines()[-1] == "Failed: B: out of memory"
    document = document_of(failed)
    assert (document["complete"], document["failure"]) == (False, "B: out of memory")


MAIN = SideEnvironment(
    python=".venv-2.12/bin/python",
    python_version="3.12.1",
    torch="2.12.0",
    mnfpn="0.1.0",
    variables={"OMP_NUM_THREADS": "1", "A": "x"},
    commit=CommitRecord(ref="main", hash="1a2b3c4d" * 5, subject="Add a network | of <b>"),
    other_packages={"numpy": "2.1"},
)
HASH = MAIN.model_copy(
    update={
        "python": ".venv-2.13/bin/python",
        "torch": "2.13.0",
        "variables": {},
        "commit": CommitRecord(ref="5d6e7f", hash="5d6e7f80" * 5, subject="Make it `wider`"),
    }
)
PLACED = changed(RESULT, a=changed(A, environment=MAIN), b=changed(B, environment=HASH))


def test_what_the_sides_run_in_stands_above_what_they_cost() -> None:
    """Only where it differs; of a commit its name, its short hash and its subject."""
    shown = [" ".join(words) for words in lines(PLACED)]
    assert shown[2:8] == [
        "--width-mult 1.0 --width-mult 0.75 --runtime fused",
        "commit main 1a2b3c4, Add a network | of <b> 5d6e7f8, Make it `wider`",
        "interpreter .venv-2.12/bin/python .venv-2.13/bin/python",
        "torch 2.12.0 2.13.0",
        "variables OMP_NUM_THREADS=1, A=x none added",
        "runtime eager, float32 fused, float32",
    ]
    files = HASH.model_copy(update={"commit": None})
    assert [
        "commit",
        "main",
        "1a2b3c4,",
        "Add",
        "a",
        "network",
        "|",
        "of",
        "<b>",
        "files",
        "as",
        "they",
        "are",
    ] in lines(changed(PLACED, b=changed(B, environment=files)))


def test_what_both_sides_share_is_not_listed() -> None:
    """But for variables, which both may have been given."""
    alike = changed(RESULT, a=changed(A, environment=MAIN), b=changed(B, environment=MAIN))
    shown = [words[0] for words in lines(alike) if words]
    assert [name for name in ("commit", "Python", "interpreter", "torch", "mnfpn", "variables") if name in shown] == [
        "variables"
    ]


def document_with(*, broken: tuple[str, ...] = (), undecided: tuple[str, ...] = ()) -> CompareDocument:
    """A comparison with gates and warnings."""
    warnings = (
        WarningRecord(kind="load", cause="chrome used 1.5 cores, 90% of all", helps="a longer `warmup`"),
        WarningRecord(kind="other_torch", cause="torch differs: 2.12.0 against 2.13.0", helps=""),
    )
    gates = GatesRecord(broken=broken, undecided=undecided)
    return changed(PLACED, warnings=warnings, failure="B: 1\nB: 2", gates=gates)


def test_github_shows_a_line_for_each_gate_warning_and_verdict() -> None:
    """Errors first; a difference that was asked for is a notice; options are spelled by the caller."""
    document = document_with(broken=("`fail_if_slower` 3%: x",), undecided=("`fail_if_slower` 3%: y",))
    assert compare_commands(document, as_options).splitlines() == [
        "::error title=mnfpn compare%3A a side failed::B: 1",
        "::error title=mnfpn compare%3A a side failed::B: 2",
        "::error title=mnfpn compare%3A a gate is broken::--fail-if-slower 3%25: x",
        "::warning title=mnfpn compare%3A a gate is undecided::--fail-if-slower 3%25: y",
        "::warning title=mnfpn compare%3A load::chrome used 1.5 cores, 90%25 of all. What helps: a longer --warmup.",
        "::notice title=mnfpn compare%3A other torch::torch differs: 2.12.0 against 2.13.0.",
        "::notice title=mnfpn compare%3A B is faster::B is faster: B takes 0.8022 × A's time, 95 %25 interval 0.8000 "
        "to 0.8100.",
    ]


def test_a_summary_has_the_verdict_above_the_tables() -> None:
    """What it rests on is folded; nothing that a name holds is read as markup."""
    text = compare_markdown(document_with(broken=("`fail_if_slower` 3%: x",)), as_options)
    found = text.splitlines()
    assert found[:7] == ["### mnfpn compare", "", "**❌ B: 1**", "", "**❌ B: 2**", "", "**❌ --fail-if-slower 3%: x**"]
    assert found[8] == "**B is faster: B takes 0.8022 × A's time, 95 % interval 0.8000 to 0.8100.**"
    commit = r"| commit | main 1a2b3c4, Add a network \| of &lt;b> | 5d6e7f8, Make it \`wider\` |  |"
    assert commit in found
    assert found[found.index("**Compared**") + 2] == "|  | A | B | B / A |"
    assert found[found.index("**Compared**") + 3] == "| --- | --- | --- | ---: |"
    folded = found.index("<details><summary>Method and machine, 2 warnings</summary>")
    assert "warning: chrome used 1.5 cores, 90% of all. What helps: a longer --warmup." in found[folded:]
    assert found[-1] == "</details>"


def test_markdown_has_each_part_of_a_report() -> None:
    """Tables in their widest form, lines of drawings, and tables without a header or a title."""

    class Drawing:
        def lines(self, width: int | None) -> Iterator[Line]:
            yield Line(f"drawn for {width}")

    plain = pairs("", [("a*b", "x")])
    plain.columns[1].cells[0] = Line("x\ny")
    text = as_markdown([Forms((plain, table("narrow", "x"))), Drawing()], lambda text: text)
    assert text == "|  |  |\n| --- | --- |\n| a\\*b | x<br>y |\n\ndrawn for None\n"


def test_training_steps_are_no_passes() -> None:
    """The title says which it was."""
    text = as_text(tables(changed(RESULT, a=changed(A, train=True))))
    assert "Time of a training step" in text


def test_the_machine_is_printed() -> None:
    """Not for result files, which have environments of their own."""
    here = read_environment("a CPU")
    assert "Measured on" in as_text(tables(changed(RESULT, environment=here)))
    assert "Measured on" not in as_text(tables(RESULT))


def test_the_json_has_the_keys_that_scripts_rely_on() -> None:
    """Those of the first run at the top; the samples of both sides in each run."""
    document = document_of(RESULT)
    (row,) = document["runs"]
    for found in (document, row):
        assert found["verdict"] == "b_faster"
        assert (found["ratio"], found["ratio_ci95"], found["method"]) == (0.8022, [0.8, 0.81], "by hand")
    assert row["a"]["latency_s"]["samples"] == list(TIMES_A)
    assert row["b"]["latency_s"]["samples"] == list(TIMES_B)
    assert (row["name"], row["ended_by"]) == ("batch 1 on cpu", "precision")
    assert (document["margin"], document["complete"], document["failure"]) == (0.01, True, None)
    assert document["warnings"] == []


def test_the_json_says_of_each_side_what_it_was() -> None:
    """Settings, what executed it on what, and its figures."""
    side = document_of(RESULT)["b"]
    assert side.pop("settings")["width_mult"] == 0.75
    assert side.pop("latency_s")["samples"] == list(TIMES_B)
    assert side == {
        "name": "--width-mult 0.75 --runtime fused",
        "runtime": "fused",
        "dtype": "float32",
        "device": "cpu",
        "threads": 2,
        "train": False,
        "input": {"batch": 1, "channels": 3, "height": 600, "width": 900, "shapes": None},
        **FIGURES_OF_B,
        "model": None,
        "comparable": True,
        "max_difference": 1.9e-6,
        "environment": None,
    }


def test_what_is_not_known_is_null_in_json() -> None:
    """Never a number that JSON has no word for."""
    result = compare_document(A, side_b(float("inf")), (run(None, ended=None),), 0.01)
    document = document_of(result)
    assert (document["verdict"], document["ratio"], document["ratio_ci95"]) == ("inconclusive", None, None)
    assert (document["method"], document["b"]["max_difference"], document["b"]["comparable"]) == (None, None, False)
    assert ["difference", "not", "comparable"] in lines(result)


def test_a_name_is_never_read_as_markup() -> None:
    """A file may be called anything."""
    for name in ("[red]x[/red].json", "[/x].json", "x\x1b[31m.json"):
        text = as_text(tables(changed(RESULT, a=changed(A, name=name))))
        assert (name if name.isprintable() else "x\\x1b[31m.json") in text


@pytest.mark.parametrize("width", [80, 100])
def test_no_number_is_cut_in_a_narrow_terminal(width: int) -> None:
    """Names are broken into lines instead."""
    slow = changed(FASTER, name="channels-last on cpu, batch 1, 600x900, float32")
    result = changed(RESULT, a=changed(A, name="results/2026-01-01/a-machine-with-a-long-name/mobilenetv2.json"))
    for runs in ((FASTER,), (FASTER, slow)):
        buffer = StringIO()
        console = Console(file=buffer, width=width, color_system=None)
        print_report(tables(changed(result, runs=runs)), console)
        shown = buffer.getvalue()
        assert all(len(line) <= width for line in shown.splitlines())
        assert "…" not in shown
        assert "502.0–509.0 ms" in shown
        assert "4,293,888" in shown
