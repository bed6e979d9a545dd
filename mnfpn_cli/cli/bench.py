"""`mnfpn bench`."""

from dataclasses import dataclass
from typing import Annotated

from typer import Exit, Option

from mnfpn_cli.cli.candidates import find
from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once, interruptible
from mnfpn_cli.cli.measuring import RuntimeOption, SamplingOptions, measuring_option
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import (
    DTypeOption,
    NetworkOptions,
    OutputOptions,
    SizesOption,
    WeightsOption,
    several_batches,
    several_sizes,
    whole,
)
from mnfpn_cli.errors import INTERRUPTED, MnfpnError, UsageError
from mnfpn_cli.settings.measuring import DEFAULT_RUNTIME, LAYERED, BenchCase, check_device_name, choose_runtimes


@dataclass(frozen=True)
class CaseOptions:
    """What to run."""

    runtime: RuntimeOption = None
    dtype: DTypeOption = "float32"
    batch: Annotated[
        str | None, measuring_option("Images in a batch; several, as 1,8,32.", "N", parser=str, show_default="1")
    ] = None
    train: Annotated[bool, measuring_option("Time training steps: forward, backward and SGD.")] = False
    cold_cache: Annotated[bool, measuring_option("Clear the caches before each pass.")] = False
    by_layer: Annotated[bool, measuring_option("Also time each layer, and say what would help most.")] = False
    roofline: Annotated[
        bool, measuring_option("Also measure what the device can do, and how near each layer comes to it.")
    ] = False
    channels_last: Annotated[bool, measuring_option("The same as --runtime channels-last.")] = False
    threads: Annotated[
        int | None,
        measuring_option("CPU threads.", "N", parser=whole("--threads", 1, 4096), show_default="torch's choice"),
    ] = None
    seed: Annotated[int, measuring_option("Seed of the weights.", "N", parser=whole("--seed", 0, 2**63 - 1))] = 0

    def case(self, sampling: SamplingOptions) -> BenchCase:
        """What these options ask to measure.

        Raises:
            UsageError: where they contradict each other, or themselves.
        """
        if self.channels_last and self.runtime:
            raise UsageError("--channels-last: is --runtime channels-last, and cannot be given beside --runtime")
        if self.train and (self.by_layer or self.roofline):
            raise UsageError("--by-layer, --roofline: are of inference passes, and cannot be given beside --train")
        named = ["channels-last"] if self.channels_last else self.runtime or [DEFAULT_RUNTIME]
        chosen = choose_runtimes(named)
        if (self.by_layer or self.roofline) and not set(chosen) & set(LAYERED):
            raise UsageError(
                f"--by-layer, --roofline: must have --runtime {' or '.join(LAYERED)}, which run layer by layer, "
                f"got {', '.join(chosen)}"
            )
        return BenchCase(
            batches=several_batches(self.batch or "1"),
            runtimes=chosen,
            all_runtimes="all" in named,
            dtype=self.dtype,
            threads=self.threads,
            train=self.train,
            cold_cache=self.cold_cache,
            by_layer=self.by_layer,
            roofline=self.roofline,
            sampling=sampling.sampling(),
        )


@grouped
def bench(
    network: NetworkOptions,
    model: ModelOptions,
    what: CaseOptions,
    sampling: SamplingOptions,
    output: OutputOptions,
    device: Annotated[
        list[str] | None,
        Option(help="auto, cpu, cuda, cuda:N or mps; may repeat.", metavar="DEVICE", show_default="auto"),
    ] = None,
    weights: WeightsOption = None,
    size: SizesOption = None,
) -> None:
    """Measure what the network costs and how fast it runs here: by runtimes side by side, on each device."""
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.cli.progress import progress_bar
    from mnfpn_cli.measure.cpu import reading_cpu_name
    from mnfpn_cli.report.bench import bench_tables
    from mnfpn_cli.report.bench_document import bench_document
    from mnfpn_cli.report.document import network_document

    by_plan = ["--by-layer"] * what.by_layer + ["--roofline"] * what.roofline
    make, case = find(network, model, several_sizes(size), what.batch, weights, by_plan), what.case(sampling)
    devices = [check_device_name(name) for name in device or ["auto"]]
    with progress_bar() as bar, reading_cpu_name() as cpu_name, interruptible(bar) as progress:
        progress("loading torch", 0.0)
        with ending_at_once():
            from mnfpn_cli.bench.bench import benchmark

        candidates = make(what.seed)
        result = benchmark(candidates, case, devices, cpu_name, progress)
    emit(
        bench_tables(result),
        network_document("bench", candidates[0].settings, candidates[0].target, bench_document(result)),
        output,
    )
    if not result.complete:
        raise Exit(INTERRUPTED)
    if result.failures:
        raise MnfpnError("\n".join(result.failures))
