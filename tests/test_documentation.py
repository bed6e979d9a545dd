"""The documentation cannot drift: the commands of README and site are run, and print what the pages show.

`MNFPN_WRITE_DOCS=1 python -m pytest -n0 --all tests/test_documentation.py` writes the outputs and the pictures anew.
"""

import html
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from io import StringIO
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch
from rich.console import Console

from mnfpn_cli import api
from mnfpn_cli.audit.audit import inspect_workload, summary_document
from mnfpn_cli.cli.main import run
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.external.origin import FromSettings, Workload
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes, shapes_document
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.report.terminal.shapes import shapes_tables
from mnfpn_cli.report.terminal.summary import Selection, summary_tables
from mnfpn_cli.report.terminal.tables import Line
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import runtime_names
from mnfpn_cli.settings.network import NetworkSettings
from tests.conftest import Mnfpn
from tests.structure import structure

ROOT = Path(__file__).parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
SIZES = (Size(224, 224), Size(600, 900))
PICTURE, PYRAMID = ROOT / "docs" / "terminal.svg", ROOT / "docs" / "pyramid.svg"
WRITE = bool(os.environ.get("MNFPN_WRITE_DOCS"))


@dataclass(frozen=True)
class Example:
    """A command on a page, and what stands under it."""

    page: Path
    command: str
    shown: str

    @property
    def id(self) -> str:
        """The name of its test."""
        return f"{self.page.stem}: {self.command}"


def nav() -> list[str]:
    """The pages of the site in the order of their menu, generated ones among them."""
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    return re.findall(r"(?:- |: )([\w/-]+\.md)$", menu, flags=re.MULTILINE)


PAGES = [README, *(path for name in nav() if (path := DOCS / name).exists())]
"""The pages that are written by hand, the README first."""

