"""The README cannot drift: its commands are run, and their output is what it shows.

`MNFPN_WRITE_README=1 python -m pytest --all tests/test_readme.py` writes the outputs and the picture anew.
"""

import html
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import psutil
import pytest
import torch
from rich.console import Console

from mnfpn_cli.audit.audit import inspect_workload, summary_document
from mnfpn_cli.cli.main import run
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.external.origin import FromSettings, Workload
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.plan.shapes import network_shapes, shapes_document
from mnfpn_cli.report.terminal.screen import print_report
from mnfpn_cli.report.terminal.shapes import shapes_tables
from mnfpn_cli.report.terminal.summary import Selection, summary_tables
from mnfpn_cli.report.terminal.tables import Line
from mnfpn_cli.report.units import sides
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.files import preset_description, preset_names, read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.measuring import runtime_names
from mnfpn_cli.settings.network import NetworkSettings
from tests.conftest import Mnfpn
from tests.golden.cases import CASES
from tests.structure import structure

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SIZES = (Size(224, 224), Size(600, 900))
PICTURE, PYRAMID = ROOT / "docs" / "terminal.svg", ROOT / "docs" / "pyramid.svg"
WRITE = bool(os.environ.get("MNFPN_WRITE_README"))


@dataclass(frozen=True)
class Example:
    """A command in the README, and what stands under it."""

    command: str
    shown: str


def examples() -> Iterator[Example]:
    """Every command of every console block."""
    for block in re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            yield Example(command, shown)


MEASURED = ("bench", "compare", "recommend", "report", "runs", "sweep --width-mult 0.35,0.5 ")
"""Commands that show what was measured."""

BUDGET = {"--passes": "6", "--max-time": "1"}
"""Enough for every figure that the README shows: an interval takes six samples."""


def short(command: str) -> list[str]:
    """The arguments of a command of the README, and of one that measures such as take it little time."""
    words = shlex.split(command)[1:]
    if WRITE:
        return words
    told = [BUDGET.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    unlimited = words[0] == "bench" and not BUDGET.keys() & set(words)
    return [*told, "--passes", "6", "--warmup", "1"] if unlimited else told


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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the files of the README, and two checkpoints: torchvision's, and one of ours."""
    folder = tmp_path_factory.mktemp("readme")
    for name, text in re.findall(
        r"<!-- (\S+\.\w+) -->\n```\w+\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL
    ):
        (folder / name).write_text(text, encoding="utf-8")
    keys = next(case for case in CASES if case.file == "torchvision_w1").reference()["state_dict"]
    zeros = {key: torch.zeros(shape) if shape else torch.tensor(0) for key, shape in keys}
    torch.save(zeros, folder / "mobilenet_v2.pth")
    narrow = build_network(NetworkSettings(width_mult=0.5)).state_dict()
    torch.save({key: tensor for key, tensor in narrow.items() if "pyramid" not in key}, folder / "backbone.pth")
    for name, levels in (("old", "all"), ("new", "p3-p5")):
        command = f"mnfpn bench --device cpu --size 192 --max-time 3 --set pyramid.levels={levels}"
        run([*short(command), "--output", f"{folder}/{name}.json"])
    return folder


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder for all examples: what one of them writes, a later one reads.

    What is written into the README is measured as a user would: on all cores, not on the one that tests use.
    """
    monkeypatch.chdir(files)
    threads = torch.get_num_threads()
    if WRITE:
        torch.set_num_threads(psutil.cpu_count(logical=False) or threads)
    yield files
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.command)
def test_an_example_shows_what_the_command_prints(mnfpn: Mnfpn, example: Example) -> None:
    """Word for word, but for what was measured."""
    lacking = missing(example.command)
    if lacking:
        pytest.skip(lacking)
    outcome = mnfpn(*short(example.command))
    printed = Example(example.command, outcome.out + outcome.err)
    if WRITE:
        old, new = f"$ {example.command}\n{example.shown}", f"$ {example.command}\n{printed.shown}"
        README.write_text(README.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    else:
        assert fixed(example) == fixed(printed)


def networks_table() -> str:
    """The presets with what they cost, as the README has them."""
    lines = ["| preset | network | parameters | MACs at 224×224 | MACs at 600×900 |", "|---|---|---:|---:|---:|"]
    for name in preset_names():
        settings = resolve([read_preset(name)])
        small, large = (network_cost(plan_network(settings.at(size)), size).total for size in SIZES)
        parameters = f"{small.parameters:,}"
        if large.parameters != small.parameters:  # a head on flattened maps: another network for each size
            parameters += f" at {sides(*SIZES[0])}, {large.parameters:,} at {sides(*SIZES[1])}"
        lines.append(f"| `{name}` | {preset_description(name)} | {parameters} | {small.macs:,} | {large.macs:,} |")
    return "\n".join(lines)


def test_the_table_of_networks_is_what_the_plan_says() -> None:
    """Every preset, its parameters and its MACs."""
    table = networks_table()
    parts = re.split(r"(<!-- /?networks -->)", README.read_text(encoding="utf-8"))
    if WRITE:
        README.write_text("".join([*parts[:2], f"\n{table}\n", *parts[3:]]), encoding="utf-8")
    else:
        assert parts[2].strip() == table


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Its blocks in order, in one namespace, but for files; what is printed is what stands beside it."""
    blocks = re.findall(r"(?<!\.py -->\n)```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    shown = [line.partition("# ")[2].partition(";")[0] for line in "".join(blocks).splitlines() if "print(" in line]
    assert capsys.readouterr().out.splitlines() == shown
    assert type(names["detector"]).__name__ == "RetinaNet"


def test_the_readme_has_examples_of_every_command() -> None:
    """Otherwise the test above would pass on an empty README."""
    commands = {example.command.split()[1] for example in examples()}
    assert commands == {
        *("summary", "audit", "shapes", "bench", "compare", "export", "settings"),
        *("sweep", "recommend", "runs"),
    }


def test_every_option_and_command_of_the_readme_exists(mnfpn: Mnfpn) -> None:
    """An option that was renamed is renamed in the README too."""
    pages = [
        ("summary",),
        ("audit",),
        ("shapes",),
        ("bench",),
        ("compare",),
        ("export",),
        ("settings",),
        ("settings", "show"),
        ("sweep",),
        ("recommend",),
        ("report",),
        *(("runs", name) for name in ("list", "show", "prune", "merge", "export")),
        (),
    ]
    help = " ".join(mnfpn(*page, "--help").out for page in pages)
    ours = re.findall(r"`(--[a-z-]+)", README.read_text(encoding="utf-8")) + re.findall(
        r"\$ mnfpn.*?(--[a-z-]+)", README.read_text(encoding="utf-8")
    )
    assert len(set(ours)) > 15
    assert [option for option in ours if f"{option} " not in help] == []


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
