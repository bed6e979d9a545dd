"""Which findings an allowance allows, and that none is allowed by accident."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from mnfpn_cli.audit.allow import allow_findings, parse_allowances
from mnfpn_cli.audit.project import project_allowances
from mnfpn_cli.documents.audit import CHECKS, Audit, FindingKind
from mnfpn_cli.errors import UsageError
from tests.audit.traced import inspected
from tests.testing.networks import Idle, Listed, Tied

IMAGE = (1, 3, 32, 32)


def audited(network: nn.Module, *allow: str) -> Audit:
    """The audit of a network with allowances."""
    audit = inspected(network, IMAGE).audit
    assert audit is not None
    return allow_findings(audit, parse_allowances(allow))


def kinds(audit: Audit) -> tuple[list[str], list[str]]:
    """The kinds of the findings that stay, and of those that are allowed."""
    return [one.kind for one in audit.findings], [one.kind for one in audit.allowed]


@pytest.mark.parametrize("text", ["unregistered:self.smooth[*]", "unregistered:smooth[?]", "*:smooth*"])
def test_a_path_is_a_glob_and_brackets_stand_for_themselves(text: str) -> None:
    """The path of a table can be copied; its self. may be left out."""
    audit = audited(Listed(), text)
    assert kinds(audit) == ([], ["unregistered", "miscounted"])
    assert audit.clean


@pytest.mark.parametrize("text", ["never_called:aux?", "never-called:aux*", "*:*"])
def test_a_kind_has_hyphens_or_underscores_or_is_any(text: str) -> None:
    """Both are natural: options have hyphens, and JSON has underscores."""
    assert audited(Idle(), text).clean


def test_a_finding_is_allowed_only_where_each_of_its_paths_is() -> None:
    """A module that the head shares with the neck is more than the head alone was allowed."""
    assert audited(Tied(), "shared:head.*").clean
    audit = audited(Tied(neck=True), "shared:head.*")
    assert kinds(audit) == (["shared", "miscounted"], [])
    assert audit.notes[-1] == "`allow` 'shared:head.*' is not enough for a finding that also names neck."
    assert audited(Tied(neck=True), "shared:head.*", "shared:neck").clean


def test_independent_paths_of_a_finding_are_allowed_together() -> None:
    """Two idle branches are one finding, which stays whole until both are allowed."""
    assert [one.paths for one in audited(Idle(), "never_called:aux1").findings] == [("aux1", "aux2")]
    assert audited(Idle(), "never_called:aux1", "never_called:aux2").clean


def test_an_allowance_of_one_kind_allows_no_other() -> None:
    """Shared is not unregistered."""
    audit = audited(Listed(), "shared:*")
    assert kinds(audit) == (["unregistered", "miscounted"], [])
    assert not audit.clean


def test_a_miscount_is_allowed_only_where_what_is_allowed_explains_all_of_it() -> None:
    """The head is shared and allowed; a list of unregistered layers is another cause, which is not."""
    network = Tied()
    network.smooth = [nn.Conv2d(8, 8, 1)]  # type: ignore[assignment]
    network.stem.register_forward_hook(lambda _module, _inputs, output: network.smooth[0](output))  # type: ignore[operator, index]
    assert kinds(audited(network, "shared:head.*")) == (["unregistered", "miscounted"], ["shared"])
    assert audited(network, "shared:head.*", "unregistered:smooth*").clean


def test_a_miscount_of_its_own_is_not_explained() -> None:
    """A state dict that leaves out a layer is a mistake, whatever else is allowed."""

    class Forgetful(Tied):
        def state_dict(self, *arguments: Any, **named: Any) -> Any:
            return {key: value for key, value in super().state_dict(*arguments, **named).items() if "stem" not in key}

    assert kinds(audited(Forgetful(), "shared:head.*")) == (["miscounted"], ["shared"])


def test_an_allowance_that_matches_nothing_is_noted() -> None:
    """So that lists do not rot."""
    audit = audited(Tied(), "shared:head.*", "size:p3")
    assert audit.notes[-1] == "`allow` 'size:p3' matches no finding."
    assert audit.clean


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shared", "allow: must be KIND:PATH, as shared:head.*, got 'shared'"),
        ("shared:", "allow: must be KIND:PATH, as shared:head.*, got 'shared:'"),
        (":head", "allow: must be KIND:PATH, as shared:head.*, got ':head'"),
        ("sharedd:head", "or with *, got 'sharedd'; did you mean 'shared'?"),
        ("never-caled:x", "or with *, got 'never-caled'; did you mean 'never_called'?"),
    ],
)
def test_a_malformed_allowance_is_refused(text: str, message: str) -> None:
    """With the place, the rule and the value."""
    with pytest.raises(UsageError) as error:
        parse_allowances([text])
    assert str(error.value).endswith(message)


def test_allowances_are_a_list_of_texts() -> None:
    """One text is no list: it would be taken for its letters."""
    with pytest.raises(UsageError, match="must be a list of texts"):
        parse_allowances("shared:head.*")


def test_every_kind_is_described() -> None:
    """Rules of SARIF and the documentation have a sentence for each."""
    assert set(CHECKS) == set(FindingKind.__args__)  # type: ignore[attr-defined]


def written(folder: Path, text: str) -> Path:
    """A project with this pyproject.toml."""
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_nearest_project_file_is_read(tmp_path: Path) -> None:
    """At the folder or above it; what it allows says where it was written."""
    written(tmp_path, '[tool.mnfpn.audit]\nallow = ["shared:head.*", "size:p3"]\n')
    (tmp_path / "package" / "models").mkdir(parents=True)
    found = project_allowances(tmp_path / "package" / "models")
    assert [one.text for one in found] == ["shared:head.*", "size:p3"]
    assert found[0].where == f"{Path('..', '..', 'pyproject.toml')}: tool.mnfpn.audit.allow"
    written(tmp_path / "package", "[project]\n")
    assert project_allowances(tmp_path / "package" / "models") == ()


@pytest.mark.parametrize(
    "text", ["", "[project]\nname = 'x'\n", "[tool.ruff]\n", "[tool.mnfpn]\n", "[tool.mnfpn.audit]\n"]
)
def test_a_project_without_the_table_allows_nothing(tmp_path: Path, text: str) -> None:
    """It is no error."""
    assert project_allowances(written(tmp_path, text)) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.mnfpn]\naudits = 1\n", "pyproject.toml: tool.mnfpn.audits: unknown key; did you mean 'audit'?"),
        ("[tool.mnfpn.audit]\nx = 1\n", "pyproject.toml: tool.mnfpn.audit.x: unknown key; there is only allow"),
        ("[tool]\nmnfpn = 1\n", "pyproject.toml: tool.mnfpn: must be a table, got 1"),
        ("tool = 1\n", "pyproject.toml: tool: must be a table, got 1"),
        (
            "[tool.mnfpn.audit]\nallow = 'shared:x'\n",
            "pyproject.toml: tool.mnfpn.audit.allow: must be a list of texts, as ['shared:head.*'], got 'shared:x'",
        ),
        (
            "[tool.mnfpn.audit]\nallow = ['shared']\n",
            "pyproject.toml: tool.mnfpn.audit.allow: must be KIND:PATH, as shared:head.*, got 'shared'",
        ),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the file, the key, the rule and the value."""
    with pytest.raises(UsageError) as error:
        project_allowances(written(tmp_path, text))
    assert str(error.value) == message


def test_a_project_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    """Its allowances would be lost silently."""
    with pytest.raises(UsageError, match=r"^pyproject\.toml: must be TOML: "):
        project_allowances(written(tmp_path, "[tool.mnfpn\n"))


def test_a_folder_that_is_gone_has_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs there fails, if at all, for a reason of its own."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert project_allowances() == ()
