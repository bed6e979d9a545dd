"""Prepare a network for timing: convert it for a runtime, run it once, check its outputs, and warm it up."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mnfpn_cli.bench.judge import MOST_BYTES, Judge, Reference
from mnfpn_cli.bench.outputs import NamedTensors, OutputComparison, check_outputs, named_outputs, weights_not_finite
from mnfpn_cli.bench.results import FirstPass
from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.cuda import without_tf32
from mnfpn_cli.devices.timers import Timer, Timing
from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.external.guard import own_traceback
from mnfpn_cli.external.torchvision import plain_operators
from mnfpn_cli.measure.engine import WarmUp, warm_up
from mnfpn_cli.measure.memory import PeakMemory, out_of_memory_explained
from mnfpn_cli.quantization.quantization import Passes
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Prepared, as_tensors, load_runtime
from mnfpn_cli.text import first_line


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn any failure in the block into an `MnfpnError`, so that other runs can continue.

    Raises:
        MnfpnError: where the block runs out of memory, a library raises an error, or a network fails or exits.
    """
    try:
        with out_of_memory_explained(f"in {doing}"):
            yield
    except MnfpnError:
        raise
    except SystemExit as error:
        raise MnfpnError(Problem(f"could not run {doing}", f"sys.exit({error.code!r}) was called")) from error
    except Exception as error:
        kind = "" if type(error) is RuntimeError else f"{type(error).__name__}: "
        failure = MnfpnError(Problem(f"could not run {doing}", f"{kind}{first_line(error)}"))
        failure.details = own_traceback(error, f"{type(error).__name__}: {first_line(error)}")
        raise failure from error


@dataclass(frozen=True)
class ExplainingTimer:
    """A timer that turns a failure in a pass into an `MnfpnError`, outside of the time that it measures."""

    timer: Timer
    doing: str

    def __call__(self, run: Callable[[], object]) -> Timing:
        """Return the time of one pass."""
        try:  # a context manager here would take longer than the rest of the loop
            return self.timer(run)
        except (Exception, SystemExit):
            with explained(self.doing):
                raise


