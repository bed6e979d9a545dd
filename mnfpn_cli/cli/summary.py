"""`mnfpn summary`."""

from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.options import NetworkOptions, OutputOptions, SizeOption, WeightsOption, whole
from mnfpn_cli.settings.input import network_input, sized

DEFAULT_DEPTH = 2


@grouped
def summary(
    network: NetworkOptions,
    output: OutputOptions,
    weights: WeightsOption = None,
    size: SizeOption = None,
    depth: Annotated[
        int | None,
        Option(
            help="Show layers down to this depth.",
            metavar="N",
            parser=whole("--depth", 1),
            show_default=f"{DEFAULT_DEPTH}; all in JSON",
        ),
    ] = None,
) -> None:
    """Show what is in the network: the layer tree with shapes, parameters and MACs."""
    from mnfpn_cli.cli.output import check_output, emit
    from mnfpn_cli.plan.network import plan_network
    from mnfpn_cli.report.document import document
    from mnfpn_cli.report.summary import summary_document, summary_tables
    from mnfpn_cli.report.weights import weights_document, weights_report

    check_output(output)
    settings, image = sized(network.settings(weights), size)
    input = network_input(settings, image)

    with ending_at_once():
        from mnfpn_cli.measure.tree import layer_tree
        from mnfpn_cli.network.build import build_meta

    built, loaded = build_meta(plan_network(settings)), None
    if weights:
        from mnfpn_cli.weights.files import read_checkpoint
        from mnfpn_cli.weights.load import check_weights

        loaded = check_weights(built, settings, read_checkpoint(weights))
    tree = layer_tree(built, input.shape)
    report = summary_tables(tree, input, depth or DEFAULT_DEPTH) + weights_report(loaded)
    body = summary_document(tree, input, depth) | weights_document(loaded)
    emit(report, document("summary", settings, body), output)
