"""The audit: everything that can be wrong with the registration of a network's parts, and with its pyramid."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from torch import Tensor, nn

from mnfpn_cli.audit.registered import counted, miscounted, never_called, shared, without_gradient
from mnfpn_cli.audit.unregistered import constants, unregistered
from mnfpn_cli.documents.audit import Audit, ParameterCounts
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.trace.facts import Facts, has_forward, has_state, numel, own_state
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.passes import Input, Pass, notes_on, run_pass
from mnfpn_cli.trace.storages import storage_key


def audit(facts: Facts) -> Audit:
    """Judge what the passes of a network showed."""
    training = Training(facts)
    findings = [
        *unregistered(facts),
        *shared(facts),
        *never_called(facts, training.has),
        *without_gradient(facts, training.may_reach),
        *miscounted(facts),
    ]
    called, registered = facts.registration
    idle = [
        one for one in facts.network.modules() if has_forward(one) and one not in facts.in_use and not has_state(one)
    ]
    return Audit(
        clean=not findings,
        how=facts.seen.how,
        called=called,
        registered=registered,
        idle=len(idle),
        parameters=ParameterCounts(**dict(zip(("rows", "parameters", "state_dict"), counted(facts), strict=True))),
        findings=tuple(findings),
        notes=tuple(_notes(facts, training)),
    )


class Training:
    """A pass in training mode, run only where the one in eval mode leaves something open.

    Attributes:
        only: the paths of modules that take part in training alone.
        idle: whether modules took part in neither, as far as that is known.
        open: the parameters that no gradient reaches in eval mode, where training mode does not run.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.only: list[str] = []
        self.idle = False
        self.open: dict[int, Tensor] = {}

    @cached_property
    def _seen(self) -> Pass | ModelError:
        """That pass, or why there is none: detectors want targets."""
        facts, gradients = self._facts, self._facts.reached is not None
        inputs = _twice(facts.inputs)
        try:
            return run_pass(facts.network, inputs, facts.seen.how, facts.others, gradients=gradients, train=True)
        except ModelError as error:
            return error

    @cached_property
    def _called(self) -> set[nn.Module]:
        events = () if isinstance(self._seen, ModelError) else self._seen.events
        return {event.module for event in events if isinstance(event, ModuleCall)}

    def has(self, module: nn.Module) -> bool:
        """Whether a module takes part in a pass in training mode."""
        used = {} if isinstance(self._seen, ModelError) else self._seen.used
        took_part = any(
            inner in self._called or any(storage_key(one) in used for one in own_state(inner))
            for inner in module.modules()
        )
        if took_part:
            self.only.append(self._facts.paths[module])
        self.idle |= not took_part
        return took_part

    def may_reach(self, parameter: Tensor) -> bool:
        """Whether gradients reach a parameter in training mode, or might, where that cannot be seen."""
        if isinstance(self._seen, ModelError):
            self.open[id(parameter)] = parameter
            return True
        return self._seen.reached is not None and storage_key(parameter) in self._seen.reached

    def notes(self) -> Iterator[str]:
        """What that pass showed, or left open."""
        outermost = [path for path in self.only if not any(path.startswith(f"{one}.") for one in self.only)]
        if outermost:
            yield f"Only in training: {', '.join(outermost)}."
        failed = self.idle or self.open
        if not failed or not isinstance(self._seen, ModelError):
            return
        yield f"It fails in training mode: {self._seen}."
        if self.idle:
            yield "What training alone would call is therefore among what is never called."
        if self.open:
            names = [name for name, one in self._facts.network.named_parameters() if id(one) in self.open]
            count = numel(list(self.open.values()))
            yield (
                f"Whether {count:,} parameters learn is therefore not judged, as no gradient of the outputs in eval "
                f"mode reaches them: {_common(names)}."
            )


def _common(names: Sequence[str]) -> str:
    """The modules that hold parameters, each once."""
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def _twice(inputs: Sequence[Input]) -> list[Input]:
    """Twice the batch: batch norm wants more than one value for each channel in training."""
    batches = {one.shape[0] for one in inputs if one.shape}
    if len(batches) > 1 or not all(one.shape for one in inputs):
        return list(inputs)
    return [replace(one, shape=(2 * one.shape[0], *one.shape[1:])) for one in inputs]


def _notes(facts: Facts, training: Training) -> Sequence[str]:
    notes = [*training.notes()]
    if facts.unfollowed:
        notes.append(f"Gradients could not be followed: {facts.unfollowed}.")
    loose = constants(facts)
    if loose:
        notes.append(
            f"Constants that no state dict has and no .to(device) moves: {', '.join(loose)}; register_buffer does."
        )
    return [*notes, *notes_on(facts.seen)]