@dataclass(frozen=True)
class Ready:
    """What preparing a run has shown: it is warm, and can be timed.

    Attributes:
        first: the time to the first result.
        warm_up: the passes of warm-up.
        threads: of the CPU.
        gpu_name: the name of the GPU; None on the CPU.
        peak_memory_bytes: the peak from preparing to the end of warm-up; None where torch does not count it.
        added_memory_bytes: that peak less the memory in use before; None where torch does not count it.
        file_bytes: of the file that the runtime loads; None where it loads none.
        keep_float: the paths of the layers that were to stay in float32.
        queued: whether a pass only queues its work where the device has a queue.
        warnings: reasons to trust the time less.
    """

    first: FirstPass
    warm_up: WarmUp
    threads: int
    gpu_name: str | None = None
    peak_memory_bytes: int | None = None
    added_memory_bytes: int | None = None
    file_bytes: int | None = None
    keep_float: frozenset[str] = frozenset()
    queued: bool = True
    warnings: tuple[WarningRecord, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What is known of the outputs of a run, and of what it executed.

    Attributes:
        difference: the largest relative difference from eager float32; infinite where outputs cannot be compared, None
            where there was nothing to compare with.
        failure: why the outputs are not worth timing; None where they are.
        quality: the outputs beside eager float32's, on images; None where they were not judged.
        graph: what the runtime executes; None in float32, and where it cannot be known.
        warnings: reasons to trust the outputs less.
    """

    difference: float | None = None
    failure: str | None = None
    quality: QualityRecord | None = None
    graph: ExecutedGraph | None = None
    warnings: tuple[WarningRecord, ...] = ()


@dataclass(frozen=True)
class ReadyRun:
    """A run that can be timed in this process: its pass, what preparing it has shown, and its outputs."""

    prepared: Prepared
    ready: Ready
    checked: Checked


def prepare_run(
    runtime: str,
    job: Job,
    timer: Timer,
    passes: int | None,
    expected: NamedTensors | None,
    doing: str,
    judge: Judge | None = None,
) -> ReadyRun:
    """Prepare a network for a runtime, time its first result, check its outputs, and warm it up.

    Args:
        runtime: the name of the runtime.
        job: the network and its inputs.
        timer: times the first pass and those of warm-up.
        passes: passes of warm-up; None to continue until they are steady.
        expected: the outputs of eager float32; None where they are not known.
        doing: names the work in messages.
        judge: what the outputs are judged by, in another dtype than float32.

    Raises:
        MnfpnError: where the network cannot be prepared or run, or the runtime does not compute it.
    """
    with explained(doing):
        comparison = OutputComparison(None)
        bad_weights = weights_not_finite(job.network)  # before a runtime folds them into others

        def compare(outputs: NamedTensors) -> None:
            nonlocal comparison
            comparison = check_outputs(outputs, expected, job.dtype, bad_weights)

        prepared, ready = make_ready(runtime, job, timer, passes, compare)
        return ReadyRun(prepared, ready, check_run(prepared, job, comparison, judge))


def make_ready(
    runtime: str, job: Job, timer: Timer, passes: int | None, receive: Callable[[NamedTensors], object]
) -> tuple[Prepared, Ready]:
    """Prepare a network for a runtime, time its first result, and warm it up.

    Args:
        runtime: the name of the runtime.
        job: the network and its inputs.
        timer: times the first pass and those of warm-up.
        passes: passes of warm-up; None to continue until they are steady.
        receive: takes the outputs of the first pass, unless it is a training step, which returns a loss.
    """
    peak = PeakMemory(job.device)
    plain_operators()  # forget those of earlier passes
    start = time.perf_counter()
    prepared = load_runtime(runtime).prepare(job)
    seconds = time.perf_counter() - start
    first = _first_pass(prepared, job, timer, receive)
    operators = plain_operators()
    warm = warm_up(prepared.run, timer, passes)
    memory = (None, None) if prepared.outside_torch else (peak.bytes(), peak.added())
    return prepared, Ready(
        FirstPass(seconds, first),
        warm,
        torch.get_num_threads(),
        device_of(job.device).model(),
        *memory,
        file_bytes=prepared.file_bytes,
        keep_float=job.quantization.keep_float if job.quantization else frozenset(),
        queued=not prepared.outside_torch,
        warnings=(*prepared.warnings, *_operator_warnings(operators)),
    )


def _first_pass(prepared: Prepared, job: Job, timer: Timer, receive: Callable[[NamedTensors], object]) -> float:
    """Return the seconds of the first pass; what it returned is free again afterwards."""
    outputs: list[Any] = []
    first = timer(lambda: outputs.append(prepared.run()))
    if not job.train:
        (returned,) = outputs
        receive(named_outputs(job.network, returned, prepared.outputs(returned)))
    return first.seconds


def check_run(prepared: Prepared, job: Job, comparison: OutputComparison, judge: Judge | None) -> Checked:
    """Read what a run executes, and judge its outputs on images.

    Args:
        prepared: the run; its inputs have their own values again afterwards.
        job: the job of it.
        comparison: of its first outputs with those of eager float32.
        judge: what the outputs are judged by, in another dtype than float32.
    """
    graph, unread = _graph(prepared) if job.dtype != "float32" and not job.train else (None, ())
    quality = judge.judge(prepared, job.quantization is not None) if judge and not comparison.failure else None
    return Checked(comparison.difference, comparison.failure, quality, graph, (*comparison.warnings, *unread))


def _graph(prepared: Prepared) -> tuple[ExecutedGraph | None, tuple[WarningRecord, ...]]:
    """Return what a runtime executes; where its graph cannot be read, a warning: the run itself is none the worse."""
    if prepared.graph is None:
        return None, ()
    try:
        with explained("the reading of its graph"):
            return prepared.graph(), ()
    except MnfpnError as error:
        return None, (
            WarningRecord(
                kind="no_graph",
                cause=f"what ran in which dtype is not known: {error.message}",
                helps="the version of the runtime in constraints.txt",
            ),
        )


def _operator_warnings(operators: Sequence[str]) -> Iterator[WarningRecord]:
    """Warn that operators of torchvision ran in plain torch, which is slower than torchvision's own."""
    if operators:
        yield WarningRecord(
            kind="plain_operators",
            cause=f"{', '.join(operators)} of torchvision ran in plain torch, which takes longer: "
            f"the library of torchvision's own does not load beside torch {torch.__version__}",
            helps="a torchvision that was built for this torch",
        )


def run_eager_float32(job: Job, judged: Passes = ()) -> Reference:
    """Run the network in eager float32 and return its outputs on the CPU, for the job's inputs and for others.

    TF32, which torch's convolutions use on GPUs by default, is off.

    Raises:
        MnfpnError: where the network cannot be run.
    """
    with explained(f"eager float32 on {job.device}, which others are compared with"), without_tf32():
        job.network.to(job.device)
        outputs, held = list[NamedTensors](), 0
        for inputs in judged:
            outputs.append(_eager_pass(job, inputs))
            held += sum(tensor.nbytes for _, tensor in outputs[-1])
            if held > MOST_BYTES:
                break
        return Reference(_eager_pass(job, job.inputs), tuple(outputs))


def _eager_pass(job: Job, inputs: tuple[Tensor, ...]) -> NamedTensors:
    outputs = job.network(*(tensor.to(job.device) for tensor in inputs))
    return named_outputs(job.network, outputs, [tensor.cpu() for tensor in as_tensors(outputs)])
