"""The plug-in of pytest, in real runs of it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from mnfpn_cli.testing import plugin
from tests.testing import networks

ROOT = Path(__file__).parents[2]

TESTS = """
import torch
from networks import Listed, Tied
from mnfpn_cli.testing import assert_clean as check
from torch import nn

class Repaired(Listed):
    def __init__(self):
        super().__init__()
        self.smooth = nn.ModuleList(self.smooth)

def test_author(assert_clean):
    assert_clean(Listed(), torch.rand(1, 3, 64, 64))

def test_repaired(assert_clean, assert_budget):
    assert_clean(Repaired(), torch.rand(1, 3, 64, 64))
    assert_budget(Repaired(), torch.rand(1, 3, 64, 64), macs="2M", parameters="2k")

def test_the_project_allows(assert_clean):
    assert_clean(Tied(), size=64)

def test_a_function_knows_no_project():
    check(Tied(), size=64)

def test_over(assert_budget):
    assert_budget(Listed(), size=64, macs=1)

def test_misspelt(assert_clean):
    assert_clean(Tied(), size=64, allow=["shard:x"])
"""


def pytest_run(folder: Path, *options: str) -> str:
    """Run the tests of a folder with the plug-in alone, as an installed mnfpn loads it; return what was printed."""
    command = [sys.executable, "-m", "pytest", "-p", "mnfpn_cli.testing.plugin", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


def test_the_authors_mistake_fails_a_test_and_its_repair_passes(tmp_path: Path) -> None:
    """With the finding, the path and the remedy; tracebacks end at the line of the test."""
    shutil.copy(networks.__file__, tmp_path / "networks.py")
    (tmp_path / "test_net.py").write_text(TESTS, encoding="utf-8")
    allow = '[tool.mnfpn.audit]\nallow = ["shared:head.*"]\n[tool.pytest.ini_options]\n'
    (tmp_path / "pyproject.toml").write_text(allow, encoding="utf-8")
    printed = pytest_run(tmp_path, "-rfp", "--color=no")
    results = dict(re.findall(r"^(?:PASSED|FAILED) test_net\.py::(\w+)(.*)$", printed, re.MULTILINE))
    assert {name for name, reason in results.items() if not reason} == {"test_repaired", "test_the_project_allows"}
    assert len(results) == 6, printed
    author = printed.partition(" test_author ")[2].partition(" test_a_function_knows_no_project ")[0]
    assert "E       unregistered: self.smooth[0], self.smooth[1]: 1,168 parameters" in author
    assert "E         Remedy: self.smooth = nn.ModuleList(self.smooth)" in author
    assert "E         macs: 1.401 MMAC, limit 1 MAC: 1.401 MMAC" in printed
    assert "; did you mean 'shared'?" in printed
    assert set(re.findall(r"^(\S+):\d+: (?:\w+)$", printed, re.MULTILINE)) == {"test_net.py"}


def test_loading_the_plug_in_imports_nothing_slow() -> None:
    """Every run of pytest pays for it where mnfpn is installed."""
    program = (
        "import sys, pytest; before = set(sys.modules); import mnfpn_cli.testing.plugin\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['mnfpn_cli']"


def test_the_entry_point_names_the_plug_in() -> None:
    """By which pytest finds it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"mnfpn": plugin.__name__}
