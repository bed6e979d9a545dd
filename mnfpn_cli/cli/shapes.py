"""`mnfpn shapes`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions, planned
from mnfpn_cli.cli.options import (
    BatchOption,
    BytesDTypeOption,
    NetworkOptions,
    OutputOptions,
    SizesOption,
    WeightsOption,
    parse_sizes,
)
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import all_passes
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.records import WeightsRecord
    from mnfpn_cli.external.origin import FromSettings
    from mnfpn_cli.plan.shapes import NetworkShapes


@grouped
def shapes(
    *,
    size: SizesOption = None,
    batch: BatchOption = None,
    dtype: BytesDTypeOption = None,
    verify: Annotated[bool, Option("--verify", help="Also run the real network; exit 3 if anything differs.")] = False,
    network: NetworkOptions,
    weights: WeightsOption = None,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Show the output feature maps: level, stride, shape, bytes.

    Examples:
        mnfpn shapes --size 600x900
        mnfpn shapes --size 512 --size 800x1333 --batch 8 --dtype float16
        mnfpn shapes --preset retina-fpn --set pyramid.levels=p3-p5
    """
    if model.model is None:
        model.check_unused()
        _planned(network, weights, output, size, batch or 1, dtype or DEFAULT_DTYPE, verify)
        return
    if verify or dtype is not None:
        given = "--verify" if verify else "--dtype"
        raise UsageError(
            Problem(given, "cannot be used with --model, whose network has no settings and runs unchanged")
        )
    model.check_batch(batch)
    _observed(network, weights, model, output, size, batch or 1)


def _planned(
    network: NetworkOptions,
    weights: Path | None,
    output: OutputOptions,
    size: list[str] | None,
    batch: int,
    dtype: DType,
    verify: bool,
) -> None:
    """Show the maps of a network from settings: from its plan, without torch unless weights or --verify need it."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.plan.shapes import network_shapes, shapes_document
    from mnfpn_cli.report.terminal.shapes import shapes_tables

    settings = network.settings(weights)
    cases = planned(settings, parse_sizes(size), batch, weights)
    results = [network_shapes(origin.plan, input) for origin, input in cases]
    fitted = _checked([origin for origin, _ in cases], results, verify)
    document = shapes_document(settings, results, dtype, verify, fitted)
    emit(shapes_tables(document), document, output)


def _checked(
    origins: "Sequence[FromSettings]", results: "Sequence[NetworkShapes]", verify: bool
) -> "WeightsRecord | None":
    """Run the real networks, or only check how the weights fit; return how they fit the first network."""
    if not verify and all(origin.weights is None for origin in origins):
        return None
    with ending_at_once():
        from mnfpn_cli.measure.verify import verify_shapes

    both = zip(origins, results, strict=True)
    first, *_ = [verify_shapes(origin, result) if verify else origin.fit() for origin, result in both]
    return first


def _observed(
    network: NetworkOptions,
    weights: Path | None,
    model: ModelOptions,
    output: OutputOptions,
    size: list[str] | None,
    batch: int,
) -> None:
    """Show the maps of an external network, from passes on the meta device."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.shapes import shapes_tables

    workloads = model.workloads(network, parse_sizes(size), batch, weights)
    with ending_at_once():
        from mnfpn_cli.audit.audit import build_workload, pass_inputs
        from mnfpn_cli.audit.pyramid import maps_document, observe_maps

    built = build_workload(all_passes(workloads))
    results = [observe_maps(built, workload.specs, pass_inputs(workload.specs)) for workload in workloads]
    document = maps_document(workloads[0].origin, results)
    emit(shapes_tables(document), document, output)
