"""What the project says of itself in several files is one thing."""

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from mnfpn_cli import __version__

ROOT = Path(__file__).parent.parent


def test_the_licence_is_the_same_everywhere() -> None:
    """Declared in the package and in the citation, named in the README, and there in full."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "license: Apache-2.0\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert "[Apache 2.0](LICENSE)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_citation_is_of_this_version() -> None:
    """Otherwise people cite what they did not use."""
    assert re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE) == [
        __version__
    ]


def test_every_package_that_is_installed_is_pinned() -> None:
    """Else a new release of one breaks the tests on a new machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [one for extra in project["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[\[>=<;]", one)[0].lower().replace("_", "-") for one in wanted} - {"mnfpn"}
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    assert names - pinned == set()


def test_the_rooms_are_described_in_the_order_in_which_they_import() -> None:
    """The page of the architecture has a line for each layer that import-linter checks, the lowest first."""
    (contract,) = [
        one
        for one in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
            "contracts"
        ]
        if one["type"] == "layers"
    ]
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("| room | holds |")[2].partition("\n\n")[0]
    described = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert described == [name for name in reversed(contract["layers"]) if name != "__main__"]


@pytest.mark.parametrize("room", ["bench", "sweep"])
def test_the_map_of_a_large_room_has_each_of_its_files(room: str) -> None:
    """Its docstring says what a newcomer opens first, and names no file that is gone."""
    folder = ROOT / "mnfpn_cli" / room
    files = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    named = re.findall(r"`(\w+)`", (folder / "__init__.py").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(files)


def test_every_file_that_the_documentation_names_exists() -> None:
    """In the pages about the code, a path in backquotes is one of the repository, or of the package."""
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "docs/architecture.md", ROOT / "docs/decisions.md"]
    named = [
        (page.name, path)
        for page in [*pages, *sorted((ROOT / "docs/how-it-measures").glob("*.md"))]
        for path in re.findall(r"`([\w.-]+/[\w./-]*)`", page.read_text(encoding="utf-8"))
    ]
    assert len(named) > 40
    assert [one for one in named if not (ROOT / one[1]).exists() and not (ROOT / "mnfpn_cli" / one[1]).exists()] == []


def test_every_public_class_has_a_name_of_its_own() -> None:
    """A name that means two things has to be looked up each time it is read."""
    modules = defaultdict[str, list[str]](list)
    for path in sorted((ROOT / "mnfpn_cli").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(str(path.relative_to(ROOT)))
    assert len(modules) > 100
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}
