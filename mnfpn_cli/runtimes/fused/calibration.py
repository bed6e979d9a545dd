"""What the convolutions of a fused network read in calibration passes: in int8 it is rounded to 256 steps over that.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
sections 2.1 and 3.
"""

import math
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.quantization.quantization import Passes
from mnfpn_cli.runtimes.fused.folded import FoldedConv, MapRange
from mnfpn_cli.runtimes.fused.resized import ResizedSum
from mnfpn_cli.runtimes.fused.weights import MOST_INPUTS


@torch.inference_mode()
def calibrate(network: nn.Module, passes: Passes) -> None:
    """Run calibration passes of a fused network in float32, and set what each convolution to be quantised reads.

    These are the dense ones, but for those that stay in floating point, or whose sums could exceed 32 bits.

    Raises:
        MnfpnError: where one reads what is no finite number.
    """
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            if isinstance(module, FoldedConv) and _is_quantised(module):
                hook = partial(_observe, path, module, 0)
                hooks.callback(module.register_forward_pre_hook(hook).remove)
            if isinstance(module, ResizedSum) and module.mix:
                hook = partial(_observe, path, module.mix, 1)
                hooks.callback(module.register_forward_pre_hook(hook).remove)
        for inputs in passes:
            network(*(x.contiguous(memory_format=torch.channels_last) for x in inputs))
    for module in network.modules():
        if isinstance(module, FoldedConv):
            module.packed = None  # kernels have weights of their own


def _is_quantised(conv: FoldedConv) -> bool:
    return conv.groups == 1 and not conv.keep_float and conv.weight[0].numel() <= MOST_INPUTS


def _observe(path: str, conv: FoldedConv, operand: int, _module: nn.Module, given: tuple[Any, ...]) -> None:
    low, high = (bound.item() for bound in torch.aminmax(given[operand]))
    if not math.isfinite(high - low):
        raise MnfpnError(f"cannot be quantised: {path} reads values in calibration that are no finite numbers")
    before = conv.reads or MapRange()
    conv.reads = MapRange(min(before.low, low), max(before.high, high))
