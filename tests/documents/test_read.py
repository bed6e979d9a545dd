"""Result files: an error gives the place, the rule and the value of each problem."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.documents import read
from mnfpn_cli.documents.bench import BenchDocument
from mnfpn_cli.documents.read import parse_document, read_document
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.network import NetworkSettings
from tests.bench.documents import COST, MACHINE, latency, result, run_json, written

WHOLE = json.dumps(result())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must be JSON: it is empty"),
        (WHOLE[:-200], r"line 1, column \d+: must be JSON: .*it ends too early"),
        (WHOLE[: WHOLE.index("eager") + 2], "must be JSON: unterminated string .*it ends too early"),
        (WHOLE[: WHOLE.index("true") + 2], "must be JSON: expecting value .*it ends too early"),
        (WHOLE + "}", r"line 1, column \d+: must be JSON: extra data$"),
        ("x" * 99, r"line 1, column 1: must be JSON: expecting value$"),
        ("[" * 100_000, "must be JSON: nested too deeply"),
        (f'{{"x": {"1" * 5000}}}', "must be JSON: exceeds the limit"),
        ('{"command": "bench", "command": "bench"}', "must be JSON: the key 'command' is given twice"),
        ("[]", "must be a JSON document of mnfpn bench"),
        ('{"width_mult": 1.0}', "must be a JSON document of mnfpn bench"),
    ],
    ids=["empty", "cut", "cut in text", "cut in true", "longer", "text", "deep", "number", "twice", "list", "other"],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """With the file's name, and the place if it is JSON that ends too early."""
    path = written(tmp_path, "x.json", content)
    with pytest.raises(UsageError, match=message) as caught:
        read_document(path, BenchDocument)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "shapes"}, "must be a document of mnfpn bench, got one of mnfpn shapes"),
        (
            {"format_version": 3, "mnfpn_version": "9.0"},
            "must be of format_version 2, which this mnfpn reads, got 3, of mnfpn 9.0",
        ),
        ({"format_version": "2"}, "must be of format_version 2, which this mnfpn reads, got '2', of mnfpn 0.1.0"),
        ({"runs": ...}, "runs: is required"),
        ({"runs": []}, r"runs: must have at least 1 item, got \[\]"),
        ({"runs": {}}, "runs: must be a list, got {}"),
        ({"runs": [7]}, r"runs\[0\]: must be an object, got 7"),
        ({"runs": [run_json(runtime=...)]}, r"runs\[0\].runtime: is required"),
        ({"runs": [run_json(), run_json(threads="2")]}, r"runs\[1\].threads: must be a whole number, got '2'"),
        ({"runs": [run_json(device="[red]")]}, r"runs\[0\].device: must match \^\[a-z0-9\]\S+, got '\[red\]'"),
        ({"runs": [run_json(latency_s={})]}, r"runs\[0\].latency_s.median: is required"),
        ({"runs": [run_json([])]}, r"runs\[0\].latency_s.samples: must have at least 1 item, got \[\]"),
        ({"runs": [run_json([1.0, -1.0])]}, r"runs\[0\].latency_s.samples\[1\]: must be at least 1e-12, got -1.0"),
        ({"runs": [run_json([0.0])]}, r"runs\[0\].latency_s.samples\[0\]: must be at least 1e-12, got 0.0"),
        ({"runs": [run_json([float("nan")])]}, r"runs\[0\].latency_s.samples\[0\]: must be a finite number, got NaN"),
        (
            {"runs": [run_json([1.0, float("inf")])]},
            r"runs\[0\].latency_s.samples\[1\]: must be a finite number, got Infinity",
        ),
        ({"runs": [run_json([1e300])]}, r"runs\[0\].latency_s.samples\[0\]: must be at most 1e\+09, got 1e\+300"),
        ({"cost": {**result()["cost"], "macs": 10**400}}, r"cost.macs: must be at most 1e\+30, got 1000"),
        ({"runs": [run_json(["0.1"])]}, r"runs\[0\].latency_s.samples\[0\]: must be a number, got '0.1'"),  # type: ignore[list-item]
        ({"runs": [run_json([True])]}, r"runs\[0\].latency_s.samples\[0\]: must be a number, got true"),
        ({"cost": {**COST, "macs": -1}}, "cost.macs: must be at least 0, got -1"),
        ({"cost": None}, "cost: must be an object, got null"),
        ({"settings": {"width_mult": 0}}, "settings.width_mult: must be greater than 0, got 0"),
        ({"environment": ...}, "environment: is required"),
        ({"complete": "perhaps"}, "complete: must be true or false, got 'perhaps'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_problem_of_a_result_is_a_place_a_rule_and_a_value(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """Where, the rule, the value."""
    path = written(tmp_path, "x.json", result(**changes))
    with pytest.raises(UsageError, match=f"^{path}: {message}"):
        read_document(path, BenchDocument)


def test_of_many_problems_the_first_five_are_listed(tmp_path: Path) -> None:
    """A line each."""
    path = written(tmp_path, "x.json", result(run_json([-1.0] * 99)))
    with pytest.raises(UsageError) as caught:
        read_document(path, BenchDocument)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{path}: runs[0].latency_s.samples[") for line in lines)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, a name that nothing has, bytes that are no text."""
    binary = tmp_path / "x.bin"
    binary.write_bytes(b"\x80\x02\x00\xff")
    rows = {
        tmp_path: "must be a file, but it is a folder",
        tmp_path / "none.json": "no such file",
        binary: "must be UTF-8 text, but byte 0 is not",
    }
    for path, message in rows.items():
        with pytest.raises(UsageError) as caught:
            read_document(path, BenchDocument)
        assert str(caught.value) == f"{path}: {message}"


def test_a_file_that_cannot_be_read_is_no_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason is passed on."""

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(MnfpnError, match=r"^x\.json: could not be read: Permission denied$") as caught:
        read_document(Path("x.json"), BenchDocument)
    assert caught.value.exit_code == 1


def test_a_file_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what was read, not by its size: a device has none."""
    monkeypatch.setattr(read, "MAX_BYTES", 1000)
    path = written(tmp_path, "x.json", " " * 1001)
    with pytest.raises(UsageError, match=r"a result file must have at most 0\.001 MB, got 0\.0 MB$"):
        read_document(path, BenchDocument)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="open files have no names")
