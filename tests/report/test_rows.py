"""Which rows of a layer tree are shown, and as what."""

import csv
import json
import xml.etree.ElementTree as ET
from io import StringIO
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mnfpn_cli.api as api
from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.read import parse_document
from mnfpn_cli.documents.summary import SummaryDocument
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.summary import Selection, rows_csv, rows_markdown, summary_tables
from tests.conftest import Mnfpn

SIZE = ("--size", "64", "--no-audit")


def paths(mnfpn: Mnfpn, *options: str) -> list[str]:
    """The paths of the rows in JSON."""
    return [row["path"] for row in json.loads(mnfpn("summary", *SIZE, *options, "--json").out)["layers"]]


@pytest.mark.parametrize("key", ["macs", "parameters", "activations"])
def test_sorted_rows_are_single_layers_largest_first(mnfpn: Mnfpn, key: str) -> None:
    """No sums of others among them."""
    rows = json.loads(mnfpn("summary", *SIZE, "--sort", key, "--top", "7", "--json").out)["layers"]
    everything = json.loads(mnfpn("summary", *SIZE, "--json").out)["layers"]
    parents = {row["path"].rpartition(".")[0] for row in everything}
    numbers = sorted((row[key] for row in everything if row["path"] not in parents), reverse=True)
    assert [row[key] for row in rows] == numbers[:7]


def test_a_filter_is_a_glob_on_the_whole_path(mnfpn: Mnfpn) -> None:
    """At any depth, unless one is given; the network itself is no row then."""
    assert paths(mnfpn, "--filter", "pyramid.smooth.p?") == [f"pyramid.smooth.p{k}" for k in (2, 3, 4, 5)]
    assert paths(mnfpn, "--filter", "stem*", "--depth", "1") == ["stem"]
    outcome = mnfpn("summary", *SIZE, "--filter", "nix")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: --filter: ")


def test_the_table_says_what_share_is_shown(mnfpn: Mnfpn) -> None:
    """Of layers, MACs and parameters."""
    lines = mnfpn("summary", *SIZE, "--sort", "macs", "--top", "1").out.splitlines()
    assert lines[2].split()[:2] == ["pyramid.smooth.p2", "Conv2d"]
    assert any(
        line.startswith("1 of 160 single layers: 66.8 % of the MACs, 13.7 % of the parameters.") for line in lines
    )
    assert "Activations" in mnfpn("summary", *SIZE, "--sort", "activations", "--top", "1").out


@pytest.mark.parametrize(
    ("options", "selection"),
    [
        ((), Selection(depth=2)),
        (("--depth", "1", "--counts"), Selection(depth=1)),
        (("--sort", "activations", "--top", "5"), Selection(sort="activations", top=5)),
        (("--filter", "pyramid.*", "--preset", "fpn-classifier"), Selection(pattern="pyramid.*")),
        (("--model", f"{Path(__file__).parent.parent / 'external' / 'nets.py'}:Listed"), Selection(depth=2)),
    ],
    ids=["tree", "counts", "sorted", "filtered", "external"],
)
def test_tables_follow_from_the_document(mnfpn: Mnfpn, options: tuple[str, ...], selection: Selection) -> None:
    """From what --json prints of a selection, the text, CSV and Markdown of the same selection can be made."""

    def printed(*form: str) -> str:
        return mnfpn("summary", "--size", "64", *options, *form).out

    document = parse_document(printed("--json").encode(), SummaryDocument, "document")
    assert as_options(as_text(summary_tables(document, selection))) == printed()
    if document.counts is None:
        assert rows_csv(document) == printed("--format", "csv")
        assert rows_markdown(document) == printed("--format", "markdown")


def test_csv_is_raw_and_whole(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Every row of the tree, on standard output and in a file of that name."""
    file = tmp_path / "rows.csv"
    printed = mnfpn("summary", *SIZE, "--format", "csv", "--output", str(tmp_path / "other")).out
    mnfpn("summary", *SIZE, "--output", str(file))
    assert file.read_text() == printed == (tmp_path / "other").read_text()
    rows = list(csv.DictReader(StringIO(printed)))
    assert [row["path"] for row in rows] == paths(mnfpn)[1:]
    first = next(row for row in rows if row["path"] == "pyramid.lateral.p2")
    assert (first["output_shape"], first["parameters"], first["status"]) == ("1×256×16×16", "6400", "called")


def test_markdown_is_a_table(mnfpn: Mnfpn) -> None:
    """As many cells in each line as names."""
    lines = mnfpn("summary", *SIZE, "--format", "markdown", "--filter", "pyramid.*").out.splitlines()
    assert len({line.count(" | ") for line in (lines[0], *lines[2:])}) == 1
    assert lines[2].startswith("| `pyramid.lateral` | ModuleDict | holds | 0 |  | 121,856 |")
    assert mnfpn("summary", *SIZE, "--depth", "1", "--format", "markdown").out.splitlines()[2].startswith("| `stem` |")


def test_tree_and_svg_are_drawn_without_torch(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """The picture has the levels that the diagram has; with --svg alone the table is printed too."""
    file = tmp_path / "fpn.svg"
    drawn = mnfpn("summary", "--size", "600x900", "--tree", "--svg", str(file)).out
    texts = ["".join(one.itertext()) for one in ET.parse(file).iter("{http://www.w3.org/2000/svg}text")]
    for shape in ("256×150×225", "256×75×113", "256×38×57", "256×19×29"):
        assert shape in drawn
        assert shape in texts
    assert "Layer" in mnfpn("summary", *SIZE, "--svg", str(file)).out


class Hides(nn.Module):
    """A convolution in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [nn.Conv2d(3, 4, 3)]

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        y: Tensor = self.blocks[0](x)
        return y


def test_rows_mark_what_is_not_registered() -> None:
    """On the terminal, in CSV and in Markdown alike."""
    document = api.summary(Hides(), size="32x32")
    (row,) = csv.DictReader(StringIO(rows_csv(document)))
    assert row["type"] == "Conv2d, unregistered"
    assert "| Conv2d, unregistered |" in rows_markdown(document)
    assert "Conv2d, unregistered" in as_text(summary_tables(document))


@pytest.mark.parametrize(
    ("shape", "printed"), [((2, 3, 32, 32), "4×30×30"), ((3, 32, 32), "4×30×30"), ((4, 3, 32, 32), "4×30×30")]
)
def test_only_the_batch_is_left_out_of_a_shape(shape: tuple[int, ...], printed: str) -> None:
    """An image alone has none."""
    document = api.summary(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.rand(shape), audit=False)
    layer, total = (line for line in as_text(summary_tables(document)).splitlines() if "×30" in line)
    assert printed in layer.split()
    assert printed in total.split()


def test_a_first_side_that_is_not_the_batch_stays() -> None:
    """As of windows of several images, which are in one dimension."""
    document = api.summary(nn.Flatten(0, 1), torch.rand(2, 3, 32, 32), audit=False)
    assert "6×32×32" in as_text(summary_tables(document))
