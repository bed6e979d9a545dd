"""One word, one meaning: `docs/glossary.md` lists the words. Retired words come back nowhere that a person reads."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mnfpn_cli"
RETIRED = {
    r"(?:reference|baseline) cells?": "baseline run",
    r"pace": "drift",
    r"(?:lanes?|seats?)": "worker",
    r"candidates?": "run",
    r"subjects?": "run",
    r"told": "say what is shown, printed, or warned of",
    r"doubts?": "warning",
    r"foret(?:ells?|old|elling)": "predict",
    r"sized": "of a size",
    r"put down": "record, insert",
    r"(?:go|gone|goes|going) on(?: with)?": "continue, resume",
    r"(?:becomes?|became) of": "result",
    r"fullest moment": "peak",
    r"parted by": "separated by",
    r"noise that more passes": "noise floor",
    r"is no SQLite": "is not an SQLite database",
    r"last first": "newest first",
    r"says? nothing of": "has no",
}
"""Regular expressions of whole words, and what to write in their place."""

CELL = re.compile(r"\bcells?\b", re.IGNORECASE)
"""A cell is one position of a feature map, or of a table: never a run."""
OF_MAPS = (
    *("plan/", "audit/", "trace/", "documents/", "settings/", "export/", "report/", "network/", "detection/"),
    *("predict/", "space/planned.py", "store/rows.py"),
)
"""Where there are such cells."""
OF_RUNS = re.compile(
    r"\b(?:measured|failed|pending|sweep|chosen|frontier)\b[^.;]*\bcells?\b"
    r"|\bcells? of (?:a|the) (?:sweep|store|space)\b"
)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file that a person reads, with their lines: literals of several words, and docstrings."""
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                yield node.lineno, node.value
    else:
        yield from enumerate(path.read_text("utf-8").splitlines(), 1)


def read_by_people() -> list[Path]:
    """Return the package, its page, the pages of help, and the documentation but for the glossary itself."""
    package = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in (".py", ".html", ".js")]
    documentation = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    documentation += [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "glossary.md"]
    return [*package, *sorted((ROOT / "tests/cli/help").glob("*")), *documentation]


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_written_nowhere(word: str) -> None:
    """Not in a docstring, a message, a title, a page of help, nor in the documentation."""
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip()[:100]!r}"
        for path in read_by_people()
        for line, text in texts(path)
        if pattern.search(text)
    ]
    assert not found, f"write {RETIRED[word]!r} instead:\n" + "\n".join(found)


def test_a_cell_is_a_position_of_a_map_or_of_a_table_never_a_run() -> None:
    """Where there are no maps and no tables the word is not written at all; elsewhere not of what is measured."""
    found = []
    for path in read_by_people():
        here = str(path.relative_to(ROOT)).removeprefix("mnfpn_cli/")
        allowed = here.startswith(OF_MAPS) or here.endswith((".md", "cli/output.py"))
        pattern = OF_RUNS if allowed else CELL
        found += [f"{here}:{line}: {text.strip()[:100]!r}" for line, text in texts(path) if pattern.search(text)]
    assert not found, "a run is no cell:\n" + "\n".join(found)


def test_every_word_of_the_glossary_is_in_the_package() -> None:
    """A word that nothing uses is no word of ours."""
    words = re.findall(r"^\| ([a-z][a-zA-Z -]+) \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)
    prose = " ".join(text for path in read_by_people() for _, text in texts(path)).lower()
    assert len(words) > 20
    assert [word for word in words if word != "word" and word.lower() not in prose] == []


SHARED_NAMES = {
    **dict.fromkeys(("prepare", "time_layers", "unavailable_reason"), "runtimes/"),
    **dict.fromkeys(("read", "write", "annotate"), "export/"),
}
"""Functions that the files of a folder share, as they are its interface."""


def public_names(path: Path) -> Iterator[str]:
    """Yield the public functions, classes and types that a file defines."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        else:
            continue
        if not name.startswith("_") and (not name.isupper() or isinstance(node, ast.ClassDef)) and name != "aten":
            yield name


def test_a_public_name_is_defined_once() -> None:
    """A command and a function of the Python API bear the name of what they call."""
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        here = path.relative_to(PACKAGE).as_posix()
        for name in public_names(path) if not here.startswith(("cli/", "api/")) else ():
            if not here.startswith(SHARED_NAMES.get(name, "(")):
                places.setdefault(name, []).append(here)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
