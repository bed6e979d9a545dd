"""Texts that are compared with files beside the tests: ``MNFPN_WRITE_SNAPSHOTS=1`` writes the files anew."""

import os
from difflib import unified_diff
from pathlib import Path

WRITE = os.environ.get("MNFPN_WRITE_SNAPSHOTS") == "1"


def check(path: Path, text: str) -> None:
    """Make sure that a text is what a file holds, or write the file where that was asked for."""
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    assert path.is_file(), f"{path.name}: there is no such snapshot; MNFPN_WRITE_SNAPSHOTS=1 writes it"
    kept = path.read_text(encoding="utf-8")
    lines = unified_diff(kept.splitlines(), text.splitlines(), "kept", "now", lineterm="")
    assert text == kept, "\n".join([f"{path.name} differs; MNFPN_WRITE_SNAPSHOTS=1 writes it anew", *lines])
