"""`mnfpn bench`."""

from dataclasses import dataclass
from typing import Annotated, Any

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.options import (
    BatchOption,
    DTypeOption,
    NetworkOptions,
    OutputOptions,
    SizeOption,
    WeightsOption,
    number,
    whole,
)
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.settings.input import NetworkInput, network_input, sized
from mnfpn_cli.settings.measuring import (
    DEFAULT_MIN_TIME_S,
    DEFAULT_RUNS,
    BenchCase,
    check_device_name,
    sampling,
)


def measuring_option(help: str, metavar: str, **more: Any) -> Any:
    """An option in the help's panel on measuring."""
    return Option(help=help, metavar=metavar, rich_help_panel="Measuring", **more)


@dataclass(frozen=True)
class MeasuringOptions:
    """How to measure."""

    dtype: DTypeOption = "float32"
    channels_last: Annotated[
        bool,
        Option("--channels-last", help="Channels-last (NHWC) memory layout.", rich_help_panel="Measuring"),
    ] = False
    threads: Annotated[
        int | None,
        measuring_option("CPU threads.", "N", parser=whole("--threads", 1, 4096), show_default="torch's choice"),
    ] = None
    warmup: Annotated[int, measuring_option("Passes before the timed ones.", "N", parser=whole("--warmup", 0))] = 3
    min_time: Annotated[
        float | None,
        measuring_option(
            "Time passes for at least so many seconds.",
            "SECONDS",
            parser=number("--min-time"),
            show_default=f"{DEFAULT_MIN_TIME_S:g}; 0 with --runs",
        ),
    ] = None
    runs: Annotated[
        int | None,
        measuring_option(
            "Time so many passes, and more only where --min-time asks for it.",
            "N",
            parser=whole("--runs", 1),
            show_default=f"at least {DEFAULT_RUNS}",
        ),
    ] = None
    seed: Annotated[int, measuring_option("Seed of the weights.", "N", parser=whole("--seed", 0, 2**63 - 1))] = 0

    def case(self, input: NetworkInput) -> BenchCase:
        """What these options ask to measure.

        Raises:
            UsageError: where they ask for no time that there is.
        """
        passes = sampling(self.warmup, self.runs, self.min_time)
        return BenchCase(input, self.dtype, self.channels_last, self.threads, passes)


@grouped
def bench(
    network: NetworkOptions,
    measuring: MeasuringOptions,
    output: OutputOptions,
    device: Annotated[
        list[str] | None,
        Option(help="auto, cpu, cuda, cuda:N or mps; may repeat.", metavar="DEVICE", show_default="auto"),
    ] = None,
    weights: WeightsOption = None,
    size: SizeOption = None,
    batch: BatchOption = 1,
) -> None:
    """Measure what the network costs and how fast it runs here, on each device."""
    from mnfpn_cli.cli.output import check_output, emit
    from mnfpn_cli.cli.progress import progress_bar
    from mnfpn_cli.measure.cpu import reading_cpu_name
    from mnfpn_cli.report.bench import bench_document, bench_tables
    from mnfpn_cli.report.document import document

    check_output(output)
    settings, image = sized(network.settings(weights), size)
    case = measuring.case(network_input(settings, image, batch))
    devices = [check_device_name(name) for name in device or ["auto"]]
    with progress_bar() as progress, reading_cpu_name() as cpu_name:
        progress("loading torch", 0.0)
        with ending_at_once():
            from mnfpn_cli.measure.bench import benchmark

        result = benchmark(settings, measuring.seed, case, devices, cpu_name, progress, weights)
    emit(bench_tables(result), document("bench", settings, bench_document(result)), output)
    if result.failures:
        raise MnfpnError("\n".join(result.failures))
