"""torchinfo's mult-adds, by its rules for parameters (torchinfo 1.8.0, layer_info.py, ``calculate_macs``)."""

from math import prod

from mnfpn_cli.audit.counters.record import CountError, Record
from mnfpn_cli.trace.observe import ModuleCall


def count_torchinfo(record: Record) -> int:
    """What ``summary(network, input_size).total_mult_adds`` gives: calls of leaves in the tree, by their parameters.

    Whatever has no parameters of its own in a leaf costs nothing: functions, attention, layers in a plain list.
    """
    return sum(_mult_adds(call) for call in record.calls if not any(call.module.children()))


def _mult_adds(call: ModuleCall) -> int:
    """Each parameter of a convolution once a place, of recurrent layers once a step, of others once an image."""
    total = 0
    for name, parameter in call.module.named_parameters():
        if name.endswith("_orig"):
            raise CountError("torchinfo counts what a mask leaves of pruned weights")
        if not call.outputs:
            raise CountError(f"{type(call.module).__name__} returned no tensor")
        output = call.outputs[0]
        if name in ("weight", "bias"):
            convolves = "Conv" in type(call.module).__name__
            total += parameter.numel() * (prod(output[:1] + output[2:]) if convolves else output[0])
        elif "weight" in name or "bias" in name:
            total += parameter.numel() * prod(output[:2])
    return total