def test_a_pipe_is_read() -> None:
    """A shell's `<(…)` is one."""
    reader, writer = os.pipe()
    os.write(writer, json.dumps(result(run_json([1.0]))).encode())
    os.close(writer)
    try:
        assert len(read_document(Path(f"/dev/fd/{reader}"), BenchDocument).runs) == 1
    finally:
        os.close(reader)


def test_a_key_that_a_file_lacks_is_named() -> None:
    """Nothing is made up for it, as was done for the first files."""
    with pytest.raises(UsageError, match=r"^x: complete: is required$"):
        parse_document(json.dumps(result(complete=...)).encode(), BenchDocument, "x")


def test_keys_of_a_newer_mnfpn_are_left_out(tmp_path: Path) -> None:
    """At every place but in settings, where they make another network."""
    newer = result(run_json(new=1, latency_s=latency([1.0], new=2)), environment={**MACHINE, "new": 3}, new=4)
    assert len(read_document(written(tmp_path, "x.json", newer), BenchDocument).runs) == 1
    settings = {**NetworkSettings().model_dump(mode="json"), "new": 1}
    with pytest.raises(UsageError, match=r"x\.json: settings\.new: unknown key"):
        read_document(written(tmp_path, "x.json", result(settings=settings)), BenchDocument)


def test_a_result_is_of_a_network() -> None:
    """From settings, or external."""
    with pytest.raises(UsageError, match=r"^x: settings: must be there where there is no model, got null$"):
        parse_document(json.dumps(result(settings=None)).encode(), BenchDocument, "x")
    model = {"target": "nets:tiny", "arguments": {"width": 8}}
    read_back = parse_document(json.dumps(result(settings=None, model=model)).encode(), BenchDocument, "x")
    assert read_back.model is not None
    assert read_back.model.model_dump() == model
