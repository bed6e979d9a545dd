"""Compare two result files of `mnfpn bench`, run by run. No torch here. `compare` times two networks instead."""

from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf
from pathlib import Path

from mnfpn_cli.bench.comparison import FIGURES, TimedSide, compare_document, compared_run
from mnfpn_cli.documents.bench import BenchDocument, RunRecord
from mnfpn_cli.documents.compare import CompareDocument, ComparedRun, SideRecord, SideTimes
from mnfpn_cli.documents.read import read_document
from mnfpn_cli.documents.records import EnvironmentRecord, InputRecord, WarningRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import FromSettings, Origin, Workload, describe_inputs, recorded_inputs, recorded_origin
from mnfpn_cli.measure.statistics import unpaired_ratio
from mnfpn_cli.plan.cost import activation_bytes, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import plan_outline
from mnfpn_cli.settings.input import ITEM_BYTES, NetworkInput
from mnfpn_cli.settings.overrides import ABSENT, differences
from mnfpn_cli.settings.problems import SettingsError

HARDWARE = ("cpu", "cores", "memory_bytes", "gpu_name")
"""Keys of an environment that describe the machine; the others describe its software."""

SAME_MEMORY = 0.02
"""The share by which the memory of one machine may differ: another kernel, or another boot, reserves more or less."""

CONDITIONS = ("runtime", "device", "gpu_name", "dtype", "input", "threads", "train", "cold_cache")
"""Keys of a run that describe how it was timed, and on what."""

MOST_SETTINGS = 6
"""The most differences of settings that a warning lists."""

RunPairs = list[tuple[RunRecord, RunRecord]]
FileNames = tuple[str, str]


def compare_files(paths: tuple[Path, Path], margin: float) -> CompareDocument:
    """Compare the runs of two result files.

    Args:
        paths: the files of A and B.
        margin: the share up to which a difference of times is ignored.

    Raises:
        UsageError: where one is no result file; or as `compare_results`.
        MnfpnError: where one cannot be read.
    """
    a, b = (read_document(path, BenchDocument) for path in paths)
    return compare_results((str(paths[0]), str(paths[1])), (a, b), margin)


def compare_results(names: FileNames, results: tuple[BenchDocument, BenchDocument], margin: float) -> CompareDocument:
    """Compare the runs of two results.

    Args:
        names: those of A and B in messages: their files.
        results: A and B.
        margin: the share up to which a difference of times is ignored.

    Raises:
        UsageError: where a run repeats, or settings describe no network; or where they have no run in common, and more
            than one run each.
    """
    a, b = (_checked(*each) for each in zip(names, results, strict=True))
    pairs = _run_pairs(a, b, names)
    runs = [_compared_run(of_a, of_b, margin) for of_a, of_b in pairs]
    times = runs[0].a, runs[0].b
    side_a, side_b = (_side_record(*each) for each in zip(names, (a, b), pairs[0], times, strict=True))
    warnings = dict.fromkeys(_warnings(a, b, pairs, names))
    return compare_document(side_a, side_b, runs, margin, warnings, complete=a.complete and b.complete)


def _checked(name: str, file: BenchDocument) -> BenchDocument:
    """Check that no run of a result repeats, and that its settings describe a network."""
    first = dict[object, int]()
    for index, run in enumerate(file.runs):
        before = first.setdefault(_key(run), index)
        if before != index:
            raise UsageError(Problem(f"{name}: runs[{index}]", f"must not repeat runs[{before}], {_name(run)}"))
    if file.settings:
        try:
            plan_outline(file.settings)
        except SettingsError as error:
            raise error.within(f"{name}: settings", ".") from None
    return file


