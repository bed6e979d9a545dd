"""Find out whether other inputs may call what no pass called: where the forward decides by sizes or by values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from mnfpn_cli.audit.training import taking_part
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.trace.observe import TensorShape
from mnfpn_cli.trace.passes import Input, run_pass
from mnfpn_cli.trace.trace import Trace


@dataclass(frozen=True)
class Branches:
    """What other inputs may call.

    Attributes:
        at_size: modules that no pass called, with a shape of the input at which they take part.
        by_value: whether values of tensors may decide what the forward calls: it reads some, or runs on real tensors
            alone.
    """

    at_size: dict[nn.Module, TensorShape] = field(default_factory=dict)
    by_value: bool = False


def find_branches(trace: Trace, idle: Sequence[nn.Module]) -> Branches:
    """Run a network at other sizes, where modules are idle; the network is left unchanged.

    A pass on real tensors takes long, and is not repeated.
    """
    by_value = any(one.reads_values or one.data_dependent or one.mode == "real" for one in trace.passes)
    at_size: dict[nn.Module, TensorShape] = {}
    for image in _other_sizes(trace) if idle else ():
        try:
            observed = run_pass(trace.network, [image], trace.eval_pass.mode, trace.hidden_modules)
        except ModelError:  # it is made for one size
            continue
        for module in taking_part([one for one in idle if one not in at_size], observed):
            at_size[module] = image.shape
    return Branches(at_size, by_value)


def _other_sizes(trace: Trace) -> Iterator[Input]:
    """Yield images of twice and half the size, where the network takes one batch of images of any values."""
    image, *others = trace.inputs or (Input(()),)
    if others or len(image.shape) != 4 or trace.eval_pass.mode == "real":
        return
    batch, channels, height, width = image.shape
    given = {one.inputs[0].shape for one in trace.passes}
    for sides in ((2 * height, 2 * width), (height // 2, width // 2)):
        if min(sides) > 0 and (batch, channels, *sides) not in given:
            yield replace(image, shape=(batch, channels, *sides), value=None)
