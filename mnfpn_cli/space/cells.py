"""A cell of a design space: one network, one input, and how it is run."""

import hashlib
import json
from dataclasses import dataclass

from mnfpn_cli.settings.execution import DEFAULT_RUNTIME
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import network_parameters
from mnfpn_cli.text import Parameter, as_arguments

KEY_VERSION = 1
"""Raised where the same cell would be measured differently: old rows are then no longer its result."""

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
class Cell:
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


def cell_key(cell: Cell, place: str) -> str:
    """The hash of what determines a measurement: 32 hexadecimal digits.

    Args:
        cell: what is measured.
        place: the kind of machine: times of one are not those of another.
    """
    how = cell.execution
    determined = {
        "version": KEY_VERSION,
        "settings": cell.settings.model_dump(mode="json"),
        "input": cell.input.shape,
        "runtime": how.runtime,
        "device": how.device,
        "dtype": how.dtype,
        "threads": how.threads,
        "train": how.train,
        "place": place,
    }
    text = json.dumps(determined, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def bench_arguments(cell: Cell) -> list[str]:
    """The arguments of ``mnfpn bench`` that measure a cell."""
    return ["bench", *network_arguments(cell), *as_arguments(_how(cell.execution))]


def network_arguments(cell: Cell) -> list[str]:
    """The arguments that name a cell's network and the size of its images, as every command takes them."""
    return as_arguments([*network_parameters(cell.settings), ("size", str(cell.size))])


def _how(how: Execution) -> list[Parameter]:
    names, usual = ("batch", "runtime", "device", "dtype", "threads"), Execution()
    said = [(name, str(value)) for name in names if (value := getattr(how, name)) != getattr(usual, name)]
    return [*said, *[("train", "")] * how.train]
