"""Prepare a network for its runs: build, move, convert, and check what it returns."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from mnfpn_cli.bench.results import FirstPass
from mnfpn_cli.devices.clocks import Timer, Timing
from mnfpn_cli.devices.cuda import without_tf32
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.external.guard import own_traceback
from mnfpn_cli.external.torchvision import plain_operators
from mnfpn_cli.measure.engine import WarmUp, warm_up
from mnfpn_cli.measure.memory import PeakMemory, out_of_memory_explained
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import Network
from mnfpn_cli.runtimes.runtime import Job, Prepared, as_tensors, load_runtime
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line
from mnfpn_cli.trace.observe import named_tensors

MOST_NAMES = 4
"""Outputs, or weights, that a message names."""

Named = Sequence[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the outputs of a first pass say.

    Attributes:
        difference: the largest relative one, infinite where there is nothing to compare and None where none was taken.
        doubts: what leaves them in doubt.
        failure: why the network is none to be timed, whatever the runtime.
    """

    difference: float | None
    doubts: tuple[Unsteady, ...] = ()
    failure: str | None = None


def named_outputs(network: nn.Module, outputs: Any, tensors: Sequence[Tensor]) -> Named:
    """The tensors in what a pass returned: of a network from settings by level, of others by place in it."""
    if isinstance(network, Network):
        names = [str(name) for name in network.outputs]
    else:
        names = [name or "0" for name, _ in named_tensors(outputs)]
    if len(names) != len(tensors):  # a runtime returned an object of its own
        names = [str(index) for index in range(len(tensors))]
    return list(zip(names, tensors, strict=True))


def weights_not_finite(network: nn.Module) -> list[str]:
    """The names of the tensors in its state that are not finite."""
    return _not_finite([(name, one) for name, one in network.state_dict().items() if isinstance(one, Tensor)])


def judge(found: Named, expected: Named | None, dtype: DType, weights: Sequence[str] = ()) -> Judged:
    """Hold what a runtime returned against what eager float32 returns, where that is known.

    Args:
        found: what the runtime returned.
        expected: what eager float32 returns.
        dtype: that the runtime computes in.
        weights: those that are not finite, before a runtime folds them into others.

    Raises:
        MnfpnError: where a runtime computes in float32, and makes what is not finite of a network that is.
    """
    if expected is None:
        return _judged_alone(_not_finite(found), dtype, weights)
    network = _not_finite(expected)
    if network:
        return Judged(inf, failure=_not_finite_at_all(network, weights))
    other = tuple(_other_shapes(found, expected))
    if other:
        return Judged(inf, other)
    broken = _not_finite([(name, tensor) for (_, tensor), (name, _) in zip(found, expected, strict=True)])
    if not broken:
        return Judged(largest_difference([tensor for _, tensor in found], [tensor for _, tensor in expected]))
    if dtype == "float32":
        raise MnfpnError(f"{_are(broken)} not finite, where eager float32's are: it does not compute this network")
    cause = f"{_are(broken)} not finite in {dtype}, where eager float32's are"
    return Judged(inf, (_overflow(cause),))


def _judged_alone(broken: Sequence[str], dtype: DType, weights: Sequence[str]) -> Judged:
    """Of outputs with nothing to compare them with, what is not finite: in a smaller dtype it may be an overflow."""
    if not broken:
        return Judged(None)
    if dtype == "float32":
        return Judged(None, failure=_not_finite_at_all(broken, weights))
    return Judged(None, (_overflow(f"{_are(broken)} not finite in {dtype}"),))


def _overflow(cause: str) -> Unsteady:
    return Unsteady("not_finite", cause, "another `dtype`, or other weights")


def _not_finite(outputs: Named) -> list[str]:
    return [name for name, tensor in outputs if not tensor.isfinite().all()]


def _are(names: Sequence[str]) -> str:
    return f"its output {names[0]} is" if len(names) == 1 else f"its outputs {_some(names)} are"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _not_finite_at_all(outputs: Sequence[str], weights: Sequence[str]) -> str:
    """Outputs that are not finite whatever the runtime, and the weights that explain it."""
    why = f", nor are its weights {_some(weights)}" if weights else ""
    return f"{_are(outputs)} not finite in float32{why}"


def _other_shapes(found: Named, expected: Named) -> Iterator[Unsteady]:
    """Outputs that cannot be compared: a detector that rounds otherwise finds other boxes."""
    helps = "nothing, where shapes depend on the numbers in an image; else another runtime"
    if len(found) != len(expected):
        yield Unsteady("other_shapes", f"it returns {len(found)} outputs, eager float32 {len(expected)}", helps)
        return
    for (_, tensor), (name, other) in zip(found, expected, strict=True):
        if tensor.shape != other.shape:
            cause = f"its output {name} is {_shape(tensor)}, eager float32's {_shape(other)}"
            yield Unsteady("other_shapes", cause, helps)
            return


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


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
