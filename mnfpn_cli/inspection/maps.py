"""What comes out of a network, for each of some inputs, with strides where outputs are maps."""

from dataclasses import dataclass
from fractions import Fraction
from math import prod

from torch import nn

from mnfpn_cli.inspection.facts import look
from mnfpn_cli.inspection.findings import Finding
from mnfpn_cli.inspection.levels import observe_levels
from mnfpn_cli.inspection.observe import Shape
from mnfpn_cli.inspection.passes import Input, notes_on
from mnfpn_cli.inspection.pyramid import pyramid_findings, pyramid_notes
from mnfpn_cli.models.target import InputSpec


@dataclass(frozen=True, slots=True)
class OutputMap:
    """A tensor that comes out: its key or position, its stride where it has one, its shape, and its bytes."""

    name: str
    stride: Fraction | None
    shape: Shape
    bytes: int


@dataclass(frozen=True, slots=True)
class Maps:
    """All that comes out for an input, and what is wrong with it as a pyramid."""

    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputMap, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def batched(self) -> bool:
        """Whether all that comes out begins with the batch, and has more: a detector's boxes, of any number, do not."""
        batches = {one.shape[:1] for one in self.inputs}
        return all(len(one.shape) > 1 and {one.shape[:1]} == batches for one in self.outputs)


def observe_maps(network: nn.Module, specs: tuple[InputSpec, ...], inputs: tuple[Input, ...]) -> Maps:
    """Run a network on an input, and at more sizes where it returns several maps.

    Raises:
        MnfpnError: where it fails, or returns no tensors.
    """
    facts = look(network, inputs, gradients=False)
    pyramids = observe_levels(facts, ())
    strides = {level.name: level.stride for one in pyramids for level in one.levels}
    outputs = tuple(
        OutputMap(name, strides.get(name), shape, prod(shape) * item_bytes)
        for name, shape, item_bytes in facts.seen.outputs
    )
    findings = tuple(finding for one in pyramids for finding in pyramid_findings(one))
    notes = (*notes_on(facts.seen), *(text for one in pyramids for text in pyramid_notes(one)))
    return Maps(specs, outputs, findings, tuple(dict.fromkeys(notes)))
