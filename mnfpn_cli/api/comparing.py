"""Compare networks: timed in turn on this machine, or two results that are there already."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.api.arguments import (
    FileName,
    Share,
    Sides,
    check_flags,
    checkpoint_of,
    choice,
    file_name,
    one_name,
    optional,
    origin_of,
    read_share,
    sampling_values,
    type_of,
    whole_number,
    workloads_of,
)
from mnfpn_cli.api.progress import Progress, reporting
from mnfpn_cli.errors import Problem, UsageError, within
from mnfpn_cli.settings.input import ITEM_BYTES, MAX_BATCH, DType
from mnfpn_cli.settings.measuring import (
    DEFAULT_ALLOCATOR,
    DEFAULT_MARGIN,
    MAX_SEED,
    MAX_THREADS,
    MOST_PROCESSES,
    check_allocator,
    check_device_name,
    choose_runtimes,
    sampling,
)
from mnfpn_cli.settings.overrides import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.api.arguments import ForwardPass, NetworkArgument
    from mnfpn_cli.bench.comparison import TimedSide
    from mnfpn_cli.bench.sides import SideLaunch
    from mnfpn_cli.documents.bench import BenchDocument
    from mnfpn_cli.documents.compare import CompareDocument


@dataclass(frozen=True)
class Side:
    """A network to compare, and what executes it.

    Attributes:
        network: settings, an ``nn.Module``, or a target as text.
        runtime: what executes the network.
        dtype: the element type to compute in.
        weights: a checkpoint to load; for a network from settings.
        name: of the side in the document; by default the network, the runtime and the dtype.
        weights_key: the key of the checkpoint that has the state dict, as ``ema`` or ``state.model``.
        weights_partial: the part whose layers keep their initial values where they have other shapes, as ``head``.
        python: the interpreter of its processes, which has a compatible mnfpn.
        env: environment variables that are added for its processes.
        ref: the commit whose files it uses, as a branch or a tag: relative paths are those of the commit.
    """

    network: NetworkArgument
    runtime: str = "eager"
    dtype: DType = "float32"
    weights: FileName | None = None
    name: str | None = None
    weights_key: str | None = None
    weights_partial: str | None = None
    python: FileName | None = None
    env: Mapping[str, str] | None = None
    ref: str | None = None


def compare(
    a: Side | NetworkArgument | BenchDocument | PathLike[str],
    b: Side | NetworkArgument | BenchDocument | PathLike[str],
    inputs: ForwardPass | None = None,
    *,
    size: Sides | None = None,
    batch: int | None = None,
    device: str = "auto",
    train: bool = False,
    margin: Share = DEFAULT_MARGIN,
    threads: int | None = None,
    allocator: str = DEFAULT_ALLOCATOR,
    seed: int = 0,
    precision: Share | None = None,
    passes: int | None = None,
    max_time: float | None = None,
    min_time: float | None = None,
    warmup: int | None = None,
    processes: int | None = None,
    fail_if_slower: Share | None = None,
    fail_if_larger: Share | None = None,
    progress: Progress = None,
) -> CompareDocument:
    """Compare the speed and cost of two networks: timed here in turn, A B B A; or of two results of `bench`.

    Args:
        a: a `Side`, a network, a document of `bench`, or the name of its JSON file.
        b: the same; both are measured here, or both are results.
        inputs: the inputs of one forward of modules.
        size: of the images, height first; 600x900 for networks from settings.
        batch: images in a batch; 1 where it is not given.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        train: whether to time training steps: forward, backward, SGD.
        margin: the share up to which a difference of times is ignored, as ``"1%"`` or ``0.01``.
        threads: of the CPU; torch's choice where it is not given.
        allocator: as for `bench`.
        seed: of the random weights of a network from settings or a target.
        precision: the 95 % interval of the ratio within which to stop; half the margin where it is not given.
        passes: how many passes to time instead.
        max_time: the seconds after which to stop timing, precise or not.
        min_time: the least seconds to spend on timing.
        warmup: passes of warm-up; until their times are steady where it is not given.
        processes: how many processes of each side to time; both sides in this process where it is not given, or 4 of
            each where one has an interpreter, variables or a commit of its own.
        fail_if_slower: the share by which B may be slower; where it is more, ``gates.broken`` says so.
        fail_if_larger: the share by which B may exceed A in parameters, MACs or memory.
        progress: is called with what is being done and the share of it that is done; or ``"tqdm"`` or ``"rich"``.

    Raises:
        UsageError: where an argument is wrong, or an input does not fit the memory.
        MnfpnError: where there is no such device, or a side cannot be run on it.
        KeyboardInterrupt: where Ctrl-C came before anything was timed.

    Examples:
        >>> import mnfpn_cli.api as mnfpn
        >>> from torch import nn
        >>> small, large = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 64, 3)
        >>> document = mnfpn.compare(small, large, size=64, device="cpu", passes=6, warmup=1, fail_if_larger="5%")
        >>> document.a.parameters, document.b.parameters, len(document.gates.broken) > 0
        (224, 1792, True)
    """
    check_flags(train=train)
    ignored = read_share("margin", margin)
    slower, larger = (
        optional(read_share, name, value, True)
        for name, value in (("fail_if_slower", fail_if_slower), ("fail_if_larger", fail_if_larger))
    )
    given = {"inputs": inputs, "size": size, "batch": batch, "threads": threads, "precision": precision}
    given |= {"passes": passes, "max_time": max_time, "min_time": min_time, "warmup": warmup, "train": train or None}
    given |= {
        "processes": processes,
        "device": None if device == "auto" else device,
        "allocator": None if allocator == DEFAULT_ALLOCATOR else allocator,
        "seed": seed or None,
    }
    both: list[Any] = [a, b]
    if any(_is_result(one) for one in both):
        _check_results(both, [name for name, value in given.items() if value is not None])
        return _compared_results(_result("a", a), _result("b", b), ignored, slower, larger)
    sides = {where: one if isinstance(one, Side) else Side(one) for where, one in zip("ab", both, strict=True)}
    from mnfpn_cli.bench.comparison import CompareCase, Gates, judge
    from mnfpn_cli.bench.run_comparison import run_comparison

    case = CompareCase(
        batch=optional(whole_number, "batch", batch, 1, MAX_BATCH) or 1,
        device_name=check_device_name(one_name("device", device)),
        threads=optional(whole_number, "threads", threads, 1, MAX_THREADS),
        train=train,
        margin=ignored,
        sampling=sampling(**sampling_values(precision, passes, max_time, min_time, warmup), usual=ignored / 2),
        allocator=check_allocator(one_name("allocator", allocator)),
        seed=whole_number("seed", seed, 0, MAX_SEED),
    )
    number = optional(whole_number, "processes", processes, 1, MOST_PROCESSES)
    launches = _launch("a", sides["a"]), _launch("b", sides["b"])
    with reporting(progress) as report:
        document = run_comparison(
            lambda where: _read(where, sides[where], inputs, size, batch),
            launches,
            number,
            case,
            lambda: nullcontext(report),
        )
    return judge(document, Gates(slower, larger))


def _read(where: str, side: Side, inputs: ForwardPass | None, size: Sides | None, batch: int | None) -> TimedSide:
    """Read the arguments of a side; ``where`` is its place in messages.

    Raises:
        UsageError: where an argument is wrong.
    """
    from mnfpn_cli.bench.comparison import TimedSide

    with within(f"`{where}`"):
        checkpoint = checkpoint_of(side.weights, side.weights_key, side.weights_partial)
        origin = origin_of(side.network, checkpoint)
        runtime, dtype = one_name("runtime", side.runtime), choice("dtype", side.dtype, tuple(ITEM_BYTES))
        if len(choose_runtimes([runtime])) > 1:
            raise UsageError(Problem("`runtime`", "must be one", runtime))
        (workload,) = workloads_of(origin, "inputs", [] if inputs is None else [inputs], size, batch)
    words = [origin.name if origin.settings is None else in_words(origin.settings)]
    words += [one for one, usual in ((runtime, Side.runtime), (dtype, Side.dtype)) if one != usual]
    return TimedSide(side.name or ", ".join(words), workload, runtime, dtype)


def _launch(where: str, side: Side) -> SideLaunch:
    """Return what was said of a side besides its network.

    Raises:
        UsageError: where an argument is wrong.
    """
    from mnfpn_cli.bench.sides import SideLaunch, parse_variables

    variables = {} if side.env is None else side.env
    if (
        not isinstance(variables, Mapping)
        or not all(isinstance(one, str) for pair in variables.items() for one in pair)
        or any("=" in name for name in variables)
    ):
        raise UsageError(Problem(f"`{where}_env`", "must be names without = and values, as text", f"{variables!r:.40}"))
    if side.ref is not None and not isinstance(side.ref, str):
        raise UsageError(Problem(f"`{where}_ref`", "must be the name of a commit", type_of(side.ref)))
    python = None if side.python is None else Path(file_name(f"{where}_python", side.python))
    environment = parse_variables(f"`{where}_env`", [f"{name}={value}" for name, value in variables.items()])
    return SideLaunch(python, environment, side.ref)


def _is_result(given: object) -> bool:
    """Return whether a value is a result of `bench`, or the name of a file."""
    from mnfpn_cli.documents.bench import BenchDocument

    return isinstance(given, BenchDocument | PathLike) or (isinstance(given, str) and given.endswith(".json"))


def _check_results(both: Sequence[Any], given: Sequence[str]) -> None:
    """Check that both sides are results, and that no parameter of a measurement is given.

    Raises:
        UsageError: where they are not, or one is.
    """
    if not all(_is_result(one) for one in both):
        raise UsageError(Problem("a, b", "must both be networks, or both be results of bench"))
    if given:
        names = ", ".join(f"`{name}`" for name in given)
        raise UsageError(Problem(names, "cannot be used with results, which are measured already"))


def _result(where: str, given: Any) -> tuple[str, BenchDocument]:
    """Return a result of `bench`, and its name in messages: that of its file."""
    from mnfpn_cli.documents.bench import BenchDocument
    from mnfpn_cli.documents.read import read_document

    if isinstance(given, BenchDocument):
        return where, given
    path = Path(file_name(where, given))
    return str(path), read_document(path, BenchDocument)


def _compared_results(
    a: tuple[str, BenchDocument],
    b: tuple[str, BenchDocument],
    margin: float,
    slower: float | None,
    larger: float | None,
) -> CompareDocument:
    """Compare two results, without torch."""
    from mnfpn_cli.bench.compare_files import compare_results
    from mnfpn_cli.bench.comparison import Gates, check_gates_apply, judge

    document, gates = compare_results((a[0], b[0]), (a[1], b[1]), margin), Gates(slower, larger)
    check_gates_apply(document, gates)
    return judge(document, gates)
