"""What all formats are made of: a network with named outputs, its graph as `torch.export` traces it, and metadata."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.fx.experimental._config as shape_config  # the one place where torch has this switch
from torch import Tensor, nn
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from mnfpn_cli import __version__
from mnfpn_cli.errors import MnfpnError, Problem
from mnfpn_cli.export.axes import SIDES, DynamicAxis, in_order
from mnfpn_cli.export.job import FileJob
from mnfpn_cli.measure.layer_times import LayerCall
from mnfpn_cli.measure.libraries import loggers_silenced
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.text import either, first_line
from mnfpn_cli.trace.observe import named_tensors
from mnfpn_cli.trace.restore import restore_modules
from mnfpn_cli.weights.header import SETTINGS_KEY

VERSION_KEY = "mnfpn_version"


def settings_metadata(settings: NetworkSettings) -> dict[str, str]:
    """Return the metadata of a file: the settings as JSON, and the version of mnfpn."""
    compact = json.dumps(settings.model_dump(mode="json"), separators=(",", ":"), allow_nan=False)
    return {SETTINGS_KEY: compact, **version_metadata()}


def version_metadata() -> dict[str, str]:
    """Return the metadata of the file of any network."""
    return {VERSION_KEY: __version__}


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


def name_outputs(network: nn.Module, names: Sequence[str]) -> None:
    """Let a network of others return its tensors as a dictionary by name, from now on.

    A hook does it, rather than a module around it: the names of weights stay the same.
    """
    network.register_forward_hook(partial(_named, tuple(names)))


def _named(names: tuple[str, ...], _network: nn.Module, _inputs: object, outputs: Any) -> dict[str, Tensor]:
    return dict(zip(names, (tensor for _, tensor in named_tensors(outputs)), strict=True))


DIMENSIONS: dict[DynamicAxis, int] = {"batch": 0, "height": 2, "width": 3}
"""The dimensions of images (n, channels, h, w) that are axes."""


def trace(job: FileJob) -> ExportedProgram:
    """Return the graph of a network in eval mode, with the axes open that the job leaves open.

    torch assumes that a side of 1 is broadcast, and excludes sizes at which a map is 1×1: a graph traced at 600×900
    would refuse 32×32. ``backed_size_oblivious`` turns that off, as torch's own ONNX exporter does. It is correct where
    no 1×1 map is broadcast, and none is: the top-down path resizes to the exact size. The check at the least size would
    show an error.

    Raises:
        MnfpnError: with open axes, where torch is too old, or a map has one element at this size.
    """
    if job.dynamic and not hasattr(shape_config, "backed_size_oblivious"):
        raise MnfpnError(Problem("`dynamic`", f"needs a newer torch than {torch.__version__}"))
    oblivious = shape_config.patch(backed_size_oblivious=True) if job.dynamic else nullcontext()  # type: ignore[attr-defined]
    with oblivious:
        try:
            return trace_pass(job.network, job.inputs, _open_dimensions(job) if job.dynamic else None)
        except UserError as error:  # a map of one element, whose memory format torch cannot leave open
            axes = either(in_order(job.dynamic), "and")
            sides = "x".join(map(str, job.inputs[0].shape[2:]))
            hint = f"at {sides}: try a larger `size`" if job.plan and job.dynamic & SIDES else f"({first_line(error)})"
            raise MnfpnError(Problem("`dynamic`", f"torch cannot leave {axes} open {hint}")) from error


IMAGES = 4
"""The dimensions of a tensor of images."""


def open_axes(tensor: Tensor, dynamic: frozenset[DynamicAxis]) -> dict[int, DynamicAxis]:
    """Return the axes of an input that are open, by dimension: the batch of any, and the sides of images."""
    axes = (axis for axis in in_order(dynamic) if axis == "batch" or tensor.dim() == IMAGES)
    return {DIMENSIONS[axis]: axis for axis in axes}


def _open_dimensions(job: FileJob) -> tuple[dict[int, Any], ...]:
    least = {"batch": 1, "height": job.least, "width": job.least}
    open = {axis: Dim(axis, min=least[axis]) for axis in job.dynamic}
    axes = (open_axes(tensor, job.dynamic) for tensor in job.inputs)
    return tuple({dimension: open[axis] for dimension, axis in one.items()} for one in axes)


TRACING = ("torch.fx.experimental.symbolic_shapes", "torch.export", "torch._dynamo", "torch._export")
"""The loggers that write a graph to standard error before torch raises the error that says the same."""


def trace_pass(
    network: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: tuple[dict[int, Any], ...] | None = None
) -> ExportedProgram:
    """Return the graph of any network in eval mode, for the shapes of these inputs except for open dimensions.

    Outputs in an object that torch does not look into, such as a dataclass, are a tuple of tensors in the graph.

    Raises:
        Exception: any error of torch, where it cannot trace the network, or of the network's own code.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if not isinstance(network, Network):  # code of others may keep tensors of its first pass, here without values
            stack.enter_context(restore_modules(network.modules(), values=False))
            stack.enter_context(_flat_outputs(network))
            if dynamic_shapes is None:
                _keep_first_tensors(network, inputs)
        stack.enter_context(_out_of_place(network))
        stack.enter_context(loggers_silenced(TRACING))
        program = torch.export.export(network, inputs, dynamic_shapes=dynamic_shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # has paths of this machine, and would be in the file
    return program


def _keep_first_tensors(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Give modules the buffers and tensors that a first pass adds to them, which a trace would get wrong.

    All else is as before that pass.
    """
    before = [(module, set(module._buffers), set(vars(module))) for module in network.modules()]
    added = list[tuple[dict[str, Any], str, Tensor]]()
    with restore_modules(network.modules(), values=True):
        network(*(tensor.clone() for tensor in inputs))
        for module, buffers, attributes in before:
            for space, known in ((module._buffers, buffers), (vars(module), attributes)):
                new = ((name, value) for name, value in space.items() if name not in known)
                added += [(space, name, value) for name, value in new if isinstance(value, Tensor)]
    for space, name, value in added:
        space[name] = value


@contextmanager
def _flat_outputs(network: nn.Module) -> Iterator[None]:
    """Let a network in this block return a tuple of its tensors where torch does not look into what it returns."""
    hook = network.register_forward_hook(_flattened)
    try:
        yield
    finally:
        hook.remove()


def _flattened(_network: nn.Module, _inputs: object, outputs: Any) -> Any:
    known = all(isinstance(leaf, Tensor) for leaf in tree_leaves(outputs))
    return outputs if known else tuple(tensor for _, tensor in named_tensors(outputs))


def source_of(node: Node) -> LayerCall | None:
    """Return which call of which module an operation of a traced graph was in; None where that is not known."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return None
    key, (path, _) = next(reversed(stack.items()))
    _, _, call = str(key).rpartition("@")  # torch counts the calls of a module there, without the first
    return LayerCall(path, int(call) if call.isdigit() else 0)


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
