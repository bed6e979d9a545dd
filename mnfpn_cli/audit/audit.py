"""Audit a module: run one watched pass, and report what is wrong with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from mnfpn_cli.audit.levels import ObservedLevels, observe_levels
from mnfpn_cli.audit.pyramid import pyramid_findings, pyramid_notes
from mnfpn_cli.audit.registration import (
    constants,
    counted,
    miscounted,
    never_called,
    shared,
    unregistered,
    without_gradient,
)
from mnfpn_cli.audit.tree import LayerRow, LayerTree
from mnfpn_cli.documents.audit import Audit, AuditDocument, ObservedLevel, ParameterCounts
from mnfpn_cli.documents.records import ImageInput, WeightsRecord
from mnfpn_cli.documents.summary import CountsRecord, InferenceMemory, Registration, SummaryDocument, Totals
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.external.load import check_arguments
from mnfpn_cli.external.origin import Workload
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.passes import Input, Pass, pass_notes, run_pass
from mnfpn_cli.trace.storages import storage_key
from mnfpn_cli.trace.trace import Trace, has_forward, has_state, numel, own_state, trace_network


def audit(trace: Trace) -> Audit:
    """Judge what the passes of a network showed."""
    training = Training(trace)
    findings = [
        *unregistered(trace),
        *shared(trace),
        *never_called(trace, training.has),
        *without_gradient(trace, training.may_reach),
        *miscounted(trace),
    ]
    called, registered = trace.registration
    idle = [
        one for one in trace.network.modules() if has_forward(one) and one not in trace.in_use and not has_state(one)
    ]
    return Audit(
        clean=not findings,
        mode=trace.eval_pass.mode,
        called=called,
        registered=registered,
        idle=len(idle),
        parameters=ParameterCounts(**dict(zip(("rows", "parameters", "state_dict"), counted(trace), strict=True))),
        findings=tuple(findings),
        notes=tuple(_notes(trace, training)),
    )


class Training:
    """A pass in training mode, run only where the one in eval mode leaves something open.

    Attributes:
        only: the paths of modules that take part in training alone.
        idle: whether modules took part in neither, as far as that is known.
        open: the parameters that no gradient reaches in eval mode, where training mode does not run.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.only: list[str] = []
        self.idle = False
        self.open: dict[int, Tensor] = {}

    @cached_property
    def _seen(self) -> Pass | ModelError:
        """That pass, or why there is none: detectors want targets."""
        trace, gradients = self._trace, self._trace.reached is not None
        inputs = _twice(trace.inputs)
        try:
            return run_pass(
                trace.network, inputs, trace.eval_pass.mode, trace.hidden_modules, gradients=gradients, train=True
            )
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
            self.only.append(self._trace.paths[module])
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
            names = [name for name, one in self._trace.network.named_parameters() if id(one) in self.open]
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


def _notes(trace: Trace, training: Training) -> Sequence[str]:
    notes = [*training.notes()]
    if trace.unfollowed:
        notes.append(f"Gradients could not be followed: {trace.unfollowed}.")
    loose = constants(trace)
    if loose:
        notes.append(
            f"Constants that no state dict has and no .to(device) moves: {', '.join(loose)}; register_buffer does."
        )
    return [*notes, *pass_notes(trace.eval_pass)]


def build_workload(workload: Workload) -> nn.Module:
    """Build the network for a trace, and make sure that a pass takes its inputs.

    Raises:
        UsageError: where a target is none, or takes other inputs.
        ModelError: where its code fails.
    """
    network = workload.origin.build_to_trace()
    check_arguments(network, len(workload.specs))
    return network


def pass_inputs(workload: Workload) -> tuple[Input, ...]:
    """The inputs as torch has them."""
    return tuple(Input(one.shape, getattr(torch, one.dtype) if one.dtype else None) for one in workload.specs)


@dataclass(frozen=True)
class Inspection:
    """What is known of a network.

    Attributes:
        trace: what was seen in its passes.
        audit: what is wrong with it; None where that was not asked for.
        pyramids: the maps that come out.
        weights: how its checkpoint fits; None where it has none.
    """

    trace: Trace
    audit: Audit | None
    pyramids: tuple[ObservedLevels, ...]
    weights: WeightsRecord | None = None


def inspect_network(
    network: nn.Module, inputs: Sequence[Input], names: Sequence[str] = (), audited: bool = True
) -> Inspection:
    """Run a network, and say what is in it and what is wrong with it. It is left as it was.

    ``names``: of its outputs, where they have none of their own.

    Raises:
        MnfpnError: where it fails, or returns no tensors.
    """
    trace = trace_network(network, inputs, gradients=audited)
    if not audited:
        return Inspection(trace, None, ())
    judged, pyramids = audit(trace), observe_levels(trace, names)
    findings = (*judged.findings, *(finding for one in pyramids for finding in pyramid_findings(one)))
    notes = tuple(dict.fromkeys((*judged.notes, *(text for one in pyramids for text in pyramid_notes(one)))))
    judged = judged.model_copy(update={"clean": not findings, "findings": findings, "notes": notes})
    return Inspection(trace, judged, pyramids)


def inspect_workload(workload: Workload, audited: bool = True) -> Inspection:
    """Build what a command looks at, and inspect it.

    Raises:
        UsageError: where a target is none, or takes other inputs, or a checkpoint is of another network.
        MnfpnError: where the network fails, or returns no tensors.
    """
    network, weights = build_workload(workload), workload.origin.fit()
    found = inspect_network(network, pass_inputs(workload), workload.origin.outputs, audited)
    return replace(found, weights=weights)


def audit_document(workload: Workload, found: Inspection) -> AuditDocument:
    """Make the document of an inspection that was audited."""
    assert found.audit is not None
    return AuditDocument(
        settings=workload.origin.settings,
        model=workload.origin.model,
        levels=level_records(found.pyramids),
        weights=found.weights,
        **dict(found.audit),
    )


def level_records(pyramids: Sequence[ObservedLevels]) -> tuple[ObservedLevel, ...] | None:
    """Give the maps of all pyramids; None where there are none."""
    return tuple(level.record() for one in pyramids for level in one.levels) or None


def summary_document(
    workload: Workload, found: Inspection, tree: LayerTree, layers: Sequence[LayerRow], counts: CountsRecord | None
) -> SummaryDocument:
    """Make the document of `mnfpn summary`; ``layers`` are those that were asked for."""
    network = tree.rows[0]
    return SummaryDocument(
        settings=workload.origin.settings,
        model=workload.origin.model,
        input=_images(workload.specs),
        inputs=tuple(one.record() for one in workload.specs),
        totals=Totals(parameters=network.parameters, macs=network.macs),
        memory=InferenceMemory(weights_bytes=tree.state_bytes, peak_activation_bytes=tree.peak_bytes),
        registration=Registration(called=tree.called, registered=tree.registered, same=tree.same),
        layers=tuple(row.record() for row in layers),
        counts=counts,
        audit=found.audit,
        levels=level_records(found.pyramids),
        weights=found.weights,
    )


def _images(inputs: Sequence[InputSpec]) -> ImageInput | None:
    """The one batch of images that a network takes; None where it takes something else."""
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return None
    batch, channels, height, width = inputs[0].shape
    return ImageInput(batch=batch, channels=channels, height=height, width=width)
