"""`mnfpn shapes`."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import (
    BatchOption,
    BytesDTypeOption,
    NetworkOptions,
    OutputOptions,
    SizesOption,
    WeightsOptions,
    parse_sizes,
)
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DType

if TYPE_CHECKING:
    from mnfpn_cli.documents.shapes import ShapesDocument
    from mnfpn_cli.weights.file import WeightsFile


@grouped
def shapes(
    *,
    size: SizesOption = None,
    batch: BatchOption = None,
    dtype: BytesDTypeOption = None,
    verify: Annotated[bool, Option("--verify", help="Also run the real network; exit 3 if anything differs.")] = False,
    network: NetworkOptions,
    weights: WeightsOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Show the output feature maps: level, stride, shape, bytes.

    Examples:
        mnfpn shapes --size 600x900
        mnfpn shapes --size 512 --size 800x1333 --batch 8 --dtype float16
        mnfpn shapes --preset retina-fpn --set pyramid.levels=p3-p5
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.shapes import shapes_tables

    show = _planned if model.model is None else _observed
    document = show(network, weights.file(), model, size, batch, dtype, verify)
    emit(shapes_tables(document), document, output)


def _planned(
    network: NetworkOptions,
    weights: "WeightsFile | None",
    model: ModelOptions,
    size: list[str] | None,
    batch: int | None,
    dtype: DType | None,
    verify: bool,
) -> "ShapesDocument":
    """Return the maps of a network from settings: from its plan, without torch unless weights or --verify need it."""
    from mnfpn_cli.measure.shapes import planned_shapes

    model.check_unused()
    settings, sizes = network.settings(weights), parse_sizes(size)
    if verify or weights is not None:
        with ending_at_once():
            import mnfpn_cli.measure.verify  # noqa: F401 - torch
    return planned_shapes(settings, sizes, batch or 1, dtype or DEFAULT_DTYPE, verify, weights)


def _observed(
    network: NetworkOptions,
    weights: "WeightsFile | None",
    model: ModelOptions,
    size: list[str] | None,
    batch: int | None,
    dtype: DType | None,
    verify: bool,
) -> "ShapesDocument":
    """Return the maps of an external network, from passes on the meta device."""
    from mnfpn_cli.measure.shapes import observed_shapes

    if verify or dtype is not None:
        given = "--verify" if verify else "--dtype"
        raise UsageError(
            Problem(given, "cannot be used with --model, whose network has no settings and runs unchanged")
        )
    model.check_batch(batch)
    workloads = model.workloads(network, parse_sizes(size), batch or 1, weights)
    with ending_at_once():
        import mnfpn_cli.audit.audit  # noqa: F401 - torch
    return observed_shapes(workloads)
