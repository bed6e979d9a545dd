"""The maps of a network that others wrote, as a table: shapes without the batch where all that comes out begins so."""

from collections.abc import Sequence

import pytest

from mnfpn_cli.audit.pyramid import Maps, OutputMap, maps_document
from mnfpn_cli.external.origin import External
from mnfpn_cli.external.target import InputSpec, parse_target
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.shapes import shapes_tables
from mnfpn_cli.trace.observe import TensorShape

ORIGIN = External(parse_target("others.models:Net"))
IMAGE = (2, 3, 64, 64)
BATCHED: list[tuple[Sequence[TensorShape], Sequence[TensorShape], list[str]]] = [
    ([IMAGE], [(2, 8, 4, 6), (2, 5)], ["8×4×6", "5"]),
    ([IMAGE, (2, 7)], [(2, 5)], ["5"]),
]
WHOLE: list[tuple[Sequence[TensorShape], Sequence[TensorShape], list[str]]] = [
    ([IMAGE], [(7, 4), (7,), ()], ["7×4", "7", "a number"]),
    ([IMAGE], [(2, 4), (2,)], ["2×4", "2"]),
    ([IMAGE], [(2, 8, 4, 6), (0, 4)], ["2×8×4×6", "0×4"]),
    ([IMAGE, (3, 7)], [(2, 5)], ["2×5"]),
]


def shown(inputs: Sequence[TensorShape], outputs: Sequence[TensorShape]) -> tuple[str, list[str]]:
    """The header of a table, and the shapes in it."""
    maps = tuple(OutputMap(f"out{index}", None, shape, 4) for index, shape in enumerate(outputs))
    document = maps_document(ORIGIN, [Maps(tuple(map(InputSpec, inputs)), maps, (), ())])
    lines = as_text(shapes_tables(document)).splitlines()
    rows = [line.split("–", 1)[1].rsplit(None, 2)[0].strip() for line in lines if line.startswith("out")]
    return next(line for line in lines if line.startswith("Output")), rows


@pytest.mark.parametrize(("inputs", "outputs", "shapes"), BATCHED)
def test_the_batch_is_left_out_where_all_begins_with_it(
    inputs: Sequence[TensorShape], outputs: Sequence[TensorShape], shapes: list[str]
) -> None:
    """As of a pyramid."""
    header, found = shown(inputs, outputs)
    assert "batch" not in header
    assert found == shapes


@pytest.mark.parametrize(("inputs", "outputs", "shapes"), WHOLE)
def test_shapes_are_whole_where_anything_begins_otherwise(
    inputs: Sequence[TensorShape], outputs: Sequence[TensorShape], shapes: list[str]
) -> None:
    """As of a detector, even where it happens to find as many boxes as there are images."""
    header, found = shown(inputs, outputs)
    assert "Shape with batch" in header
    assert found == shapes
