"""`mnfpn shapes`."""

from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.options import BatchOption, DTypeOption, NetworkOptions, OutputOptions, SizesOption
from mnfpn_cli.settings.input import network_input, sized


@grouped
def shapes(
    network: NetworkOptions,
    output: OutputOptions,
    size: SizesOption = None,
    batch: BatchOption = 1,
    dtype: DTypeOption = "float32",
    verify: Annotated[bool, Option("--verify", help="Run the real network too; exit 3 if anything differs.")] = False,
) -> None:
    """Show which feature maps come out, for each size: level, stride, tap, shape, bytes."""
    from mnfpn_cli.cli.output import check_output, emit
    from mnfpn_cli.plan.network import plan_network
    from mnfpn_cli.plan.shapes import network_shapes
    from mnfpn_cli.report.document import document
    from mnfpn_cli.report.shapes import shapes_document, shapes_tables

    check_output(output)
    settings = network.settings()
    cases = [sized(settings, text) for text in size or (None,)]
    inputs = [network_input(at_size, one, batch) for at_size, one in cases]
    results = [network_shapes(plan_network(at_size), input) for (at_size, _), input in zip(cases, inputs, strict=True)]
    if verify:
        with ending_at_once():
            from mnfpn_cli.measure.verify import verify_shapes

        for (at_size, _), result in zip(cases, results, strict=True):
            verify_shapes(at_size, result)
    body = shapes_document(results, dtype, verified=verify)
    emit(shapes_tables(results, dtype, verified=verify), document("shapes", settings, body), output)
