"""A run of a design space: one network, one input, and how it is run; its key, and what names it beside others."""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mnfpn_cli.plan.levels import resolve
from mnfpn_cli.settings.execution import DEFAULT_RUNTIME
from mnfpn_cli.settings.files import preset_names, read_preset
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import changed, flat, network_parameters
from mnfpn_cli.text import Parameter, as_arguments

KEY_VERSION = 1
"""Raised where the same run would be measured differently: old rows are then no longer its result."""

ANY_DEVICE = "auto"

PASSES = ("inference", "training")
"""What a pass is, by whether it trains."""


@dataclass(frozen=True, slots=True)
class Execution:
    """How a network is run.

    Attributes:
        runtime: what executes the network.
        device: where; ``auto`` is the best there is.
        dtype: what it computes in.
        batch: images in a batch.
        threads: of the CPU; None is torch's choice.
        train: whether a pass is a training step.
    """

    runtime: str = DEFAULT_RUNTIME
    device: str = ANY_DEVICE
    dtype: DType = "float32"
    batch: int = 1
    threads: int | None = None
    train: bool = False

    @property
    def passes(self) -> str:
        """What a pass is: ``inference`` or ``training``."""
        return PASSES[self.train]

    def __str__(self) -> str:
        return f"{self.runtime} on {self.device}, {self.dtype}{', training' * self.train}"


@dataclass(frozen=True, slots=True)
class Run:
    """What one measurement is of. The settings are those for the size: a head may be made for it."""

    settings: NetworkSettings
    size: Size
    execution: Execution = Execution()

    @property
    def input(self) -> NetworkInput:
        """A batch of images."""
        return NetworkInput(self.execution.batch, self.settings.in_channels, self.size)

    @property
    def network(self) -> tuple[NetworkSettings, Size]:
        """What is run, whichever way."""
        return self.settings, self.size

    def __str__(self) -> str:
        said = " ".join(f"`{name}` {value}" for name, value in network_parameters(self.settings))
        return f"{said or 'the default network'}, {self.size}, batch {self.execution.batch}, {self.execution}"


def run_key(run: Run, machine: str) -> str:
    """The hash of what determines a measurement: 32 hexadecimal digits.

    Args:
        run: what is measured.
        machine: the kind of machine: times of one are not those of another.
    """
    execution = run.execution
    determined = {
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
    text = json.dumps(determined, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def bench_arguments(run: Run) -> list[str]:
    """The arguments of ``mnfpn bench`` that measure a run."""
    return ["bench", *network_arguments(run), *as_arguments(_how(run.execution))]


def network_arguments(run: Run) -> list[str]:
    """The arguments that name a run's network and the size of its images, as every command takes them."""
    return as_arguments([*network_parameters(run.settings), ("size", str(run.size))])


def _how(execution: Execution) -> list[Parameter]:
    names, usual = ("batch", "runtime", "device", "dtype", "threads"), Execution()
    said = [(name, str(value)) for name in names if (value := getattr(execution, name)) != getattr(usual, name)]
    return [*said, *[("train", "")] * execution.train]


EXECUTION = frozenset(("size", "batch", "runtime", "device", "dtype", "threads", "train"))
"""What runs differ in besides the settings of their networks."""


def differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """What differs between runs: for each key, in the order of the settings, the words of each of them."""
    columns = [_words(run) for run in runs]
    keys = dict.fromkeys(key for column in columns for key in column)
    values = {key: [column.get(key, "–") for column in columns] for key in keys}
    differing = {key: words for key, words in values.items() if len(set(words)) > 1}
    return {key: _numbered(words) if key == "stages" else words for key, words in differing.items()}


def identifying_columns(runs: Sequence[Run], apart: Collection[str] = ()) -> dict[str, list[str]]:
    """What names runs: what differs between them; where nothing does, what is not the default in all of them.

    Presets are called by their names, where all runs are of some.

    ``apart``: keys that are told elsewhere. By no key stands what has no other name.
    """
    found = {key: words for key, words in differences(runs).items() if key not in apart}
    if found.keys() - EXECUTION and (presets := _presets_of(runs)):
        found = {"preset": presets, **{key: words for key, words in found.items() if key in EXECUTION}}
    if found or not runs:
        return found
    own = _changed(runs[0].settings)
    return {key: [word] * len(runs) for key, word in own.items()} or {"": ["the default network"] * len(runs)}


def run_namer(runs: Sequence[Run]) -> Callable[[Run], str]:
    """How to name each of some runs, as ``width_mult 0.5, channels 64``."""
    differing = identifying_columns(runs)
    names = {
        run: ", ".join(f"{key.rpartition('.')[2]} {words[index]}".lstrip() for key, words in differing.items())
        for index, run in enumerate(runs)
    }
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
    return words | {"dtype": execution.dtype, "threads": threads, "train": _word(execution.train)}


def _presets_of(runs: Sequence[Run]) -> list[str] | None:
    """The preset that each run's settings are; None where those of any are no preset's."""
    known = _presets()
    names = [known.get(json.dumps(_settings_of(run.settings))) for run in runs]
    return [name for name in names if name] if all(names) else None


@cache
def _presets() -> dict[str, str]:
    return {json.dumps(_settings_of(resolve([read_preset(name)]))): name for name in preset_names()}


def _settings_of(settings: NetworkSettings) -> dict[str, Any]:
    """Settings under dotted keys, less what follows from the size of the image."""
    return {key: value for key, value in flat(settings).items() if key != "head.size"}


def _changed(settings: NetworkSettings) -> dict[str, str]:
    """The settings that are not what they are where nothing is said, less what follows from the size of the image."""
    return {
        key: "of its own" if key == "stages" else _word(value)
        for key, value in changed(settings).items()
        if key != "head.size"
    }


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _numbered(words: Sequence[str]) -> list[str]:
    """Whole tables of stages by number, in the order in which they come."""
    known = list(dict.fromkeys(words))
    return [f"table {known.index(word) + 1}" for word in words]
