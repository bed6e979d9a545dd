"""Importing torch costs seconds: what a plan can answer must not pay them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.documents import result, written

PROGRAM = """
import sys
from mnfpn_cli.cli.main import run
code = run(sys.argv[1:])
print(code, sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "torchinfo", "fvcore", "pydantic"}))
"""


def loaded(*arguments: str) -> str:
    """Run a command, and list which of the heavy packages it imported."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["shapes", "--size", "600x900"],
        ["shapes", "--json"],
        ["summary", "--tree"],
        ["sweep", "--width-mult", "0.5,1.0", "--size", "64,96", "--measure", "none"],
        ["settings", "show"],
        ["settings", "presets"],
        ["schema", "settings"],
        ["schema", "bench"],
    ],
    ids=" ".join,
)
def test_what_a_plan_can_answer_imports_no_torch(arguments: list[str]) -> None:
    """Neither torch nor what needs it."""
    assert loaded(*arguments) == "0 ['pydantic']"


def test_two_result_files_are_compared_without_torch(tmp_path: Path) -> None:
    """What was measured before needs nothing that measures."""
    a, b = (str(written(tmp_path, name, result())) for name in ("a.json", "b.json"))
    assert loaded("compare", a, b) == "0 ['pydantic']"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["bench", "--help"]], ids=" ".join)
def test_help_imports_no_torch_and_no_pydantic(arguments: list[str]) -> None:
    """It answers at once."""
    assert loaded(*arguments) == "0 []"


@pytest.mark.parametrize("arguments", [["shapes"], ["shapes", "--json"], ["summary", "--tree"]], ids=" ".join)
def test_a_pipe_does_not_wait_for_rich(arguments: list[str]) -> None:
    """It draws on terminals alone."""
    program = (
        "import sys; from mnfpn_cli.cli.main import run; code = run(sys.argv[1:])\n"
        "print(code, [name for name in sys.modules if name.partition('.')[0] == 'rich'])"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_only_the_command_that_is_called_is_imported() -> None:
    """The options of all others take longer than what a plan answers."""
    program = (
        "import sys; from mnfpn_cli.cli.main import run; run(['settings', 'presets'])\n"
        "print(sorted({'mnfpn_cli.cli.bench', 'mnfpn_cli.cli.sweep', 'mnfpn_cli.cli.settings'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "['mnfpn_cli.cli.settings']"


def test_the_check_sees_torch_where_it_is_imported() -> None:
    """Otherwise the tests above could not fail."""
    assert loaded("summary", "--size", "64") == "0 ['pydantic', 'torch']"
