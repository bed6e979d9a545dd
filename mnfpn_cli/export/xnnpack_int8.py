"""Prepare a traced network for int8 by PT2E: weights of its own for each operator, observers, layers in float32."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from mnfpn_cli.quantization.quantization import Passes

aten = torch.ops.aten

CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default)
WEIGHTED = (*CONVOLUTIONS, aten.linear.default)
"""Operators with a weight and a bias, as `torch.export` has them."""

CLAMPS = (
    *(aten.relu.default, aten.relu_.default, aten.relu6.default, aten.relu6_.default),
    *(aten.hardtanh.default, aten.hardtanh_.default),
)
"""Activations that a kernel applies before it rounds to int8."""


def traced_path(node: Node) -> str:
    """Return the path of the module that a node of a traced network is of; empty for the network itself."""
    stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    return str(stack[-1]).removeprefix("L['self'].") if stack else ""


def unshare_weights(traced: GraphModule) -> None:
    """Give each operator a weight and a bias of its own, with the same values.

    A layer that is called for each level has one weight. PT2E would quantise its first call alone, and would drop the
    batch norms behind all others without folding them.
    """
    seen = set[object]()
    for node in traced.graph.nodes:
        if node.target not in WEIGHTED:
            continue
        for index, weight in enumerate(node.args[1:3], 1):
            if not isinstance(weight, Node):
                continue
            if weight.target in seen:
                node.update_arg(index, _copied(traced, weight, node, f"unshared_{len(seen)}_{index}"))
            seen.add(node.args[index].target)
    traced.recompile()


def _copied(traced: GraphModule, weight: Node, user: Node, name: str) -> Node:
    parameter = traced.get_parameter(str(weight.target))
    traced.register_parameter(name, nn.Parameter(parameter.detach().clone(), requires_grad=False))
    with traced.graph.inserting_before(user):
        own = traced.graph.get_attr(name)
    own.meta.update(weight.meta)
    return own


def annotate_clamped(traced: GraphModule, config: Any, quantised: Callable[[Node], bool]) -> None:
    """Have convolutions with an activation observed behind it, as one operator: only what it lets through needs values.

    Args:
        traced: a network that `torch.export` traced; the annotations are written into its nodes.
        config: a `QuantizationConfig` of torchao.
        quantised: whether an operator is quantised at all.
    """
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    for clamp in traced.graph.nodes:
        if clamp.target not in CLAMPS:
            continue
        before = clamp.args[0]
        if before.target not in CONVOLUTIONS or len(before.users) > 1 or not quantised(before):
            continue
        observed = {before.args[0]: config.input_activation, before.args[1]: config.weight}
        before.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(input_qspec_map=observed, _annotated=True)
        clamp.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(output_qspec=config.output_activation, _annotated=True)


def calibrated(
    traced: GraphModule, quantizer: Any, passes: Passes, example: Sequence[Tensor]
) -> torch.export.ExportedProgram:
    """Return the traced network quantised by a quantizer of PT2E, with the ranges of these passes."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    unshare_weights(traced)
    observed = prepare_pt2e(traced, quantizer)
    with torch.no_grad():
        for inputs in passes:
            observed(*inputs)
        converted = cast("GraphModule", convert_pt2e(observed))
        separate_dequantisers(converted)
        return torch.export.export(converted, tuple(example))


def separate_dequantisers(converted: GraphModule) -> None:
    """Give each reader of a map in int8 an operator of its own that turns it into float32.

    XNNPACK 1.5 refuses an output of the network in float32 that an upsampling inside the network reads too.
    """
    for node in list(converted.graph.nodes):
        if node.target is torch.ops.quantized_decomposed.dequantize_per_tensor.default:
            for user in list(node.users)[1:]:
                with converted.graph.inserting_after(node):
                    own = converted.graph.node_copy(node)
                user.replace_input_with(node, own)
    converted.recompile()
