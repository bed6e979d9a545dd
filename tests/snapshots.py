"""Outputs that tests hold against files beside them."""

import os
from pathlib import Path


def check(path: Path, text: str) -> None:
    """Assert that a file holds a text; with MNFPN_WRITE_SNAPSHOTS=1 in the environment, write it there."""
    if os.environ.get("MNFPN_WRITE_SNAPSHOTS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name}: MNFPN_WRITE_SNAPSHOTS=1 writes it anew"