BLOCK = re.compile(r"(?:<!-- ([\w.-]+) -->\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
"""A block of code: the mark above it, its language, its text."""


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """The marks, languages and texts of a page's blocks of code."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def examples(page: Path) -> Iterator[Example]:
    """Every command of every console block."""
    for _, language, block in blocks(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] if language == "console" else ():
            command, _, shown = part.partition("\n")
            yield Example(page, command, shown)


EXAMPLES = [example for page in PAGES for example in examples(page)]


def python_blocks(page: Path) -> list[str]:
    """The Python of a page, but for files."""
    return [text for mark, language, text in blocks(page) if language == "python" and "." not in mark]


def printed_by_python(page: Path) -> Iterator[str]:
    """The lines that the Python of a page prints: the block of text below it, or a comment beside each print."""
    for (mark, language, text), (_, below, shown) in pairwise([*blocks(page), ("", "", "")]):
        if language != "python" or "." in mark:
            continue
        if below == "text":
            yield from shown.splitlines()
        else:
            yield from (line.partition("  # ")[2] for line in text.splitlines() if line.startswith("print("))


MEASURED = ("bench", "compare", "recommend", "report", "runs", "sweep --width-mult 0.35,1.0 ")
"""Commands that show what was measured."""

BUDGET = {"--passes": "12", "--max-time": "1"}
"""Enough for every figure that the README shows: an interval takes six samples."""


def short(command: str) -> list[str]:
    """The arguments of a command of the README, and of one that measures such as take it little time."""
    words = shlex.split(command)[1:]
    if WRITE:
        return words
    told = [BUDGET.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    unlimited = words[0] == "bench" and not BUDGET.keys() & set(words)
    return [*told, "--passes", "12", "--warmup", "1"] if unlimited else told


def fixed(example: Example) -> list[str]:
    """The part of an output that is the same everywhere: of measurements the structure, of exports all but rounding."""
    command = example.command.removeprefix("mnfpn ")
    if not command.startswith(MEASURED):
        return re.sub(r" +(\d\.\de-\d\d|0)\b", " …", example.shown).splitlines()
    if command.startswith(STORED):
        lines = structure(re.sub("|".join(runtime_names()), "runtime", example.shown))
        recommended = command.startswith("recommend")
        return [PICKED.sub("", line) for line in lines if not PICK.match(line)] if recommended else lines
    exact, title, measured = re.split(r"^(Latency of a pass|Time of a pass|Sweep, )", example.shown, flags=re.MULTILINE)
    plain = re.sub(r" {2,}", "  ", re.sub(r"\d+ threads?", "# threads", exact))  # columns are as wide as the threads
    return [*plain.splitlines(), *structure(title + measured)]


STORED = ("recommend", "report", "runs")
"""Those that show what a sweep measured: which runtime is the faster one is the machine's."""

PICK = re.compile(r"#  |(All of these|The run): |Its # % interval reaches beyond the limit")
PICKED = re.compile(r"^.*(?=Median)| --runtime runtime")
"""What is recommended (one run, where it is the best in both), what is said of its interval, the columns in which it
differs, and its runtime unless that is eager: all are the machine's."""


def missing(command: str) -> str | None:
    """What this machine lacks for a command: a package, or a runtime that says why it cannot run."""
    needed = [package for part, packages in PACKAGES.items() if part in command for package in packages]
    lacking = [f"{package} is not installed" for package in needed if find_spec(package) is None]
    if "--counts" in command and find_spec("calflops"):
        lacking.append("calflops is installed, and the README shows what is said where it is not")
    if "--runtime all" in command:
        cpu = {
            name: load_runtime(name).unavailable_reason(torch.device("cpu"), "float32", False)
            for name in runtime_names()
        }
        lacking += [f"{name}: {why}" for name, why in cpu.items() if why and name != "cuda-graph"]
    return "; ".join(lacking) or None


PACKAGES = {
    "--format onnx": ("onnx", "onnxscript", "onnxruntime"),
    "--model torchvision": ("torchvision",),
    "--counts": ("ptflops", "thop"),
}
"""Words of a command, and what it takes beyond mnfpn itself."""


@dataclass(frozen=True)
class Prepared:
    """A folder with the files that a page names, and what its Python printed."""

    folder: Path
    printed: str


Prepare = Callable[[Path], Prepared]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Prepare a page's folder once: its files, its Python, and the commands of blocks that are marked "run"."""

    @cache
    def prepare(page: Path) -> Prepared:
        folder = tmp_path_factory.mktemp(page.stem)
        printed, names = StringIO(), dict[str, object]()
        with chdir(folder), redirect_stdout(printed):
            for mark, _, text in blocks(page):
                if "." in mark:
                    Path(mark).write_text(text, encoding="utf-8")
            for text in python_blocks(page):
                exec(text, names)
        commands = [line for mark, _, text in blocks(page) if mark == "run" for line in text.splitlines()]
        with chdir(folder), redirect_stdout(StringIO()):
            for command in commands:
                assert run(short(command)) == 0, command
        return Prepared(folder, printed.getvalue())

    return prepare


@pytest.fixture
def cores() -> Iterator[None]:
    """What is written into a page is measured as a user would: on all cores, not on the one that tests use."""
    threads = torch.get_num_threads()
    if WRITE:
        torch.set_num_threads(psutil.cpu_count(logical=False) or threads)
    yield
    torch.set_num_threads(threads)


def lacking_python(page: Path) -> str | None:
    """What the Python of a page imports and this machine lacks."""
    imported = re.findall(r"^from (torchvision)|^import (torchvision)", "".join(python_blocks(page)), re.MULTILINE)
    return "torchvision is not installed" if imported and find_spec("torchvision") is None else None


@pytest.mark.slow
@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_an_example_shows_what_the_command_prints(
    mnfpn: Mnfpn, mnfpn_process: Mnfpn, prepared: Prepare, monkeypatch: pytest.MonkeyPatch, example: Example
) -> None:
    """Word for word, but for what was measured; each page in a folder of its own."""
    lacking = missing(example.command) or lacking_python(example.page)
    if lacking:
        pytest.skip(lacking)
    monkeypatch.chdir(prepared(example.page).folder)
    if example.command.startswith("pytest "):
        printed = replace(example, shown=run_pytest(example.command))
    else:
        run_command = mnfpn_process if "--allocator keep" in example.command else mnfpn  # kept until a process ends
        outcome = run_command(*short(example.command))
        printed = replace(example, shown=outcome.out + outcome.err)
    if WRITE:
        old, new = f"$ {example.command}\n{example.shown}", f"$ {example.command}\n{printed.shown}"
        text = example.page.read_text(encoding="utf-8")
        example.page.write_text(text.replace(old, new, 1), encoding="utf-8")
    else:
        assert fixed(example) == fixed(printed)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(prepared: Prepare, page: Path) -> None:
    """Its blocks in order, in one namespace; what is printed is what stands beside it."""
    lacking = lacking_python(page)
    if lacking:
        pytest.skip(lacking)
    assert prepared(page).printed.splitlines() == list(printed_by_python(page))


def run_pytest(command: str) -> str:
    """What pytest prints, without the time that it took; it finds no settings of this project.

    Where ``CI`` is set, pytest does not shorten its summary to the width of a line.
    """
    words = [sys.executable, "-m", *shlex.split(command), "-p", "no:cacheprovider"]
    without = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    without |= {"CI": "", "BUILD_NUMBER": ""}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=without)
    return re.sub(r" in [\d.]+s$", "", done.stdout, flags=re.MULTILINE)


