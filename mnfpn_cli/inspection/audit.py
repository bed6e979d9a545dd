"""The audit: everything that can be wrong with the registration of a network's parts, and with its pyramid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import nn

from mnfpn_cli.inspection.facts import Facts, has_forward, has_state, own_state
from mnfpn_cli.inspection.findings import Finding
from mnfpn_cli.inspection.memory import storage_key
from mnfpn_cli.inspection.observe import ModuleCall
from mnfpn_cli.inspection.passes import How, Input, run_pass
from mnfpn_cli.inspection.registered import counted, miscounted, never_called, shared, without_gradient
from mnfpn_cli.inspection.unregistered import constants, unregistered
from mnfpn_cli.models.errors import ModelError


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters as three ways of counting see them."""

    rows: int
    parameters: int
    state_dict: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        how: the pass was run.
        called: registered modules that took part.
        registered: modules that have a forward.
        idle: registered modules without parameters that took no part, which does no harm.
        counts: of parameters.
        findings: what is wrong.
        notes: what is worth knowing, and wrong in nothing.
    """

    how: How
    called: int
    registered: int
    idle: int
    counts: Counts
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def audit(facts: Facts) -> Audit:
    """Judge what the passes of a network showed."""
    training = _Training(facts)
    findings = [
        *unregistered(facts),
        *shared(facts),
        *never_called(facts, training.has),
        *without_gradient(facts),
        *miscounted(facts),
    ]
    called, registered = facts.registration
    idle = [
        one for one in facts.network.modules() if has_forward(one) and one not in facts.in_use and not has_state(one)
    ]
    return Audit(
        how=facts.seen.how,
        called=called,
        registered=registered,
        idle=len(idle),
        counts=Counts(*counted(facts)),
        findings=tuple(findings),
        notes=tuple(_notes(facts, training)),
    )


class _Training:
    """What takes part in training alone; that pass is run only where something took no part in the one in eval mode."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.only: list[str] = []
        self.failed = False

    @cached_property
    def _parts(self) -> tuple[set[nn.Module], set[int]]:
        facts = self._facts
        try:
            seen = run_pass(facts.network, _twice(facts.inputs), facts.seen.how, facts.others, train=True)
        except ModelError:  # as one that wants targets
            self.failed = True
            return set(), set()
        return {event.module for event in seen.events if isinstance(event, ModuleCall)}, set(seen.used)

    def has(self, module: nn.Module) -> bool:
        """Whether a module takes part in a pass in training mode."""
        called, used = self._parts
        took_part = any(
            inner in called or any(storage_key(one) in used for one in own_state(inner)) for inner in module.modules()
        )
        if took_part:
            self.only.append(self._facts.paths[module])
        return took_part


def _twice(inputs: Sequence[Input]) -> list[Input]:
    """Twice the batch: batch norm wants more than one value for each channel in training."""
    batches = {one.shape[0] for one in inputs if one.shape}
    if len(batches) > 1 or not all(one.shape for one in inputs):
        return list(inputs)
    return [replace(one, shape=(2 * one.shape[0], *one.shape[1:])) for one in inputs]


def _notes(facts: Facts, training: _Training) -> Sequence[str]:
    notes = []
    outermost = [path for path in training.only if not any(path.startswith(f"{one}.") for one in training.only)]
    if outermost:
        notes.append(f"Only in training: {', '.join(outermost)}.")
    if training.failed:
        notes.append("It fails in training mode: what training alone would call is among what is never called.")
    if facts.unfollowed:
        notes.append(f"Gradients could not be followed: {facts.unfollowed}.")
    loose = constants(facts)
    if loose:
        notes.append(
            f"Constants that no state dict has and no .to(device) moves: {', '.join(loose)}; register_buffer does."
        )
    if facts.seen.how == "real":
        notes.append("Run on real tensors, as it does not run on the meta device.")
    return notes
