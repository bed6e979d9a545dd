"""Trace a network by `torch.export`, write and read it as a .pt2 file, and the metadata of all formats."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.fx.experimental._config as shape_config  # the one place where torch has this switch
from torch import Tensor, nn
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram

from mnfpn_cli import __version__
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.network.network import Network
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.header import SETTINGS_KEY


@dataclass(frozen=True)
class LoadedFile:
    """A file read back: its metadata, and its network, from images (n, in_channels, h, w) to outputs by name."""

    metadata: Mapping[str, str]
    run: Callable[[Tensor], Mapping[str, Tensor]]


VERSION_KEY = "mnfpn_version"


def settings_metadata(settings: NetworkSettings) -> dict[str, str]:
    """Return the metadata of a file: the settings as JSON, and the version of mnfpn."""
    compact = json.dumps(settings.model_dump(mode="json"), separators=(",", ":"), allow_nan=False)
    return {SETTINGS_KEY: compact, VERSION_KEY: __version__}


INPUT = "images"
"""The name of the input in every file: the parameter of `NamedOutputs.forward`."""


class NamedOutputs(Network):
    """A network that returns its outputs as a dictionary by name: ``p2``, ``p3``, … or ``logits``.

    It shares its state with another network, rather than wrapping it: the names of weights stay the same.
    """

    def __init__(self, network: Network):
        nn.Module.__init__(self)
        self.__dict__ = network.__dict__

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Turn images (n, in_channels, h, w) into maps (n, channels, h/2^k, w/2^k) or logits (n, classes), by name."""
        maps = super().forward(images)
        return dict(zip(self.outputs, (maps,) if isinstance(maps, Tensor) else maps, strict=True))


def trace(network: Network, input: NetworkInput, dynamic: bool) -> ExportedProgram:
    """Return the graph of a network in eval mode, for one input or, with ``dynamic``, for all heights and widths.

    torch assumes that a side of 1 is broadcast, and excludes sizes at which a map is 1×1: a graph traced at 600×900
    would refuse 32×32. ``backed_size_oblivious`` turns that off, as torch's own ONNX exporter does. It is correct where
    no 1×1 map is broadcast, and none is: the top-down path resizes to the exact size. The check at the least size would
    show an error.

    Raises:
        MnfpnError: with ``dynamic``, where torch is too old, or a map has one element at this size.
    """
    least = network.plan.backbone.stride
    sides = {2: Dim("height", min=least), 3: Dim("width", min=least)}
    images = torch.zeros(input.shape)
    if dynamic and not hasattr(shape_config, "backed_size_oblivious"):
        raise MnfpnError(Problem("`dynamic`", f"needs a newer torch than {torch.__version__}"))
    oblivious = shape_config.patch(backed_size_oblivious=True) if dynamic else nullcontext()  # type: ignore[attr-defined]
    with oblivious:
        try:
            return trace_pass(NamedOutputs(network), (images,), {INPUT: sides if dynamic else None})
        except UserError as error:  # a map of one element, whose memory format torch cannot leave open
            rule = f"torch cannot trace dynamic sides at {input.size}: try a larger `size`"
            raise MnfpnError(Problem("`dynamic`", rule)) from error


def trace_pass(
    network: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: dict[str, Any] | None = None
) -> ExportedProgram:
    """Return the graph of any network in eval mode, for the shapes of these inputs except for dynamic sides.

    Raises:
        Exception: any error of torch, where it cannot trace the network.
    """
    with torch.no_grad(), _out_of_place(network):
        program = torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # has paths of this machine, and would be in the file
    return program


@contextmanager
def _out_of_place(network: nn.Module) -> Iterator[None]:
    """Let activations return new tensors in this block.

    For each in-place activation with dynamic sides, torch's ONNX exporter takes half a second to infer shapes.
    """
    activations = [module for module in network.modules() if isinstance(module, nn.ReLU | nn.ReLU6) and module.inplace]
    try:
        for activation in activations:
            activation.inplace = False
        yield
    finally:
        for activation in activations:
            activation.inplace = True


FILES = {SETTINGS_KEY: "mnfpn_settings.json", VERSION_KEY: "mnfpn_version.txt"}
"""The files of the archive with the metadata; `torch.export.load` returns them as ``extra_files``."""


def write(network: Network, settings: NetworkSettings, input: NetworkInput, dynamic: bool) -> bytes:
    """Return the content of a file whose program takes ``images`` and returns a dictionary of outputs by name."""
    extra_files = {FILES[key]: text for key, text in settings_metadata(settings).items()}
    buffer = BytesIO()
    torch.export.save(trace(network, input, dynamic), buffer, extra_files=extra_files)
    return buffer.getvalue()


def read(path: Path, _plan: NetworkPlan) -> LoadedFile:
    """Load the program of a file."""
    extra_files = dict.fromkeys(FILES.values(), "")
    with _quiet(logging.getLogger("torch.export")):
        program = torch.export.load(path, extra_files=extra_files)
    return LoadedFile({key: extra_files[name] for key, name in FILES.items()}, program.module())


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Silence the traceback that torch logs before it raises, and its warning of read-only buffers (2.12)."""
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            yield
    finally:
        logger.disabled = before
