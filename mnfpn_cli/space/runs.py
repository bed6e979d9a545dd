"""A run: one network, one input size and one execution. Its key, and the columns and names that identify runs."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.settings.measuring import DEFAULT_ALLOCATOR, DEFAULT_RUNTIME, LAYERED, PASSES, Allocator
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import flatten, network_parameters, non_defaults

KEY_VERSION = 2
"""Part of each key. Increase it when a change of mnfpn makes earlier measurements of a run incomparable."""

ANY_DEVICE = "auto"
"""The device that means the best device of the machine."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The way a network is run.

    Attributes:
        runtime: what executes the network.
        device: the device; ``auto`` is the best device of the machine.
        dtype: the element type of weights and activations.
        batch: images in a batch.
        threads: CPU threads; None for torch's default.
        train: whether a pass is a training step.
        allocator: what happens to memory that a pass frees.
    """

    runtime: str = DEFAULT_RUNTIME
    device: str = ANY_DEVICE
    dtype: DType = "float32"
    batch: int = 1
    threads: int | None = None
    train: bool = False
    allocator: Allocator = DEFAULT_ALLOCATOR

    @property
    def passes(self) -> str:
        """The kind of pass: ``inference`` or ``training``."""
        return PASSES[self.train]

    @property
    def has_layers(self) -> bool:
        """Whether the time of each layer can be measured: in inference, by a runtime that executes layer by layer."""
        return self.runtime in LAYERED and not self.train

    def __str__(self) -> str:
        allocator = "" if self.allocator == DEFAULT_ALLOCATOR else f", allocator {self.allocator}"
        return f"{self.runtime} on {self.device}, {self.dtype}{', training' * self.train}{allocator}"


@dataclass(frozen=True, slots=True)
class Run:
    """One network, one size and one execution. The settings are for that size, as some heads depend on it."""

    settings: NetworkSettings
    size: Size
    execution: Execution = Execution()

    @property
    def input(self) -> NetworkInput:
        """The batch of images."""
        return NetworkInput(self.execution.batch, self.settings.in_channels, self.size)

    @property
    def network(self) -> tuple[NetworkSettings, Size]:
        """The settings and the size, without the execution."""
        return self.settings, self.size

    def __str__(self) -> str:
        parameters = ", ".join(f"{name} {value}" for name, value in network_parameters(self.settings))
        return f"{parameters or 'the default network'}, {self.size}, batch {self.execution.batch}, {self.execution}"


def run_key(run: Run, machine: str) -> str:
    """Return the key of a run: a hash of what determines its time, as 32 hexadecimal digits.

    ``machine`` is the kind of machine that measures the run.
    """
    execution = run.execution
    content = {
        "version": KEY_VERSION,
        "settings": run.settings.model_dump(mode="json"),
        "input": run.input.shape,
        "runtime": execution.runtime,
        "device": execution.device,
        "dtype": execution.dtype,
        "threads": execution.threads,
        "train": execution.train,
        "machine": machine,
    }
    if execution.allocator != DEFAULT_ALLOCATOR:  # keys of stores that are older than the field stay what they are
        content["allocator"] = execution.allocator
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


RUN_KEYS = frozenset(("size", "batch", "runtime", "device", "dtype", "threads", "train", "allocator"))
"""The keys of a run that are not keys of its network's settings."""


