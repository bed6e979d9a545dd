"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.files import write_whole


def test_a_file_is_renamed_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then it has another name in the same folder."""
    path, replace = tmp_path / "out", Path.replace
    seen = list[tuple[Path, str, bytes, bool]]()

    def replaced(temporary: Path, target: Path) -> Path:
        seen.append((temporary.parent, temporary.name[:7], temporary.read_bytes(), path.exists()))
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", replaced)
    write_whole(path, b"new")
    assert seen == [(tmp_path, ".mnfpn-", b"new", False)]
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """And no temporary file; the error has the system's reason."""
    path = tmp_path / "out"
    path.write_text("older")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(MnfpnError) as caught:
        write_whole(path, b"new")
    assert str(caught.value) == f"output: '{path}' could not be written: No space left on device"
    assert path.read_text() == "older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_link_stays_a_link_and_modes_are_kept(tmp_path: Path) -> None:
    """As with every file that mnfpn writes; a new one has the mode of any new file."""
    target, link, new, usual = (tmp_path / name for name in ("target", "link", "new", "usual"))
    usual.touch()
    target.touch()
    target.chmod(0o640)
    link.symlink_to(target)
    for path in (link, new):
        write_whole(path, b"content")
    assert link.is_symlink()
    assert target.read_bytes() == b"content"
    assert target.stat().st_mode & 0o777 == 0o640
    assert new.stat().st_mode == usual.stat().st_mode


def test_ctrl_c_at_any_moment_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even in the middle of writing."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "out", b"new")
    assert list(tmp_path.iterdir()) == []
