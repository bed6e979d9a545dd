"""The pre-commit hook and the workflow example: their keys exist, and their commands too."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.cli.main import NAMES

ROOT = Path(__file__).parent.parent

HOOK_KEYS: dict[str, type] = {
    **dict.fromkeys(("id", "name", "entry", "language", "description", "files", "exclude"), str),
    **dict.fromkeys(("language_version", "minimum_pre_commit_version"), str),
    **dict.fromkeys(("types", "types_or", "exclude_types", "args", "stages", "additional_dependencies"), list),
    **dict.fromkeys(("always_run", "fail_fast", "verbose", "pass_filenames", "require_serial"), bool),
}
"""The keys of a hook and their types: https://pre-commit.com/#creating-new-hooks."""


def read_yaml(name: str) -> Any:
    """The content of a YAML file of the repository."""
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_hook_is_one_that_precommit_takes() -> None:
    """It has the keys that pre-commit requires, and none that it does not know."""
    (hook,) = read_yaml(".pre-commit-hooks.yaml")
    assert {"id", "name", "entry", "language"} <= hook.keys() <= HOOK_KEYS.keys()
    assert {key: type(value) for key, value in hook.items()} == {key: HOOK_KEYS[key] for key in hook}
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    command, name = shlex.split(hook["entry"])
    assert command == "mnfpn"
    assert name in NAMES


def test_the_workflow_audits_and_uploads_what_it_wrote() -> None:
    """The file of the audit is the one that is uploaded, also where there are findings."""
    steps = read_yaml("docs/examples/audit.yml")["jobs"]["audit"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("run", "").startswith("mnfpn audit")]
    (upload,) = [step for step in steps if "upload-sarif" in step.get("uses", "")]
    assert re.findall(r"--output (\S+)", command) == [upload["with"]["sarif_file"]]
    assert "--format github" in command
    assert upload["if"] == "always()"
