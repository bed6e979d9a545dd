"""fvcore's count of a network, the FLOP count of record in the detection literature."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.jit._trace import TracerWarning  # torch.jit has it, and does not say so

from mnfpn_cli.external.inputs import Inputs
from mnfpn_cli.runtimes.runtime import random_tensors
from mnfpn_cli.settings.input import NetworkInput

with warnings.catch_warnings():
    # fvcore scripts two losses as it is imported, which torch has deprecated; nothing here uses them.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated", category=DeprecationWarning)
    from fvcore.nn import FlopCountAnalysis


@dataclass(frozen=True, slots=True)
class FvcoreCount:
    """What fvcore calls flops, for one image: MACs of convolutions, and its own weights for other operators.

    ``by_operator`` holds ``conv`` (MACs), ``batch_norm`` (2 an element), and ``upsample_bilinear2d`` (4 an element)
    or ``upsample_nearest2d`` (1 an element); fvcore counts no activations and no additions.
    """

    total: int
    by_operator: Mapping[str, int]


def count_with_fvcore(network: nn.Module, input: Inputs) -> FvcoreCount:
    """Run fvcore on one image, or on tensors. The network must be on the CPU, in eval mode."""
    one = replace(input, batch=1) if isinstance(input, NetworkInput) else input
    dtype = next((each.dtype for each in network.parameters() if each.is_floating_point()), torch.float32)
    inputs = tuple(each.to(dtype) if each.is_floating_point() else each for each in random_tensors(one))
    with torch.no_grad(), warnings.catch_warnings():
        # fvcore traces with torch.jit; that torch has deprecated it changes no number.
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated", category=DeprecationWarning)
        # That a trace holds for one size is no news: it is made for that size alone.
        warnings.filterwarnings("ignore", category=TracerWarning)
        # In a trace sizes are tensors, and code that makes tensors of them is warned of copying.
        warnings.filterwarnings("ignore", message="To copy construct from a tensor", category=UserWarning)
        analysis = FlopCountAnalysis(network, inputs)
        # It would warn of ReLU6 and additions, which it does not count, and of modules that trace away.
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator = {name: int(count) for name, count in sorted(analysis.by_operator().items())}
    return FvcoreCount(sum(by_operator.values()), by_operator)
