"""`mnfpn shapes`."""

from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.options import DEFAULT_SIZE, BatchOption, NetworkOptions, OutputOptions
from mnfpn_cli.cli.output import check_output, emit
from mnfpn_cli.errors import CheckError
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import NetworkShapes, network_shapes
from mnfpn_cli.report.document import document
from mnfpn_cli.report.shapes import shapes_document, shapes_tables
from mnfpn_cli.report.tables import note
from mnfpn_cli.settings.input import DType, network_input, parse_size
from mnfpn_cli.settings.models import NetworkSettings


@grouped
def shapes(
    network: NetworkOptions,
    output: OutputOptions,
    size: Annotated[
        list[str] | None,
        Option(
            help="Size of the image: height x width in pixels, or one side; may repeat.",
            metavar="HxW",
            show_default=DEFAULT_SIZE,
        ),
    ] = None,
    batch: BatchOption = 1,
    dtype: Annotated[DType, Option(help="Type of the maps' elements, for their bytes.")] = "float32",
    verify: Annotated[bool, Option("--verify", help="Run the real network too; exit 3 if anything differs.")] = False,
) -> None:
    """Show which feature maps come out, for each size: level, stride, tap, shape, bytes."""
    check_output(output)
    settings = network.settings()
    inputs = [network_input(settings, parse_size(text), batch) for text in size or [DEFAULT_SIZE]]
    plan = plan_network(settings)
    results = [network_shapes(plan, input) for input in inputs]
    report = shapes_tables(results, dtype)
    if verify:
        _verify(settings, results)
        report.append(note("Verified: the real network returns the same maps from the same taps.", "green"))
    emit(report, document("shapes", settings, shapes_document(results, dtype, verified=verify)), output)


def _verify(settings: NetworkSettings, results: list[NetworkShapes]) -> None:
    from mnfpn_cli.measure.verify import find_differences

    for result in results:
        differences = find_differences(settings, result)
        if differences:
            raise CheckError(f"--verify: the real network differs at {result.input.size}: {'; '.join(differences)}")
