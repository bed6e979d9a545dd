"""`mnfpn predict`."""

from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.options import OutputOptions
from mnfpn_cli.cli.paths import check_not_read
from mnfpn_cli.cli.space_options import SpaceOptions
from mnfpn_cli.cli.store_options import StoreOption


@grouped
def predict(
    store: StoreOption,
    space: SpaceOptions,
    output: OutputOptions,
    machine: Annotated[
        str | None,
        Option(help="Predict for this machine of the store (default: this one, or the only one).", metavar="NAME"),
    ] = None,
) -> None:
    """Predict the latency of networks from the measured runs of a store.

    Each prediction has a 90 % interval. A store of ten measured runs of a kind is enough to begin.

    Examples:
        mnfpn predict --store runs.db --width-mult 0.8 --size 320
        mnfpn predict --store runs.db --preset mobilenetv2-fpnlite --size 256,512
    """
    from mnfpn_cli.api.predicting import predicted
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.report.terminal.predict import predict_report

    stated = space.read()
    if output.output is not None:
        check_not_read("--output", output.output, stated.files)
    with progress_bar() as progress:
        document = predicted(store, stated, machine, progress)
    emit(predict_report(document), document, output)
