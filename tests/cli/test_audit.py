"""`mnfpn audit`: what is allowed, and the forms of the result."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Mnfpn
from tests.testing import networks

TIED = ("audit", "--model", "networks.py:Tied", "--input", "1x3x32x32")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks in a file of the current folder."""
    shutil.copy(networks.__file__, tmp_path / "networks.py")
    monkeypatch.chdir(tmp_path)


def class_line(name: str) -> int:
    """The line of the file at which a class begins."""
    lines = Path("networks.py").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(f"class {name}("))


def test_what_is_allowed_is_no_failure_and_is_named_on_one_line(mnfpn: Mnfpn) -> None:
    """The line of a clean network claims nothing that is not so."""
    ended = mnfpn(*TIED, "--allow", "shared:head.*")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[1:] == [
        "3 modules called, 3 registered; no finding that is not allowed.",
        "Allowed: 2 findings: shared head.0, head.1; miscounted the whole network.",
    ]


def test_an_allowance_that_matches_nothing_is_noted_as_an_option(mnfpn: Mnfpn) -> None:
    """So that it is found where it was typed."""
    ended = mnfpn(*TIED, "--allow", "shared:head.*", "--allow", "size:p3")
    assert ended.out.splitlines()[-1] == "--allow 'size:p3' matches no finding."


def test_a_project_allows_for_audit_and_for_summary(mnfpn: Mnfpn) -> None:
    """The two never contradict each other; without the audit the file is not read."""
    Path("pyproject.toml").write_text('[tool.mnfpn.audit]\nallow = ["shared:head.*"]\n', encoding="utf-8")
    audit = json.loads(mnfpn(*TIED, "--json").out)
    assert audit["clean"]
    assert [one["kind"] for one in audit["allowed"]] == ["shared", "miscounted"]
    summary = json.loads(mnfpn("summary", *TIED[1:], "--json").out)["audit"]
    assert {key: audit[key] for key in summary} == summary
    Path("pyproject.toml").write_text("[tool.mnfpn]\nx = 1\n", encoding="utf-8")
    ended = mnfpn(*TIED)
    assert (ended.code, ended.err) == (2, "error: pyproject.toml: tool.mnfpn.x: unknown key; there is only audit\n")
    assert mnfpn("summary", *TIED[1:], "--no-audit").code == 0


def test_a_wrong_allowance_is_refused_before_the_network_is_built(mnfpn: Mnfpn) -> None:
    """With a suggestion."""
    ended = mnfpn("audit", "--model", "networks.py:nothing", "--allow", "shard:head")
    assert ended.code == 2
    assert ended.err.endswith("got 'shard'; did you mean 'shared'?\n")


def test_a_finding_has_the_line_of_the_class_that_holds_what_is_concerned(mnfpn: Mnfpn) -> None:
    """The path is from the current folder; a class of torch is not what must be mended."""
    (first, *_) = json.loads(mnfpn(*TIED, "--json").out)["findings"]
    assert first["location"] == {"file": "networks.py", "line": class_line("Tied")}


def test_a_class_outside_the_current_folder_has_no_location(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of this machine says nothing to a reader elsewhere."""
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    found = json.loads(mnfpn("audit", "--model", "../networks.py:Tied", "--input", "1x3x32x32", "--json").out)
    assert [one["location"] for one in found["findings"]] == [None, None]


def test_github_is_printed_and_sarif_is_written(mnfpn: Mnfpn) -> None:
    """One run of a pipeline gives both; findings still exit 3."""
    ended = mnfpn(*TIED, "--format", "github", "--output", "audit.sarif")
    assert ended.code == 3
    assert ended.err == "error: the audit of networks.py:Tied has 2 findings\n"
    assert ended.out.startswith(f"::error file=networks.py,line={class_line('Tied')},title=mnfpn audit%3A shared::")
    log = json.loads(Path("audit.sarif").read_text(encoding="utf-8"))
    assert [one["ruleId"] for one in log["runs"][0]["results"]] == ["shared", "miscounted"]


def test_a_clean_network_prints_nothing_for_github(mnfpn: Mnfpn) -> None:
    """There is nothing to annotate."""
    ended = mnfpn("audit", "--model", "networks.py:Healthy", "--input", "1x3x32x32", "--format", "github")
    assert (ended.code, ended.out) == (0, "")


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (["--format", "junit", "--output", "a.xml"], "<?xml"),
        (["--output", "a.xml"], "<?xml"),
        (["--output", "a.sarif"], "{"),
        (["--output", "a.json"], "{"),
        (["--output", "a.txt"], "networks.py:Tied: Input"),
        (["--format", "github", "--output", "a.log"], "::error"),
        (["--format", "github", "--output", "a.txt"], "networks.py:Tied: Input"),
    ],
)
def test_the_suffix_names_the_form_of_the_file(mnfpn: Mnfpn, options: list[str], start: str) -> None:
    """Unless --format asks for a form of files."""
    assert mnfpn(*TIED, *options).code == 3
    assert Path(options[-1]).read_text(encoding="utf-8").startswith(start)


def test_a_suffix_of_another_form_is_refused(mnfpn: Mnfpn) -> None:
    """Before any work is done."""
    ended = mnfpn(*TIED, "--format", "sarif", "--output", "a.xml")
    assert ended.err == "error: --output: must not end in .xml, as sarif is written, got 'a.xml'\n"
    ended = mnfpn(*TIED, "--json", "--format", "sarif")
    assert ended.err == "error: --json: is --format json, and cannot be used with --format sarif\n"
