"""Making a runtime ready: converted, run once, held against eager float32, and warm."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from mnfpn_cli.bench.outputs import Judged, Named, judge, named_outputs, weights_not_finite
from mnfpn_cli.bench.results import FirstPass
from mnfpn_cli.devices.clocks import Timer, Timing
from mnfpn_cli.devices.cuda import without_tf32
from mnfpn_cli.devices.devices import PeakMemory
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.external.guard import own_traceback
from mnfpn_cli.external.torchvision import plain_operators
from mnfpn_cli.measure.engine import WarmUp, warm_up
from mnfpn_cli.measure.memory import out_of_memory_explained
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.runtimes.runtime import Job, Prepared, as_tensors, load_runtime
from mnfpn_cli.text import first_line


@dataclass(frozen=True)
class Ready:
    """A runtime that is ready to be timed, and what getting there showed; ``queued``: a GPU's work may be waiting."""

    run: Callable[[], Any]
    first: FirstPass
    warm_up: WarmUp
    difference: float | None
    peak_memory_bytes: int | None
    added_memory_bytes: int | None
    doubts: tuple[Unsteady, ...]
    failure: str | None = None
    queued: bool = True


@dataclass(frozen=True)
class ExplainingTimer:
    """Another timer; what goes wrong in a pass becomes an error in words. The clock does not see it."""

    timer: Timer
    doing: str

    def __call__(self, run: Callable[[], object]) -> Timing:
        """The time of one pass."""
        try:  # and no context manager: it would take longer than all the rest of the loop
            return self.timer(run)
        except (Exception, SystemExit):
            with explained(self.doing):
                raise


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what a device, a library or a network cannot do into an error of its own, so that other rows are kept.

    Raises:
        MnfpnError: where the block runs out of memory, a library gives up, or a network fails or ends the process.
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


def prepare(name: str, job: Job, timer: Timer, passes: int | None, reference: Named | None, doing: str) -> Ready:
    """Prepare a runtime, take the time to its first result, and warm it up.

    Raises:
        MnfpnError: where it cannot be prepared, or run, or does not compute the network.
    """
    with explained(doing):
        weights = weights_not_finite(job.network)
        peak = PeakMemory(job.device)
        plain_operators()  # those of other passes
        start = time.perf_counter()
        prepared = load_runtime(name).prepare(job)
        seconds = time.perf_counter() - start
        outputs: list[Any] = []
        first = timer(lambda: outputs.append(prepared.run()))
        judged = _judged(outputs.pop(), prepared, reference, job, weights)
        operators = plain_operators()
        warm = warm_up(prepared.run, timer, passes)
        memory = (None, None) if prepared.outside_torch else (peak.bytes(), peak.added())
        return Ready(
            prepared.run,
            FirstPass(seconds, first.seconds),
            warm,
            judged.difference,
            *memory,
            doubts=(*judged.doubts, *_in_plain_torch(operators)),
            failure=judged.failure,
            queued=not prepared.outside_torch,
        )


def _judged(outputs: Any, prepared: Prepared, reference: Named | None, job: Job, weights: Sequence[str]) -> Judged:
    if job.train:  # a step returns a loss
        return Judged(None)
    return judge(named_outputs(job.network, outputs, prepared.outputs(outputs)), reference, job.dtype, weights)


def _in_plain_torch(operators: Sequence[str]) -> Iterator[Unsteady]:
    """That a time is not the one that torchvision's own operators would give."""
    if operators:
        yield Unsteady(
            "plain_operators",
            f"{', '.join(operators)} of torchvision ran in plain torch, which takes longer: "
            f"the library of torchvision's own does not load beside torch {torch.__version__}",
            "a torchvision that was built for this torch",
        )


def reference_outputs(job: Job) -> Named:
    """The outputs of the network in eager float32, without the TF32 that torch's convolutions use on GPUs by default.

    Raises:
        MnfpnError: where it cannot be run.
    """
    with explained(f"eager float32 on {job.device}, which others are compared with"), without_tf32():
        network, inputs = job.network.to(job.device), (one.to(job.device) for one in job.inputs)
        outputs = network(*inputs)
        return named_outputs(network, outputs, [tensor.cpu() for tensor in as_tensors(outputs)])