def differing_values(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the keys whose values differ between runs, in the order of the settings, with each run's value as text.

    Keys that follow from the kinds of backbone and head are left out: those at which each run has its kinds' default.
    """
    columns = [_words(run) for run in runs]
    defaults = [_words_of_kinds(run.settings.backbone.kind, run.settings.head.kind) for run in runs]
    keys = dict.fromkeys(key for column in columns for key in column)
    values = {key: [column.get(key, "–") for column in columns] for key in keys}
    differing = {
        key: words
        for key, words in values.items()
        if len(set(words)) > 1 and words != [column.get(key, "–") for column in defaults]
    }
    return {key: _numbered(words) if key == "stages" else words for key, words in differing.items()}


def identifying_columns(runs: Sequence[Run], without: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the columns of a table that identify runs: for each key, the value of each run as text.

    The columns are the keys whose values differ. Where every network is a preset, a column ``preset`` replaces those of
    settings. Where no value differs, the only column is ``preset`` where the network is one. Otherwise the columns are
    the settings that are not defaults; where all are, the only column has an empty key and the value ``the default
    network``.

    Args:
        runs: the rows of the table.
        without: keys to leave out.
    """
    columns = {key: words for key, words in differing_values(runs).items() if key not in without}
    if columns.keys() - RUN_KEYS and (presets := _presets_of(runs)):
        columns = {"preset": presets, **{key: words for key, words in columns.items() if key in RUN_KEYS}}
    if columns or not runs:
        return columns
    changed = _changed(runs[0].settings)
    if changed and (presets := _presets_of(runs[:1])):
        changed = {"preset": presets[0]}
    return {key: [word] * len(runs) for key, word in changed.items()} or {"": ["the default network"] * len(runs)}


def shared_settings(runs: Sequence[Run]) -> dict[str, str]:
    """Return what is not the default in the network of all runs, as text by key; empty where they are of several."""
    networks = [_settings_of(run.settings) for run in runs]
    return _changed(runs[0].settings) if runs and all(one == networks[0] for one in networks) else {}


IN_COLUMNS = ("size", "batch", "runtime", "device", "train")
"""The keys that have columns of their own in reports, and so are not part of a run's identity."""


def identities(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Return the settings that identify each run: those that differ between runs, or else that are not defaults."""
    # Runs on ``auto`` and on the device that it stood for look the same in the column of devices.
    by_device = {run.execution.device for run in runs} > {ANY_DEVICE}
    columns = identifying_columns(runs, [key for key in IN_COLUMNS if key != "device" or not by_device])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def name_of(identity: Mapping[str, str]) -> str:
    """Return the settings that name a run in one line, as ``width_mult 0.5, channels 64``."""
    return ", ".join(f"{key.rpartition('.')[2]} {word}".lstrip() for key, word in identity.items())


MOST_NAMED = 2
"""The most settings by which the one network of several runs is named."""


def names_of(identities: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the name of each run as `name_of` does.

    The one network of several runs is ``the network`` where it has more than `MOST_NAMED` settings: to repeat them in
    each name would tell no run from another.
    """
    one_network = len(identities) > 1 and all(one == identities[0] for one in identities)
    if one_network and len(identities[0]) > MOST_NAMED:
        return ["the network"] * len(identities)
    return list(map(name_of, identities))


def run_namer(runs: Sequence[Run]) -> Callable[[Run], str]:
    """Return a function that names each of these runs by what sets it apart, as `names_of` does."""
    differing = identifying_columns(runs)
    rows = zip(*differing.values(), strict=True)
    names = dict(zip(runs, names_of([dict(zip(differing, row, strict=True)) for row in rows]), strict=True))
    return lambda run: names[run]


def _words(run: Run) -> dict[str, str]:
    execution = run.execution
    words = {key: _word(value) for key, value in _settings_of(run.settings).items()}
    words |= {
        "size": str(run.size),
        "batch": str(execution.batch),
        "runtime": execution.runtime,
        "device": execution.device,
    }
    threads = "torch's choice" if execution.threads is None else str(execution.threads)
    words |= {"dtype": execution.dtype, "threads": threads, "train": _word(execution.train)}
    return words | {"allocator": execution.allocator}


@cache
def _words_of_kinds(backbone: str, head: str) -> dict[str, str]:
    """Return what settings are by default with these kinds of backbone and head, as text; without the kinds."""
    settings = NetworkSettings.model_validate({"backbone": {"kind": backbone}, "head": {"kind": head}})
    return {key: _word(value) for key, value in _settings_of(settings).items() if not key.endswith(".kind")}


def _presets_of(runs: Sequence[Run]) -> list[str] | None:
    """Return the preset of each run; None where the settings of any run are not a preset."""
    presets = _presets()
    names = [presets.get(json.dumps(_settings_of(run.settings))) for run in runs]
    return [name for name in names if name] if all(names) else None


@cache
def _presets() -> dict[str, str]:
    """Return the name of each preset by its settings as JSON."""
    return {json.dumps(_settings_of(resolve([read_preset(name)]))): name for name in preset_names()}


def _settings_of(settings: NetworkSettings) -> dict[str, Any]:
    """Return settings by dotted key, without ``head.size``, which follows from the size."""
    return {key: value for key, value in flatten(settings).items() if key != "head.size"}


def _changed(settings: NetworkSettings) -> dict[str, str]:
    """Return the settings that are not defaults as text, without ``head.size``, which follows from the size."""
    return {
        key: "custom" if key == "stages" else _word(value)
        for key, value in non_defaults(settings).items()
        if key != "head.size"
    }


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _numbered(words: Sequence[str]) -> list[str]:
    """Number the distinct tables of stages in the order in which they first occur."""
    tables = list(dict.fromkeys(words))
    return [f"table {tables.index(word) + 1}" for word in words]