def _run_pairs(a: BenchDocument, b: BenchDocument, names: FileNames) -> RunPairs:
    """Return the runs that both files have; where each file has only one run, those two.

    Runs on the same device are paired first; else those on devices of one kind, where there is one of each.
    """
    keys: tuple[Callable[[RunRecord], object], ...] = (_key, _key_on_any)
    for key in keys:
        in_a, in_b = Counter(map(key, a.runs)), Counter(map(key, b.runs))
        run_of_b = {key(run): run for run in b.runs}
        pairs = [(run, run_of_b[key(run)]) for run in a.runs if in_a[key(run)] == in_b[key(run)] == 1]
        if pairs:
            return pairs
    if len(a.runs) == len(b.runs) == 1:
        return [(a.runs[0], b.runs[0])]
    runs = [Problem(name, "; ".join(map(_name, file.runs))) for name, file in zip(names, (a, b), strict=True)]
    raise UsageError(Problem(f"{names[0]}, {names[1]}", "must have a run in common, but have"), *runs)


def _key(run: RunRecord) -> tuple[object, ...]:
    """Return what identifies a run in two files."""
    return (run.device, *_key_on_any(run))


def _key_on_any(run: RunRecord) -> tuple[object, ...]:
    """Return what identifies a run on any device of a kind: cuda:0 and cuda:1 are alike."""
    return (run.runtime, run.device.partition(":")[0], run.dtype, run.input, run.train, run.cold_cache)


def _name(run: RunRecord) -> str:
    extra = ", training" * run.train + ", cold caches" * run.cold_cache
    return f"{run.runtime} on {run.device}, batch {run.batch}, {recorded_inputs(run.input).size}, {run.dtype}{extra}"


def _side_record(name: str, file: BenchDocument, run: RunRecord, times: SideTimes) -> SideRecord:
    workload = Workload(recorded_origin(file.settings, file.model), recorded_inputs(run.input))
    return TimedSide(name, workload, run.runtime, run.dtype).record(
        workload.inputs,
        times,
        device=run.device,
        threads=run.threads,
        train=run.train,
        figures=_figures(file, run),
        difference=inf if run.comparable is False else run.max_difference,
    )


def _figures(file: BenchDocument, run: RunRecord) -> dict[str, int]:
    """Return the exact figures for the input and the dtype of a run.

    Those of the file are for its first batch, and for the dtype of its first run. In another dtype the bytes follow
    from the settings. Without settings they are scaled, which is a little wrong where buffers hold integers.
    """
    size = (run.input.height, run.input.width)
    cost = next((one.cost for one in file.sizes if (one.height, one.width) == size), file.cost)
    figures = {name: getattr(cost, name) for name in FIGURES}
    first, input = file.all_runs[0].dtype, recorded_inputs(run.input)
    if run.dtype != first and file.settings and isinstance(input, NetworkInput):
        plan = plan_network(file.settings)
        figures["model_bytes"] = network_cost(plan, input.size).state_bytes(run.dtype)
        return {**figures, "activation_bytes": activation_bytes(plan, input, run.dtype)}
    scale = Fraction(ITEM_BYTES[run.dtype], ITEM_BYTES[first])
    return {
        **figures,
        "model_bytes": int(cost.model_bytes * scale),
        "activation_bytes": int(cost.activation_bytes * scale * run.input.batch / file.input.batch),
    }


def _compared_run(of_a: RunRecord, of_b: RunRecord, margin: float) -> ComparedRun:
    samples = of_a.latency_s.samples, of_b.latency_s.samples
    name = _name(of_a) if _name(of_a) == _name(of_b) else f"{_name(of_a)} against {_name(of_b)}"
    return compared_run(name, samples, unpaired_ratio(*samples), margin)


def _warnings(a: BenchDocument, b: BenchDocument, runs: RunPairs, names: FileNames) -> Iterator[WarningRecord]:
    yield WarningRecord(
        kind="not_interleaved",
        cause="the two files were not timed in turn: the interval leaves out what the machine did at either time",
        helps="mnfpn compare with `a` and `b`, which times the two in turn: A B B A",
    )
    yield from _environment_warnings(a.environment, b.environment)
    yield from _condition_warnings(runs)
    yield from _network_warnings(recorded_origin(a.settings, a.model), recorded_origin(b.settings, b.model))
    yield from _missing_warnings(a, b, runs)
    for name, file in zip(names, (a, b), strict=True):
        yield from (warning.within(name) for warning in _file_warnings(file))


