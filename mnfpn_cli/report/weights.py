"""What became of a checkpoint, as lines and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mnfpn_cli.report.tables import Report, note
from mnfpn_cli.report.units import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnfpn_cli.weights.load import Loaded

SHOWN = 4


def weights_report(loaded: Loaded | None) -> Report:
    """What matched, what was ignored and what is missing; nothing where nothing was loaded."""
    if loaded is None:
        return []
    matched = f"{count(loaded.matched)} tensors matched, {loaded.layout} layout."
    report: Report = [note(f"Weights of {loaded.file}: {matched}", "" if loaded.missing else "green")]
    if loaded.ignored:
        report.append(note(f"Ignored, the network has no use for them: {_listed(loaded.ignored)}."))
    if loaded.missing:
        report.append(note(f"Missing, left as initialised: {_listed(loaded.missing)}.", "yellow"))
    if loaded.overridden:
        others = _listed(loaded.overridden)
        report.append(
            note(f"One layer is shared here: the last of its tensors counts, and differs from {others}.", "yellow")
        )
    if loaded.settings_differ:
        report.append(note(f"Made with settings that differ from these in {_few(loaded.settings_differ)}.", "yellow"))
    return report


def weights_document(loaded: Loaded | None) -> dict[str, Any]:
    """The same under the key ``weights``; no key where nothing was loaded."""
    return {"weights": asdict(loaded)} if loaded else {}


def _listed(keys: Sequence[str]) -> str:
    """Keys by the part that they belong to, with how many there are; the first few parts."""
    modules = list(dict.fromkeys(".".join(key.split(".")[:2]) for key in keys))
    return f"{_few(modules)} ({count(len(keys))} tensor{'s' if len(keys) > 1 else ''})"


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
