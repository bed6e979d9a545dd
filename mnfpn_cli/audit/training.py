"""Settle by a pass in training mode what the pass in eval mode leaves open: auxiliary heads run in training alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.trace.backward import Gradients, gradient_pass
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.passes import Input, Pass, run_pass
from mnfpn_cli.trace.storages import storage_key
from mnfpn_cli.trace.trace import Trace, has_parameters, has_state, numel, own_state


@dataclass(frozen=True, slots=True)
class Training:
    """What training mode adds to the pass in eval mode.

    Attributes:
        joining: modules that take part in training mode alone.
        idle: modules with parameters that take part in neither mode.
        used: keys of the storages that training mode used.
        cut_off: parameters that took part, and that gradients reach in neither mode.
        cut: the names of custom functions whose backward returns None for parameters, by the keys of their storages.
        unjudged: parameters that gradients do not reach in eval mode, where the pass in training mode failed.
        failure: why the pass in training mode failed; None where it did not, or was not needed.
    """

    joining: tuple[nn.Module, ...] = ()
    idle: tuple[nn.Module, ...] = ()
    used: frozenset[int] = frozenset()
    cut_off: tuple[Tensor, ...] = ()
    unjudged: tuple[Tensor, ...] = ()
    cut: Mapping[int, str] = field(default_factory=dict)
    failure: ModelError | None = None

    def adds(self, trace: Trace, parameter: Tensor) -> bool:
        """Return whether training mode alone uses a parameter."""
        return storage_key(parameter) in self.used and not trace.used(parameter)


def judge_training(trace: Trace) -> Training:
    """Run passes in training mode where modules or parameters are idle in eval mode; the network is left unchanged."""
    idle = tuple(module for module in trace.network.modules() if module not in trace.in_use and has_parameters(module))
    cut_off = tuple(_cut_off(trace))
    gradients = trace.gradients or Gradients()
    joining: set[nn.Module] = set()
    used: set[int] = set()
    if idle or cut_off or not all(map(trace.used, trace.network.parameters())):
        try:
            for one in trace.passes:
                observed, found = _training_pass(trace, one)
                joining |= taking_part(idle, observed)
                used |= observed.used.keys()
                gradients |= found or Gradients()
        except ModelError as failure:  # a detector wants targets
            return Training(idle=idle, unjudged=cut_off, failure=failure)
    return Training(
        joining=tuple(module for module in idle if module in joining),
        idle=tuple(module for module in idle if module not in joining),
        used=frozenset(used),
        cut_off=tuple(parameter for parameter in cut_off if storage_key(parameter) not in gradients.reached),
        cut=gradients.cut,
    )


def _cut_off(trace: Trace) -> Iterator[Tensor]:
    """Yield the parameters that require a gradient and took part in eval mode, and that no gradient reaches."""
    if trace.gradients is None:
        return
    for parameter in trace.network.parameters():
        if trace.used(parameter) and parameter.requires_grad and storage_key(parameter) not in trace.gradients.reached:
            yield parameter


def _training_pass(trace: Trace, one: Pass) -> tuple[Pass, Gradients | None]:
    inputs = _double_batch(one.inputs)
    if trace.gradients is None:
        return run_pass(trace.network, inputs, one.mode, trace.hidden_modules, train=True), None
    return gradient_pass(trace.network, inputs, one.mode, trace.hidden_modules, train=True)


def _double_batch(inputs: Sequence[Input]) -> list[Input]:
    """Return inputs of twice the batch: in training, batch norm wants more than one value for each channel."""
    batches = {spec.shape[0] for spec in inputs if spec.shape}
    if len(batches) > 1 or not all(spec.shape for spec in inputs):
        return list(inputs)
    return [_double(spec) for spec in inputs]


def _double(spec: Input) -> Input:
    value = None if spec.value is None else torch.cat([spec.value, spec.value])
    return replace(spec, shape=(2 * spec.shape[0], *spec.shape[1:]), value=value)


def taking_part(modules: Sequence[nn.Module], observed: Pass) -> set[nn.Module]:
    """Return the modules that took part in a pass, themselves or by a module with parameters or buffers inside."""
    called = {event.module for event in observed.events if isinstance(event, ModuleCall)}

    def took_part(module: nn.Module) -> bool:
        return module in called or any(storage_key(tensor) in observed.used for tensor in own_state(module))

    return {module for module in modules if any(map(took_part, filter(has_state, module.modules())))}


def training_notes(trace: Trace, training: Training) -> Iterator[str]:
    """Yield what training mode showed, and what could not be judged because its pass failed."""
    paths = [trace.paths[module] for module in training.joining]
    paths += [path for path, tensor in trace.network.named_parameters() if training.adds(trace, tensor)]
    outermost = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    if outermost:
        yield f"Only in training: {', '.join(outermost)}."
    if training.failure is None:
        return
    yield f"It fails in training mode: {training.failure}."
    if training.idle:
        yield "What training alone would call is therefore among what is never called."
    if training.unjudged:
        unjudged = set(map(id, training.unjudged))
        names = [name for name, parameter in trace.network.named_parameters() if id(parameter) in unjudged]
        owners = dict.fromkeys(name.rpartition(".")[0] or name for name in names)
        yield (
            f"Whether {numel(training.unjudged):,} parameters learn is therefore not judged, as no gradient of the "
            f"outputs in eval mode reaches them: {', '.join(owners)}."
        )
