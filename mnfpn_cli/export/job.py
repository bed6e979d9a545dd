"""What a format writes to a file, and what it reads back: the interface of the modules that know one format each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from mnfpn_cli.export.axes import DynamicAxis as DynamicAxis
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.settings.input import DType


@dataclass(frozen=True)
class FileJob:
    """What a file holds.

    Attributes:
        network: on the CPU, in float32 and eval mode; a pass returns a dictionary of tensors by output name.
        inputs: the inputs of a pass: their shapes are the file's, but for the dynamic axes.
        input_names: a name for each input; ``images`` for a network from settings.
        output_names: the names of the outputs, in order.
        dtype: the element type to compute in; inputs and outputs stay in float32.
        quantization: how the network is quantised; given where the dtype is int8, and there alone.
        dynamic: the axes of the images that the file leaves open.
        least: the least height and width that it must accept where they are open, in pixels.
        opset: the version of ONNX's operators; None for the usual one. Other formats have none.
        plan: the plan of a network from settings; None for another's network.
        lacking: the paths of layers and parameters that the network uses, and its state dict lacks.
        metadata: texts by name that go into the file where it has room for them.
    """

    network: nn.Module
    inputs: tuple[Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    dtype: DType = "float32"
    quantization: Quantization | None = None
    dynamic: frozenset[DynamicAxis] = frozenset()
    least: int = 1
    opset: int | None = None
    plan: NetworkPlan | None = None
    lacking: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadFile:
    """A file read back: its metadata, and its network, from the inputs of a pass to outputs by name.

    ``run`` is None where nothing on this machine can run the file, and ``unchecked`` then says why.
    """

    metadata: Mapping[str, str]
    run: Callable[..., Mapping[str, Tensor]] | None
    unchecked: str = ""


class FileFormat(Protocol):
    """A format: a module of `mnfpn_cli.export` with these attributes."""

    SUFFIXES: tuple[str, ...]
    """The suffixes of its files, the first of the file that is named: a model may have its weights beside it."""
    EXACT: bool
    """Whether a network that is read back has outputs equal to the last bit in float32."""
    DTYPES: tuple[DType, ...]
    """What a file can compute in."""
    DYNAMIC: frozenset[DynamicAxis]
    """The axes that a file can leave open."""

    def write(self, job: FileJob, path: Path) -> None:
        """Write the file, and those beside it: ``path`` with the other suffixes.

        Raises:
            MnfpnError: where the format or its library cannot hold this network.
        """

    def read(self, path: Path, job: FileJob) -> ReadFile:
        """Read the file back, as whoever deploys it does."""

    def annotate(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Add metadata to a file that was written, where the format has room for it."""
