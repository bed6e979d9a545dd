"""The pre-commit hook and the workflow examples: their keys exist, and their commands too."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.cli.main import NAMES
from tests.bench.repositories import MadeRepository, made_repository

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


@pytest.mark.slow
def test_the_workflow_refuses_a_commit_that_is_slower(tmp_path: Path) -> None:
    """Its steps, by their commands, in a clone with the commits of a pull request; it does not run those of others."""
    origin = made_repository(tmp_path / "origin")
    clone = MadeRepository(tmp_path / "clone")
    origin.git("clone", "--quiet", str(origin.folder), str(clone.folder))
    programs, summary = tmp_path / "programs", tmp_path / "step_summary_0"
    for name, script in {
        "mnfpn": f'exec "{sys.executable}" -m mnfpn_cli "$@"',
        "pip": 'test "$*" = "install mnfpn -e ."',
    }.items():
        programs.mkdir(exist_ok=True)
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    job = read_yaml("docs/examples/compare.yml")["jobs"]["compare"]
    checkout, _, *steps = job["steps"]
    assert checkout["with"] == {"fetch-depth": 0}
    install, compare = (_step(step, clone.folder, programs, summary) for step in steps)
    assert install.returncode == 0
    assert compare.returncode == 3, compare.stderr
    first = compare.stdout.splitlines()[0]
    assert first.startswith(
        "::error title=mnfpn compare%3A a gate is broken::--fail-if-slower 3%25: batch 1 on cpu, 320x320"
    )
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("### mnfpn compare\n\n**❌ --fail-if-slower 3%: ")
    assert re.search(
        r"^\| commit \| origin/main \w{7}, Add a network \| HEAD \w{7}, Make it wider \|", text, re.MULTILINE
    )
    assert clone.worktrees() == []


def _step(step: dict[str, Any], folder: Path, programs: Path, summary: Path) -> "subprocess.CompletedProcess[str]":
    """Run a step as GitHub does on Linux; of a comparison, a short one on one thread."""
    command = step["run"] + " --processes 3 --max-time 3 --threads 1" * (step["name"] == "Compare")
    variables = {name: value.replace("${{ github.base_ref }}", "main") for name, value in step.get("env", {}).items()}
    variables |= {"GITHUB_STEP_SUMMARY": str(summary), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
