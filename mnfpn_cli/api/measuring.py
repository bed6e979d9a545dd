"""Measure a network on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnfpn_cli.api.arguments import (
    FileName,
    Share,
    Sizes,
    batches,
    check_flags,
    checkpoint_of,
    file_name,
    one_name,
    optional,
    origin_of,
    sampling_values,
    whole_number,
    words,
    workloads_of,
)
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import External, only_here
from mnfpn_cli.settings.input import choose_dtypes
from mnfpn_cli.settings.measuring import (
    DEFAULT_ALLOCATOR,
    MAX_SEED,
    MAX_THREADS,
    BenchCase,
    check_allocator,
    check_device_name,
    checked_case,
    choose_runtimes,
    sampling,
)
from mnfpn_cli.settings.quantization import quantization_case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.api.arguments import ForwardPass, NetworkArgument
    from mnfpn_cli.documents.bench import BenchDocument


def bench(
    network: NetworkArgument,
    inputs: ForwardPass | list[ForwardPass] | None = None,
    *,
    size: Sizes | None = None,
    batch: int | Sequence[int] | None = None,
    runtimes: str | Sequence[str] = "eager",
    device: str | Sequence[str] = "auto",
    dtype: str | Sequence[str] = "float32",
    calibration: FileName | None = None,
    keep_float: str | Sequence[str] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    train: bool = False,
    by_layer: bool = False,
    roofline: bool = False,
    postprocess: bool = False,
    image: FileName | None = None,
    tflite: FileName | None = None,
    cold_cache: bool = False,
    threads: int | None = None,
    allocator: str = DEFAULT_ALLOCATOR,
    isolate: bool | None = None,
    seed: int = 0,
    weights: FileName | None = None,
    weights_key: str | None = None,
    weights_partial: str | None = None,
    precision: Share | None = None,
    passes: int | None = None,
    max_time: float | None = None,
    min_time: float | None = None,
    warmup: int | None = None,
    progress: Progress = None,
) -> BenchDocument:
    """Measure what a network costs and how fast it runs here. On each device, the runtimes are timed in turn.

    A module is copied, and the copy runs in eval mode. After Ctrl-C, the document has what was measured until then, and
    ``complete`` is False. Measurements wait for each other: two threads of a process never measure at once.

    Args:
        network: settings, an ``nn.Module``, or a target as text.
        inputs: the inputs of one forward of a module, or a list of several to measure each.
        size: of the images, height first, or a list of sizes; 600x900 for a network from settings.
        batch: images in a batch, or several numbers; 1 where it is not given.
        runtimes: what executes the network: names, or ``"all"``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``, or several.
        dtype: the element type to compute in, or several: float32, bfloat16, float16, int8.
        calibration: a folder of images, or an ``.npz`` of inputs: int8 is calibrated with them, and the outputs of
            other dtypes than float32 are judged by them; random images where it is not given.
        keep_float: paths of layers that stay in float32 where the dtype is int8.
        mean: of each channel of these images, for a network without settings.
        std: the deviation of each channel, likewise.
        train: whether to time training steps: forward, backward, SGD.
        by_layer: whether to time each layer too; for a network from settings.
        roofline: whether to measure the peak rates of the device, and how close each layer comes; with ``by_layer``
            also what each part waits for, on a CPU.
        postprocess: whether to time turning a detector's outputs into boxes too, on random logits.
        image: the file of an image to make these boxes of instead; needs ``weights``.
        tflite: a ``.tflite`` file, made elsewhere, that LiteRT runs beside the runtimes.
        cold_cache: whether to clear the caches before each pass.
        threads: of the CPU; torch's choice where it is not given.
        allocator: ``keep`` has glibc keep the memory that a pass frees, until the process ends; ``system`` leaves it as
            it is; ``jemalloc`` starts processes with that library.
        isolate: whether each run has a process of its own; where it is not given, with several runtimes or dtypes,
            unless the network is a module, which no other process can build.
        seed: of the random weights of a network from settings or a target.
        weights: a checkpoint to load; for a network from settings.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.
        precision: the 95 % interval of the median within which to stop, as ``"1%"`` or ``0.01`` of it.
        passes: how many passes to time instead.
        max_time: the seconds after which to stop timing, precise or not.
        min_time: the least seconds to spend on timing.
        warmup: passes of warm-up; until their times are steady where it is not given.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Returns:
        The document; runs that were not possible are in ``not_run``, and ``failures`` says what was asked for by name
        and failed.

    Raises:
        UsageError: where an argument is wrong, or no input fits the memory.
        MnfpnError: where there is no such device, or nothing could be run.
        KeyboardInterrupt: where Ctrl-C came before anything was measured.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> document = mnfpn.bench(net, torch.rand(1, 3, 32, 32), device="cpu", passes=10, warmup=1)
        >>> document.cost.macs, document.runs[0].runtime, document.runs[0].latency_s.median > 0
        (194400, 'eager', True)
    """
    planned = {"by_layer": by_layer, "roofline": roofline, "postprocess": postprocess}
    check_flags(train=train, cold_cache=cold_cache, **planned, **({} if isolate is None else {"isolate": isolate}))
    origin = origin_of(network, checkpoint_of(weights, weights_key, weights_partial))
    layered = [f"`{name}`" for name, given in planned.items() if given]
    if layered and isinstance(origin, External):
        raise UsageError(Problem(", ".join(layered), "cannot be used with a network without settings"))
    given = inputs if isinstance(inputs, list) else [] if inputs is None else [inputs]
    if given and batch is not None:
        raise UsageError(Problem("`batch`", "cannot be used with inputs, which already gives the shape"))
    workloads = workloads_of(origin, "inputs", given, size)
    case = BenchCase(
        batches=batches(1 if batch is None else batch),
        runtimes=choose_runtimes(words("runtimes", runtimes)),
        dtypes=choose_dtypes(words("dtype", dtype)),
        threads=optional(whole_number, "threads", threads, 1, MAX_THREADS),
        allocator=check_allocator(one_name("allocator", allocator)),
        train=train,
        cold_cache=cold_cache,
        by_layer=by_layer,
        roofline=roofline,
        postprocess=postprocess,
        image=None if image is None else Path(file_name("image", image)),
        tflite=None if tflite is None else Path(file_name("tflite", tflite)),
        quantization=quantization_case(
            None if calibration is None else Path(file_name("calibration", calibration)),
            words("keep_float", keep_float) if keep_float else (),
            mean,
            std,
        ),
        sampling=sampling(**sampling_values(precision, passes, max_time, min_time, warmup)),
    )
    case = checked_case(case, isolate, only_here(origin, workloads))
    devices = [check_device_name(name) for name in words("device", device)]
    seed = whole_number("seed", seed, 0, MAX_SEED)
    with reporting(progress) as report:
        report("loading torch", 0.0)
        from mnfpn_cli.bench.bench import benchmark, one_at_a_time
        from mnfpn_cli.bench.bench_document import bench_document
        from mnfpn_cli.bench.workload import bench_workloads
        from mnfpn_cli.devices.machine import reading_cpu_name

        with one_at_a_time(), reading_cpu_name() as cpu_name:
            result = benchmark(bench_workloads(workloads, seed), case, devices, cpu_name, report)
    return bench_document(result, origin)
