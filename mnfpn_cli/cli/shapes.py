"""`mnfpn shapes`."""

from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import BatchIfSaid, DTypeIfSaid, NetworkOptions, OutputOptions, SizesOption, several_sizes
from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.input import DEFAULT_DTYPE, DType


@grouped
def shapes(
    *,
    size: SizesOption = None,
    batch: BatchIfSaid = None,
    dtype: DTypeIfSaid = None,
    verify: Annotated[bool, Option("--verify", help="Run the real network too; exit 3 if anything differs.")] = False,
    network: NetworkOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Show the feature maps that come out: level, stride, shape, bytes.

    Examples:
        mnfpn shapes --size 600x900
        mnfpn shapes --size 512 --size 800x1333 --batch 8 --dtype float16
        mnfpn shapes --preset retina-fpn --set pyramid.levels=p3-p5
    """
    if model.model is None:
        model.check_unused()
        _planned(network, output, size, batch or 1, dtype or DEFAULT_DTYPE, verify)
        return
    if verify or dtype is not None:
        given = "--verify" if verify else "--dtype"
        raise UsageError(
            f"{given}: must not be given beside --model, whose network has no settings and is run as it is"
        )
    model.check_batch(batch)
    _observed(network, model, output, size, batch or 1)


def _planned(
    network: NetworkOptions, output: OutputOptions, size: list[str] | None, batch: int, dtype: DType, verify: bool
) -> None:
    """The maps of a network from settings: from its plan, without torch."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.plan.input import network_input, sized
    from mnfpn_cli.plan.network import plan_network
    from mnfpn_cli.plan.shapes import network_shapes, shapes_document
    from mnfpn_cli.report.terminal.shapes import shapes_tables

    settings = network.settings()
    cases = [sized(settings, text) for text in several_sizes(size)]
    inputs = [network_input(at_size, one, batch) for at_size, one in cases]
    results = [network_shapes(plan_network(at_size), input) for (at_size, _), input in zip(cases, inputs, strict=True)]
    if verify:
        with ending_at_once():
            from mnfpn_cli.measure.verify import verify_shapes

        for (at_size, _), result in zip(cases, results, strict=True):
            verify_shapes(at_size, result)
    document = shapes_document(settings, results, dtype, verified=verify)
    emit(shapes_tables(results, dtype, verified=verify), document, output)


def _observed(
    network: NetworkOptions, model: ModelOptions, output: OutputOptions, size: list[str] | None, batch: int
) -> None:
    """The maps of a network that others wrote: from runs on the meta device."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.shapes import maps_tables

    subjects = [model.subject(network, text, batch) for text in several_sizes(size)]
    with ending_at_once():
        from mnfpn_cli.audit.inspect import build_subject, inputs_of
        from mnfpn_cli.audit.pyramid import maps_document, observe_maps

    built = build_subject(subjects[0])
    results = [observe_maps(built, subject.inputs, inputs_of(subject)) for subject in subjects]
    emit(maps_tables(results), maps_document(subjects[0].model, results), output)
