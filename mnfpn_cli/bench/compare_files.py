"""Two result files of `mnfpn bench`, run against run. No torch here."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mnfpn_cli.bench.verdicts import FIGURES, ComparedSide, Comparison, Pair
from mnfpn_cli.documents.bench import BenchDocument, RunRecord
from mnfpn_cli.documents.read import read_document
from mnfpn_cli.documents.records import EnvironmentRecord, InputRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import FromSettings, Origin, describe_inputs, recorded_inputs, recorded_origin
from mnfpn_cli.measure.statistics import Latency, unpaired_ratio
from mnfpn_cli.measure.unsteady import Unsteady
from mnfpn_cli.plan.levels import plan_outline
from mnfpn_cli.settings.overrides import ABSENT, differences
from mnfpn_cli.settings.problems import SettingsError

HARDWARE = ("cpu", "cores", "memory_bytes", "gpu")
"""The keys of an environment that make it another machine."""

SAME_MEMORY = 0.02
"""Another kernel, or another boot, leaves a machine some memory more or less."""

CONDITIONS = ("runtime", "device", "device_name", "dtype", "input", "threads", "train", "cold_cache")
"""What a run was timed with and on."""

SHOWN_SETTINGS = 6

RunPairs = list[tuple[RunRecord, RunRecord]]


def compare_recorded(paths: tuple[Path, Path], margin: float) -> Comparison:
    """Two result files, run by run.

    Raises:
        UsageError: where one is no result file, or they have no run in common, and not one each.
        MnfpnError: where one cannot be read.
    """
    a, b = map(_read, paths)
    runs = _pairs(a, b, paths)
    facts = [_facts(path, file, run) for path, file, run in zip(paths, (a, b), runs[0], strict=True)]
    pairs = tuple(_pair(run, counterpart, margin) for run, counterpart in runs)
    warnings = tuple(dict.fromkeys((*_differences(a, b, runs), *_doubts(paths[0], a), *_doubts(paths[1], b))))
    return Comparison(facts[0], facts[1], pairs, margin, warnings, complete=a.complete and b.complete)


def _read(path: Path) -> BenchDocument:
    file = read_document(path, BenchDocument)
    first = dict[object, int]()
    for index, run in enumerate(file.runs):
        before = first.setdefault(_key(run), index)
        if before != index:
            raise UsageError(f"{path}: runs[{index}]: must not repeat runs[{before}], {_name(run)}")
    if file.settings:
        try:
            plan_outline(file.settings)
        except SettingsError as error:
            raise error.within(f"{path}: settings", ".") from None
    return file


def _pairs(a: BenchDocument, b: BenchDocument, paths: tuple[Path, Path]) -> RunPairs:
    """The runs that both have; where each has one alone, that is the pair."""
    keys: tuple[Callable[[RunRecord], object], ...] = (_key, _key_anywhere)
    for key in keys:
        of_a, of_b = Counter(map(key, a.runs)), {key(run): run for run in b.runs}
        known = Counter(map(key, b.runs))
        pairs = [(run, of_b[key(run)]) for run in a.runs if of_a[key(run)] == known[key(run)] == 1]
        if pairs:
            return pairs
    if len(a.runs) == len(b.runs) == 1:
        return [(a.runs[0], b.runs[0])]
    theirs = [
        Problem(str(path), "; ".join(_name(run) for run in file.runs)) for path, file in zip(paths, (a, b), strict=True)
    ]
    raise UsageError(Problem(f"{paths[0]}, {paths[1]}", "must have a run in common, but have"), *theirs)


def _key(run: RunRecord) -> tuple[object, ...]:
    """What makes it the same run in two files."""
    return (run.device, *_key_anywhere(run))


def _key_anywhere(run: RunRecord) -> tuple[object, ...]:
    """What makes it the same run on two devices of a kind."""
    return (run.runtime, run.device.partition(":")[0], run.dtype, run.input, run.train, run.cold_cache)


def _name(run: RunRecord) -> str:
    """The run in words."""
    extra = ", training" * run.train + ", cold caches" * run.cold_cache
    return f"{run.runtime} on {run.device}, batch {run.batch}, {recorded_inputs(run.input).size}, {run.dtype}{extra}"


def _figures(file: BenchDocument, run: RunRecord) -> dict[str, int]:
    """What the network costs for the input of a run; the file's own cost is that of its first input."""
    size = (run.input.height, run.input.width)
    cost = next((one.cost for one in file.sizes if (one.height, one.width) == size), file.cost)
    figures = {name: getattr(cost, name) for name in FIGURES}
    return {**figures, "activation_bytes": cost.activation_bytes * run.input.batch // file.input.batch}


def _facts(path: Path, file: BenchDocument, run: RunRecord) -> ComparedSide:
    return ComparedSide(
        name=str(path),
        runtime=run.runtime,
        dtype=run.dtype,
        device=run.device,
        threads=run.threads,
        train=run.train,
        input=recorded_inputs(run.input),
        origin=recorded_origin(file.settings, file.model),
        figures=_figures(file, run),
        difference=run.max_difference,
    )


def _pair(one: RunRecord, other: RunRecord, margin: float) -> Pair:
    a, b = Latency(one.latency_s.samples), Latency(other.latency_s.samples)
    ratio = unpaired_ratio(a.samples, b.samples)
    name = _name(one) if _name(one) == _name(other) else f"{_name(one)} against {_name(other)}"
    return Pair(name, a, b, ratio, ratio.verdict(margin))


def _differences(a: BenchDocument, b: BenchDocument, pairs: RunPairs) -> Iterator[Unsteady]:
    """What the interval cannot know of: how the two were taken, and what differed besides the networks."""
    yield Unsteady(
        "not_interleaved",
        "the two were not timed in turn: what else the machine did at either time is in the ratio, not in its interval",
        "mnfpn compare `a` … `b` …, which times them A B B A",
    )
    for name, one, other in _environments(a.environment, b.environment):
        kind = "machine" if name in HARDWARE else "software"
        yield Unsteady(f"other_{kind}", f"{name} differs: {one} against {other}", f"compare results of one {kind}")
    for run, counterpart in pairs:
        for name in CONDITIONS:
            x, y = getattr(run, name), getattr(counterpart, name)
            if x != y:
                cause = f"{name} differs: {_shown(x)} against {_shown(y)}"
                yield Unsteady(f"other_{name}", cause, "measure both alike")
    yield from _other_networks(recorded_origin(a.settings, a.model), recorded_origin(b.settings, b.model))
    compared_a, compared_b = zip(*pairs, strict=True)
    missing = [_name(run) for run in a.runs if run not in compared_a]
    missing += [_name(run) for run in b.runs if run not in compared_b]
    if missing:
        yield Unsteady(
            "runs", f"not in both files: {'; '.join(missing)}", "results of the same runtimes, sizes and batches"
        )


def _other_networks(a: Origin, b: Origin) -> Iterator[Unsteady]:
    """What differs between the networks themselves."""
    helps = "nothing, this is expected when comparing networks"
    if a.model != b.model:
        yield Unsteady("other_model", f"model differs: {a.call} against {b.call}", helps)
    if not isinstance(a, FromSettings) or not isinstance(b, FromSettings):
        return
    settings = list(_other_settings(a.settings.model_dump(mode="json"), b.settings.model_dump(mode="json")))
    if settings:
        more = f"; and {len(settings) - SHOWN_SETTINGS} more" if len(settings) > SHOWN_SETTINGS else ""
        cause = f"settings differ: {'; '.join(settings[:SHOWN_SETTINGS])}{more}"
        yield Unsteady("other_settings", cause, helps)


def _doubts(path: Path, file: BenchDocument) -> Iterator[Unsteady]:
    """What a file itself tells of how sure it is."""
    if not file.complete:
        yield Unsteady("incomplete", f"{path}: the measurement was interrupted", "measure it again")
    for run in file.runs:
        if run.failure is not None:
            yield Unsteady("failed", f"{path}: {_name(run)}: {run.failure}", "measure it again")
    for warning in file.warnings:
        yield Unsteady(warning.kind, f"{path}: {warning.cause}", warning.helps)


def _shown(value: Any) -> str:
    if isinstance(value, InputRecord):
        return describe_inputs(recorded_inputs(value))
    return "none" if value is None else str(value)


def _environments(a: EnvironmentRecord, b: EnvironmentRecord) -> Iterator[tuple[str, str, str]]:
    """What differs between the machines and their software, but for the date."""
    for name in EnvironmentRecord.model_fields:
        one, other = getattr(a, name), getattr(b, name)
        if one == other or name == "date":
            continue
        if name == "memory_bytes" and isinstance(one, int) and isinstance(other, int):
            if abs(one - other) > SAME_MEMORY * max(one, other):
                yield "memory_bytes", f"{one:,}", f"{other:,}"
            continue
        yield name, _shown(one), _shown(other)


def _other_settings(a: Any, b: Any) -> Iterator[str]:
    """Each place at which two settings differ, with both values."""
    for one in differences(a, b, rows=True):
        yield f"{one.key} {_brief(one.one)} against {_brief(one.other)}"


def _brief(value: Any) -> str:
    if value is ABSENT:
        return "none"
    return ",".join(map(str, value.values())) if isinstance(value, dict) else _shown(value)
