"""`mnfpn runtimes` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.terminal.tables import Report, Table, command, note, pairs, phrases, table
from mnfpn_cli.settings.input import ITEM_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.documents.runtimes import AbilityRecord, ProcessorRecord, RuntimeRecord, RuntimesDocument

EMULATED = (
    "Emulated: the processor has no instructions for the dtype, or may not use them; libraries compose it of several "
    "others, or compute in float32."
)

NO = "–"
"""What a runtime does not run."""


def runtimes_tables(document: RuntimesDocument) -> Report:
    """The processor, the dtypes of each runtime on each device, why it lacks the others, and how to install more."""
    report: Report = [_processor(document.processor)]
    if any(one.support == "emulated" for one in document.processor.dtypes):
        report.append(note(EMULATED, "dim"))
    for device in document.devices:
        report += [_dtypes(document, device), *_missing(document, device)]
    commands = dict.fromkeys(line for runtime in document.runtimes for line in runtime.installs)
    if commands:
        report += [note("To install what is missing:"), *(command(f"  {line}") for line in commands)]
    return report


def _processor(processor: ProcessorRecord) -> Table:
    found, usable = processor.instructions, processor.usable
    rows = [("processor", processor.name), ("instructions", _listed(found))]
    if processor.cap:
        rows.append(("oneDNN uses", f"{_listed(usable)} ({processor.cap})"))
    for word in ("native", "emulated"):
        dtypes = [one.dtype for one in processor.dtypes if one.support == word]
        rows += [(word, ", ".join(dtypes))] if dtypes else []
    return pairs("This machine", rows)


def _listed(sets: Sequence[str] | None) -> str:
    return "unknown" if sets is None else ", ".join(sets) or "none that matters for dtypes"


def _dtypes(document: RuntimesDocument, device: str) -> Table:
    made = table(f"Runtimes on {device}", "Runtime", "Version", *ITEM_BYTES, "Training")
    for runtime in document.runtimes:
        abilities = _on(runtime, device)
        words = [NO if one.no_inference else one.support or "yes" for one in abilities]
        training = phrases(_training(abilities))
        made.add_row(runtime.name, runtime.version or NO, *words, training)
    return made


def _training(abilities: Sequence[AbilityRecord]) -> str:
    """In which of the dtypes that it runs a runtime is trained too."""
    infers = [one.dtype for one in abilities if one.no_inference is None]
    trains = [one.dtype for one in abilities if one.no_training is None]
    others = [dtype for dtype in infers if dtype not in trains]
    if not trains or not set(trains) <= set(infers) or len(others) > 1:
        return ", ".join(trains) or NO
    return f"all but {others[0]}" if others else "all of these"


def _on(runtime: RuntimeRecord, device: str) -> list[AbilityRecord]:
    return [one for one in runtime.abilities if one.device == device]


def _missing(document: RuntimesDocument, device: str) -> Report:
    """Why runtimes do not run inference there: one row for all that share a reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for runtime in document.runtimes:
        by_reason: dict[str, list[str]] = {}
        for one in _on(runtime, device):
            if one.no_inference:
                by_reason.setdefault(one.no_inference, []).append(one.dtype)
        for reason, dtypes in by_reason.items():
            words = "all" if len(dtypes) == len(ITEM_BYTES) else ", ".join(dtypes)
            reasons.setdefault((words, reason), []).append(runtime.name)
    made = table(f"What does not run on {device}", "Runtime", "Dtypes", "Why")
    for (words, reason), names in reasons.items():
        made.add_row(phrases(", ".join(names)), phrases(words), reason)
    return [made] if reasons else []
