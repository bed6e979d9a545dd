"""What messages may say: outside the command line, a parameter has its name in Python, in backquotes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

import mnfpn_cli
from mnfpn_cli.cli.main import app
from mnfpn_cli.errors import PARAMETER
from mnfpn_cli.text import as_option

PACKAGE = Path(mnfpn_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

OPTION = re.compile(r"--[A-Za-z][\w-]*|^--$")
"""An option, or the dashes in front of a name in an f-string."""

OF_OTHER_PROGRAMS = ("--query-gpu", "--format=csv")
"""What starts a text that is an argument of another program."""

COMMANDS = (PACKAGE / "text.py", PACKAGE / "sweep" / "command_lines.py")
"""Files that make the commands in documents, which a reader types."""

GIT = PACKAGE / "bench" / "worktrees.py"
"""The file whose options are those of git, which it runs."""

MARKDOWN = (PACKAGE / "documents" / "schema.py",)
"""Files whose texts are pages, on which backquotes hold keys too."""


def texts(file: Path) -> Iterator[tuple[str, bool]]:
    """The texts in a file, and whether each is a docstring."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, id(node) in alone


def options(command: Any) -> Iterator[str]:
    """The options of a command and of those below it."""
    context = command.context_class(command)
    for param in command.get_params(context):
        if isinstance(param, TyperOption):
            yield from (*param.opts, *param.secondary_opts)
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            yield from options(command.get_command(context, name))


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every option that any command has."""
    return set(options(get_command(app)))


def test_a_parameter_that_a_message_names_is_an_option(known: set[str]) -> None:
    """What stands in backquotes is spelled as an option where it is printed: it must be one."""
    assert {"--max-time", "--model-arg", "--retry-failed", "--dry-run"} <= known
    wrong = [
        f"{file.relative_to(PACKAGE)}: {name}"
        for file in FILES
        if file not in MARKDOWN
        for text, is_docstring in texts(file)
        if not is_docstring
        for name in PARAMETER.findall(text)
        if as_option(name) not in known
    ]
    assert wrong == []


def test_only_the_command_line_and_commands_in_documents_spell_options() -> None:
    """Neither in a message nor in a docstring: what is called from Python has no options."""
    rooms = {file: file.relative_to(PACKAGE).parts[0] for file in FILES if file not in (*COMMANDS, GIT)}
    wrong = [
        f"{file.relative_to(PACKAGE)}: {found[0]}"
        for file, room in rooms.items()
        if room != "cli"
        for text, _ in texts(file)
        if (found := OPTION.search(text)) and not text.startswith(OF_OTHER_PROGRAMS)
    ]
    assert wrong == []


def test_texts_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """In calls, in the parts of an f-string, in docstrings."""
    (tmp_path / "a.py").write_text('"""Of ``--a``."""\nraise E(f"`b`: must be {x}, not `c`", "`d`")\n')
    assert set(texts(tmp_path / "a.py")) == {
        ("Of ``--a``.", True),
        ("`b`: must be ", False),
        (", not `c`", False),
        ("`d`", False),
    }
