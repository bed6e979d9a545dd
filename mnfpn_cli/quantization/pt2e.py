"""Quantise a program of `torch.export` by torchao (PT2E): ranges of activations are observed in calibration passes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from mnfpn_cli.measure.libraries import loggers_silenced, warnings_silenced
from mnfpn_cli.quantization.quantization import Quantization

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TORCHAO = "0.18"
"""The release of torchao that is called here: its quantisers move and change with each."""

WEIGHT_SCALES = {torch.ops.aten.conv2d.default, torch.ops.aten.linear.default}
"""The operations whose weights have scales of their own: one for each output channel."""

NOISY = ("torchao", "torch.utils._pytree")
"""The loggers that write to stderr when torchao is imported: of kernels for other machines, and of a deprecation."""


def torchao_missing() -> str | None:
    """Return why torchao cannot quantise, without importing it, which takes seconds; None where it can."""
    install = "pip install 'mnfpn[int8]'"
    try:
        found = version("torchao")
    except PackageNotFoundError:
        return f"not installed: {install}"
    return None if found.startswith(f"{TORCHAO}.") else f"needs torchao {TORCHAO}, and {found} is installed: {install}"


@contextmanager
def torchao_silenced() -> Iterator[None]:
    """Silence what torchao logs and warns of when it is imported, and when it reads a graph of torch."""
    with loggers_silenced(NOISY), warnings_silenced(("", DeprecationWarning), ("", FutureWarning)):
        yield


def quantize_for_x86(program: "ExportedProgram", quantization: Quantization) -> fx.GraphModule:
    """Return a program's graph for torch's compiler, with quantised layers: weights per channel, activations unsigned.

    Activations have seven bits, not eight, where products would saturate.

    Args:
        program: the traced network in float32; the calibration passes have the shapes of its inputs.
        quantization: the calibration passes, and what stays in float32.
    """
    with torchao_silenced():
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config(reduce_range=products_saturate()))
        for path in quantization.keep_float:
            quantizer.set_module_name_qconfig(path, None)
        return quantize_program(program, quantization, quantizer)


def quantize_program(program: "ExportedProgram", quantization: Quantization, quantizer: Any) -> fx.GraphModule:
    """Return a program's graph with the layers that a quantiser of torchao marks; run the calibration passes for it."""
    with torchao_silenced(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        graph_module = program.module(check_guards=False)
        _name_calls(graph_module.graph)
        _unshare_weights(graph_module)
        observed = prepare_pt2e(graph_module, quantizer)
        for inputs in quantization.passes:
            observed(*inputs)
        quantized: fx.GraphModule = convert_pt2e(observed)
        return quantized


def _name_calls(graph: fx.Graph) -> None:
    """Name the operations of torch's own layers by the call of the layer: a layer that levels share has several.

    Without these names quantisers take all operations of a layer for one pattern, and fail.
    """
    for node in graph.nodes:
        stack = node.meta.get("nn_module_stack") if node.op == "call_function" else None
        if stack:
            call, (_, kind) = list(stack.items())[-1]
            module, _, name = str(kind).rpartition(".")
            if module.startswith("torch.nn.modules."):
                node.meta["source_fn_stack"] = [(call, getattr(sys.modules[module], name))]


def _unshare_weights(module: fx.GraphModule) -> None:
    """Give each call of a layer weights of its own: quantisers fold batch norms into them, and compilers pack them.

    A compiler leaves layers in float32 whose quantised weights others use too.
    """
    used = set[str]()
    for node in list(module.graph.nodes):
        for index, weight in enumerate(node.args) if node.target in WEIGHT_SCALES else ():
            if isinstance(weight, fx.Node) and weight.op == "get_attr":
                if weight.target in used:
                    name = f"own_weight_{len(used)}"
                    copied = _attribute(module, str(weight.target)).detach().clone()
                    module.register_parameter(name, torch.nn.Parameter(copied, requires_grad=False))
                    with module.graph.inserting_before(node):
                        own = module.graph.get_attr(name)
                    own.meta = dict(weight.meta)
                    node.update_arg(index, own)
                    used.add(name)
                used.add(str(weight.target))
    module.recompile()


def has_onednn() -> bool:
    """Return whether this torch has quantised layers of oneDNN."""
    return "onednn" in torch.backends.quantized.supported_engines


def products_saturate() -> bool:
    """Return whether oneDNN's convolutions in int8 are wrong for large values here: sums of two products saturate.

    They do in instructions before VNNI, which have 16 bits for such a sum. The processor alone does not say which
    instructions oneDNN chooses, so a convolution of the largest values does.
    """
    channels, geometry = 64, ([1, 1], [0, 0], [1, 1], 1)
    x = torch.full((1, channels, 1, 1), 255, dtype=torch.uint8)
    weight = torch.full((channels, channels, 1, 1), 127, dtype=torch.int8)
    scales, zeros = torch.ones(channels), torch.zeros(channels, dtype=torch.int64)
    packed = torch.ops.onednn.qconv_prepack(weight, scales, 1.0, 0, *geometry, list(x.shape))
    weights = packed, scales, zeros, None
    y = torch.ops.onednn.qconv2d_pointwise(x, 1.0, 0, *weights, *geometry, 1.0, 0, torch.float32, "none", [], "")
    return bool(y.max() < channels * 255 * 127)


def paths_by_scales(quantized: fx.GraphModule) -> dict[bytes, str]:
    """Return the paths of quantised layers by the scales of their weights, which a compiler leaves as they are."""
    paths = {}
    for node in quantized.graph.nodes:
        weight = node.args[1] if node.target in WEIGHT_SCALES else None
        if isinstance(weight, fx.Node) and len(weight.args) > 1:  # its scales are the second argument to dequantise it
            scales, stack = weight.args[1], node.meta.get("nn_module_stack")
            if isinstance(scales, fx.Node) and scales.op == "get_attr" and stack:
                path, _ = list(stack.values())[-1]
                paths[key_of(_attribute(quantized, str(scales.target)))] = path
    return paths


def key_of(scales: Tensor) -> bytes:
    """Return the key of scales in `paths_by_scales`."""
    return scales.detach().float().cpu().numpy().tobytes()


def _attribute(module: torch.nn.Module, path: str) -> Tensor:
    *parents, name = path.split(".")
    found: Tensor = getattr(module.get_submodule(".".join(parents)), name)
    return found