def _environment_warnings(a: EnvironmentRecord, b: EnvironmentRecord) -> Iterator[WarningRecord]:
    """Warn of each difference between two machines and their software, but not of the date."""
    for name in EnvironmentRecord.model_fields:
        of_a, of_b = getattr(a, name), getattr(b, name)
        if of_a == of_b or name == "date" or (name == "memory_bytes" and _same_memory(of_a, of_b)):
            continue
        if name == "allocator":
            yield _other(name, of_a, of_b)
            continue
        kind = "machine" if name in HARDWARE else "software"
        texts = [f"{value:,}" if name == "memory_bytes" else _text(value) for value in (of_a, of_b)]
        cause = f"{name} differs: {texts[0]} against {texts[1]}"
        yield WarningRecord(kind=f"other_{kind}", cause=cause, helps=f"compare results of one {kind}")


def _same_memory(a: int, b: int) -> bool:
    return abs(a - b) <= SAME_MEMORY * max(a, b)


def _condition_warnings(runs: RunPairs) -> Iterator[WarningRecord]:
    for of_a, of_b in runs:
        for name in CONDITIONS:
            a, b = getattr(of_a, name), getattr(of_b, name)
            if a != b:
                yield _other(name, a, b)


def _other(name: str, a: object, b: object) -> WarningRecord:
    """Warn that a condition of the measurements differs."""
    cause = f"{name} differs: {_text(a)} against {_text(b)}"
    return WarningRecord(kind=f"other_{name}", cause=cause, helps="measure both alike")


EXPECTED = ", as expected when comparing networks"


def _network_warnings(a: Origin, b: Origin) -> Iterator[WarningRecord]:
    if a.model != b.model:
        yield WarningRecord(kind="other_model", cause=f"model differs: {a.call} against {b.call}{EXPECTED}", helps="")
    if not isinstance(a, FromSettings) or not isinstance(b, FromSettings):
        return
    settings = list(_setting_differences(a.settings.model_dump(mode="json"), b.settings.model_dump(mode="json")))
    if settings:
        more = f"; and {len(settings) - MOST_SETTINGS} more" if len(settings) > MOST_SETTINGS else ""
        cause = f"settings differ: {'; '.join(settings[:MOST_SETTINGS])}{more}{EXPECTED}"
        yield WarningRecord(kind="other_settings", cause=cause, helps="")


def _setting_differences(a: object, b: object) -> Iterator[str]:
    for difference in differences(a, b, rows=True):
        yield f"{difference.key} {_setting_text(difference.one)} against {_setting_text(difference.other)}"


def _setting_text(value: object) -> str:
    if value is ABSENT:
        return "none"
    return ",".join(map(str, value.values())) if isinstance(value, dict) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, InputRecord):
        return describe_inputs(recorded_inputs(value))
    return "none" if value is None else str(value)


def _missing_warnings(a: BenchDocument, b: BenchDocument, runs: RunPairs) -> Iterator[WarningRecord]:
    paired_of_a, paired_of_b = zip(*runs, strict=True)
    missing = [_name(run) for run in a.runs if run not in paired_of_a]
    missing += [_name(run) for run in b.runs if run not in paired_of_b]
    if missing:
        yield WarningRecord(
            kind="runs",
            cause=f"not in both files: {'; '.join(missing)}",
            helps="results of the same runtimes, sizes and batches",
        )


def _file_warnings(file: BenchDocument) -> Iterator[WarningRecord]:
    """Yield the warnings of a file itself, and one if it is incomplete and for each run that failed."""
    if not file.complete:
        yield WarningRecord(kind="incomplete", cause="the measurement was interrupted", helps="measure it again")
    for run in file.runs:
        if run.failure is not None:
            yield WarningRecord(kind="failed", cause=f"{_name(run)}: {run.failure}", helps="measure it again")
    yield from file.warnings
