"""`mnfpn bench`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from mnfpn_cli.cli.completion import words
from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.help import MEASURING, MORE, OPTIONS
from mnfpn_cli.cli.interrupts import NOTHING_MEASURED, ending_at_once, interruptible
from mnfpn_cli.cli.measuring import RuntimeOption, SamplingOptions, measuring_flag
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import (
    BATCH_HELP,
    DEVICE_HELP,
    DTYPE_HELP,
    TRAIN_HELP,
    AllocatorOption,
    NetworkOptions,
    OutputOptions,
    SeedOption,
    SizesOption,
    ThreadsOption,
    WeightsOptions,
    device_option,
    parse_batches,
    parse_sizes,
)
from mnfpn_cli.cli.paths import Reads, Writes
from mnfpn_cli.cli.quantization import QuantizationOptions
from mnfpn_cli.errors import INTERRUPTED, MnfpnError, Problem, UsageError
from mnfpn_cli.files import form_of_file
from mnfpn_cli.settings.input import DEFAULT_DTYPE, ITEM_BYTES, choose_dtypes
from mnfpn_cli.settings.measuring import (
    DEFAULT_ALLOCATOR,
    DEFAULT_RUNTIME,
    BenchCase,
    check_device_name,
    checked_case,
    choose_runtimes,
)
from mnfpn_cli.settings.quantization import QuantizationCase

ROOFLINE_HELP = (
    "Also measure the peak rates of the device, and how close each layer comes; with --by-layer, on a CPU, also what "
    "each part waits for."
)


@dataclass(frozen=True)
class CaseOptions:
    """What to measure of the network, and with case_options."""

    batch: Annotated[
        list[str] | None,
        Option(help=f"{BATCH_HELP} Can be repeated, or hold several, as 1,8,32.", metavar="N"),
    ] = None
    runtime: RuntimeOption = None
    dtype: Annotated[
        list[str] | None,
        Option(
            help=f"{DTYPE_HELP} Can be repeated, or hold several, as float32,int8.",
            metavar="TYPE",
            autocompletion=words(*ITEM_BYTES),
        ),
    ] = None
    train: Annotated[bool, measuring_flag("--train", TRAIN_HELP, OPTIONS)] = False
    by_layer: Annotated[
        bool,
        measuring_flag(
            "--by-layer", "Also time each layer, and rank what to make faster; for int8, which layers lose it."
        ),
    ] = False
    trace: Annotated[
        Path | None,
        Option(
            help="With --by-layer, write the operators of a pass to FILE, for Perfetto or chrome://tracing.",
            metavar="FILE.json",
            rich_help_panel=MORE,
        ),
        Writes(),
    ] = None
    roofline: Annotated[
        bool,
        measuring_flag(
            "--roofline",
            ROOFLINE_HELP,
        ),
    ] = False
    postprocess: Annotated[
        bool, measuring_flag("--postprocess", "Also time turning a detector's outputs into boxes, on random logits.")
    ] = False
    image: Annotated[
        Path | None,
        Option(
            help="With --postprocess and --weights, make boxes of this image.", metavar="FILE", rich_help_panel=MORE
        ),
        Reads(),
    ] = None
    tflite: Annotated[
        Path | None,
        Option(help="Also run this .tflite file, made elsewhere, in LiteRT.", metavar="FILE", rich_help_panel=MORE),
        Reads(),
    ] = None
    cold_cache: Annotated[bool, measuring_flag("--cold-cache", "Clear the caches before each pass.", MORE)] = False
    channels_last: Annotated[bool, measuring_flag("--channels-last", "Same as --runtime channels-last.", MORE)] = False
    threads: ThreadsOption = None
    allocator: AllocatorOption = DEFAULT_ALLOCATOR
    isolate: Annotated[
        bool | None,
        Option(
            "--isolate/--no-isolate",
            help="Give each run a process of its own; --no-isolate gives none "
            "(default: with several runtimes or dtypes).",
            rich_help_panel=MEASURING,
            show_default=False,
        ),
    ] = None
    seed: SeedOption = 0

    @property
    def of_settings(self) -> list[str]:
        """The options for networks from settings alone that were given."""
        given = {"--by-layer": self.by_layer, "--roofline": self.roofline, "--postprocess": self.postprocess}
        return [option for option, is_given in given.items() if is_given]

    def case(self, sampling: SamplingOptions, quantization: QuantizationCase) -> BenchCase:
        """Return the case that these options ask for.

        Raises:
            UsageError: if a value is wrong, or options contradict each other.
        """
        if self.trace is not None:
            form_of_file("--trace", self.trace, ("json",), usual="json")
            if not self.by_layer:
                raise UsageError(Problem("--trace", "requires --by-layer, which times the operators"))
        if self.channels_last and self.runtime:
            raise UsageError(
                Problem("--channels-last", "is --runtime channels-last, and cannot be used with --runtime")
            )
        case = BenchCase(
            batches=parse_batches(self.batch or ["1"]),
            runtimes=choose_runtimes(["channels-last"] if self.channels_last else self.runtime or [DEFAULT_RUNTIME]),
            dtypes=choose_dtypes(self.dtype or [DEFAULT_DTYPE]),
            threads=self.threads,
            allocator=self.allocator,
            train=self.train,
            cold_cache=self.cold_cache,
            by_layer=self.by_layer,
            roofline=self.roofline,
            postprocess=self.postprocess,
            image=self.image,
            tflite=self.tflite,
            quantization=quantization,
            sampling=sampling.sampling(),
        )
        return checked_case(case, self.isolate)


@grouped
def bench(
    *,
    size: SizesOption = None,
    device: Annotated[list[str] | None, device_option(f"{DEVICE_HELP} Can be repeated.")] = None,
    case_options: CaseOptions,
    network: NetworkOptions,
    weights: WeightsOptions,
    quantization: QuantizationOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    output: OutputOptions,
) -> None:
    """Measure what a network costs and how fast it runs here.

    On each device, the runtimes are timed in turn.

    Examples:
        mnfpn bench --size 320 --batch 1,8
        mnfpn bench --runtime all --dtype float32,int8 --calibration photos/
        mnfpn bench --model torchvision.models:resnet18 --batch 8
    """
    from mnfpn_cli.cli.output import emit, write_text
    from mnfpn_cli.cli.talk import progress_bar
    from mnfpn_cli.devices.machine import reading_cpu_name
    from mnfpn_cli.report.terminal.bench import bench_tables
    from mnfpn_cli.report.trace import trace_text

    cases = model.workloads(network, parse_sizes(size), weights=weights.file(), of_settings=case_options.of_settings)
    model.check_batch(case_options.batch)
    case = case_options.case(sampling, quantization.quantization())
    devices = [check_device_name(name) for name in device or ["auto"]]
    with progress_bar() as bar, reading_cpu_name() as cpu_name, interruptible(bar) as progress:
        progress("loading torch", 0.0)
        with ending_at_once(NOTHING_MEASURED):
            from mnfpn_cli.bench.bench import benchmark
            from mnfpn_cli.bench.bench_document import bench_document
            from mnfpn_cli.bench.workload import bench_workloads

        result = benchmark(bench_workloads(cases, case_options.seed), case, devices, cpu_name, progress)
    document = bench_document(result, cases[0].origin)
    try:
        if case_options.trace is not None:
            write_text(case_options.trace, trace_text(document), "--trace")
    finally:
        emit(bench_tables(document), document, output)
    if not result.complete:
        raise Exit(INTERRUPTED)
    if result.failures:
        raise MnfpnError("\n".join(result.failures))
