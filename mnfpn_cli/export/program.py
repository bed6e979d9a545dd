"""A network as a program that torch exports, and what each file holds beside it."""

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
    """What a file says of itself, and the network in it: images (n, in_channels, h, w) to outputs by name."""

    metadata: Mapping[str, str]
    run: Callable[[Tensor], Mapping[str, Tensor]]


VERSION_KEY = "mnfpn_version"


def metadata(settings: NetworkSettings) -> dict[str, str]:
    """The settings as JSON, and the version of mnfpn, under the keys that they have in files."""
    compact = json.dumps(settings.model_dump(mode="json"), separators=(",", ":"), allow_nan=False)
    return {SETTINGS_KEY: compact, VERSION_KEY: __version__}


INPUT = "images"
"""The name of the input, in every file: that of `NamedOutputs.forward`'s argument."""


class NamedOutputs(Network):
    """A network whose outputs come by name, as a dictionary: ``p2``, ``p3``, … or ``logits``.

    It shares everything with the network that it is made of. It does not wrap it: names of weights stay as they are.
    """

    def __init__(self, network: Network):
        nn.Module.__init__(self)
        self.__dict__ = network.__dict__

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Turn images (n, in_channels, h, w) into maps (n, channels, h/2^k, w/2^k) or logits (n, classes), by name."""
        maps = super().forward(images)
        return dict(zip(self.outputs, (maps,) if isinstance(maps, Tensor) else maps, strict=True))


def trace(network: Network, input: NetworkInput, dynamic: bool) -> ExportedProgram:
    """The graph of a network in eval mode, for one input or, where it is dynamic, for all heights and widths.

    torch takes a side of 1 to mean broadcasting, and would keep sizes at which a map has one cell apart from all
    others: a graph traced with 600×900 would refuse 32×32. ``backed_size_oblivious`` turns that off. It is torch's own
    means, which its ONNX exporter uses too; it holds where nothing is broadcast from a map of one cell, and nothing
    here is: the top-down path resizes to the exact size. The check at the least size sees to it.

    Raises:
        MnfpnError: where sides are to be free, and torch is too old for that, or has maps of one element to decide on.
    """
    low = network.plan.backbone.stride
    sides = {2: Dim("height", min=low), 3: Dim("width", min=low)}
    images = torch.zeros(input.shape)
    if dynamic and not hasattr(shape_config, "backed_size_oblivious"):
        raise MnfpnError(Problem("`dynamic`", f"needs a newer torch than {torch.__version__}"))
    oblivious = shape_config.patch(backed_size_oblivious=True) if dynamic else nullcontext()  # type: ignore[attr-defined]
    with oblivious:
        try:
            return trace_pass(NamedOutputs(network), (images,), {INPUT: sides if dynamic else None})
        except UserError as error:  # a map of one channel and one cell, whose order in memory it cannot leave open
            rule = f"torch cannot leave the sides free at {input.size}: try a larger `size`"
            raise MnfpnError(Problem("`dynamic`", rule)) from error


def trace_pass(
    network: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: dict[str, Any] | None = None
) -> ExportedProgram:
    """The graph of any network in eval mode, for these inputs alone where none of their sides is dynamic.

    Raises:
        Exception: whatever torch has to say of a network that it cannot trace.
    """
    with torch.no_grad(), _out_of_place(network):
        program = torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names this machine's folders, and would be in the file
    return program


@contextmanager
def _out_of_place(network: nn.Module) -> Iterator[None]:
    """Have activations make new tensors.

    Working out the shapes of one in place, sides being free, takes torch's ONNX exporter half a second each.
    """
    changed = [one for one in network.modules() if isinstance(one, nn.ReLU | nn.ReLU6) and one.inplace]
    try:
        for activation in changed:
            activation.inplace = False
        yield
    finally:
        for activation in changed:
            activation.inplace = True


FILES = {SETTINGS_KEY: "mnfpn_settings.json", VERSION_KEY: "mnfpn_version.txt"}
"""The files in the archive that hold the metadata; `torch.export.load` gives them as ``extra_files``."""


def write(network: Network, settings: NetworkSettings, input: NetworkInput, dynamic: bool) -> bytes:
    """The program, which takes ``images`` and returns a dictionary of outputs by name."""
    extra_files = {FILES[key]: text for key, text in metadata(settings).items()}
    buffer = BytesIO()
    torch.export.save(trace(network, input, dynamic), buffer, extra_files=extra_files)
    return buffer.getvalue()


def read(path: Path, _plan: NetworkPlan) -> LoadedFile:
    """The program of the file."""
    extra_files = dict.fromkeys(FILES.values(), "")
    with _quiet(logging.getLogger("torch.export")):
        program = torch.export.load(path, extra_files=extra_files)
    return LoadedFile({key: extra_files[name] for key, name in FILES.items()}, program.module())


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep torch from writing the traceback of what it then raises anyway, and from warning of its buffers (2.12)."""
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            yield
    finally:
        logger.disabled = before