def test_the_pages_have_examples_of_every_command() -> None:
    """Otherwise the test above would pass on empty pages."""
    commands = {example.command.split()[1] for example in EXAMPLES if example.command.startswith("mnfpn ")}
    assert commands == {
        *("summary", "audit", "shapes", "bench", "compare", "export", "settings"),
        *("sweep", "recommend", "runs"),
    }


def test_no_example_stands_on_two_pages() -> None:
    """Nothing is written twice: one page shows it, the others link."""
    texts = [example.command for example in EXAMPLES]
    texts += [text for page in PAGES for text in python_blocks(page)]
    assert sorted(text for text, times in Counter(texts).items() if times > 1) == []


def test_the_readme_is_short() -> None:
    """At most 12 kB: what it is, what for, and where to go next."""
    assert len(README.read_bytes()) <= 12_000


def test_every_page_is_in_the_menu_once() -> None:
    """A page that nothing leads to is never read."""
    assert len(set(nav())) == len(nav())
    written = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert written - set(nav()) == set()


def test_the_reference_of_python_lists_every_name_once() -> None:
    """In an order to read, which that of `__all__` is not."""
    listed = re.findall(r"^ +- (\w+)$", (DOCS / "reference" / "python.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(api.__all__)


def test_links_to_files_lead_to_files() -> None:
    """Of the README and of every page; the pages that are made at build time are in the menu."""
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
            file = (page.parent / target).resolve()
            made = file.is_relative_to(DOCS) and page != README and str(file.relative_to(DOCS)) in nav()
            if not (file.exists() or made):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Every link and place is there; nothing that a page shows is fetched from the network."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    fetched = re.compile(r"<(?:script|img|link)\b[^>]*\b(?:src|href)=\"?https?:")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    assert [page.name for page in pages if fetched.search(page.read_text(encoding="utf-8"))] == []


def test_every_option_and_command_of_the_pages_exists(mnfpn: Mnfpn) -> None:
    """An option that was renamed is renamed here too."""
    commands = (
        "summary",
        "audit",
        "shapes",
        "bench",
        "compare",
        "export",
        "sweep",
        "predict",
        "recommend",
        "report",
        "schema",
    )
    groups = {"settings": ("show", "presets"), "runs": ("list", "show", "score", "prune", "merge", "export")}
    below = [(group, name) for group, names in groups.items() for name in names]
    help = " ".join(mnfpn(*page, "--help").out for page in [(), *((name,) for name in commands), *below])
    texts = [page.read_text(encoding="utf-8") for page in PAGES if page.name not in ("architecture.md", "decisions.md")]
    ours = [option for text in texts for option in re.findall(r"(?:`|\$ mnfpn.*? )(--[a-z][a-z-]+)", text)]
    assert len(set(ours)) > 15
    assert sorted({option for option in ours if f"{option} " not in help}) == []


def draw(console: Console) -> None:
    """What the picture shows."""
    settings = NetworkSettings()
    input, plan = network_input(settings, Size(600, 900)), plan_network(settings)
    console.print("$ mnfpn summary", style="bold cyan", highlight=False)
    workload = Workload(FromSettings(settings), input)
    layers = summary_document(workload, inspect_workload(workload, audited=False))
    report = summary_tables(layers, Selection(depth=2))
    print_report([replace(one, text=as_options(one.text)) if isinstance(one, Line) else one for one in report], console)
    console.print("$ mnfpn shapes --size 600x900", style="bold cyan", highlight=False)
    document = shapes_document(settings, [network_shapes(plan, input)], "float32", verified=False)
    print_report(shapes_tables(document), console)


def test_the_picture_of_the_pyramid_is_what_svg_writes(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """To the byte."""
    file = PYRAMID if WRITE else tmp_path / "pyramid.svg"
    mnfpn("summary", "--tree", "--svg", str(file))
    assert PYRAMID.read_text(encoding="utf-8") == file.read_text(encoding="utf-8")


def test_the_picture_shows_what_the_commands_print() -> None:
    """The same words in the same order, taken out of the drawing."""
    console = Console(record=True, width=86, force_terminal=True, file=StringIO(), color_system="truecolor")
    draw(console)
    text = console.export_text(clear=False).split()
    if WRITE:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(console.export_svg(title="mnfpn"), encoding="utf-8")
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", PICTURE.read_text(encoding="utf-8"))
    words = html.unescape(" ".join(texts)).replace("\xa0", " ").split()
    assert "".join(words).startswith("mnfpn" + "".join(text))
