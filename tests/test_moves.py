"""Files that belong together are put in place together, or not at all."""

import os
from pathlib import Path

import pytest

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.files import FileMove, move_together, staging_folder, writing


@pytest.fixture
def moves(tmp_path: Path) -> list[FileMove]:
    """A folder and two files in a staging folder; of their places, one of the files' is free."""
    staged, places = tmp_path / "staged", tmp_path / "places"
    (staged / "folder").mkdir(parents=True)
    (staged / "folder" / "part").write_text("new")
    (places / "folder").mkdir(parents=True)
    (places / "folder" / "other part").write_text("older")
    for name in ("weights", "graph"):
        (staged / name).write_text("new")
    (places / "graph").write_text("older")
    return [FileMove(staged / name, places / name) for name in ("folder", "weights", "graph")]


def contents(folder: Path) -> dict[str, str]:
    """The texts of all files below a folder."""
    return {str(one.relative_to(folder)): one.read_text() for one in sorted(folder.rglob("*")) if one.is_file()}


OLDER = {"folder/other part": "older", "graph": "older"}


def test_all_are_moved(tmp_path: Path, moves: list[FileMove]) -> None:
    """What was there is replaced: also a folder, with all that is in it."""
    move_together(moves)
    assert contents(tmp_path / "places") == {"folder/part": "new", "graph": "new", "weights": "new"}


@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_an_error_between_two_moves_leaves_what_was_there(
    tmp_path: Path, moves: list[FileMove], monkeypatch: pytest.MonkeyPatch, nth: int, error: BaseException
) -> None:
    """Whichever move it is that fails, before or after its file has another name."""
    real, calls = Path.replace, [0]

    def failing(self: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == nth + 1:
            raise error
        moved = real(self, target)
        if nth == 3 and self.name == "weights":
            raise error
        return moved

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(type(error)):
        move_together(moves)
    assert contents(tmp_path / "places") == OLDER


def test_ctrl_c_after_the_last_move_undoes_nothing(
    tmp_path: Path, moves: list[FileMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are new then; undone, half of them would be."""
    real = Path.replace

    def failing(self: Path, target: Path) -> Path:
        moved = real(self, target)
        if self.name == "graph":
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(KeyboardInterrupt):
        move_together(moves)
    assert contents(tmp_path / "places") == {"folder/part": "new", "graph": "new", "weights": "new"}


def test_a_disk_that_turns_out_full_moves_nothing(
    tmp_path: Path, moves: list[FileMove], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some systems say so only when a file is synchronised."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(MnfpnError, match=r"^output: 'net.xml' could not be written: No space left on device$"),
        writing(Path("net.xml")),
    ):
        move_together(moves)
    assert contents(tmp_path / "places") == OLDER


def test_modes_are_kept(tmp_path: Path, moves: list[FileMove]) -> None:
    """Of the files that are replaced."""
    (tmp_path / "places" / "graph").chmod(0o640)
    move_together(moves)
    assert (tmp_path / "places" / "graph").stat().st_mode & 0o777 == 0o640


def test_a_staging_folder_is_beside_the_file_and_goes(tmp_path: Path) -> None:
    """On the same disk, hidden, and removed after an error too."""

    def fail() -> None:
        with staging_folder(tmp_path / "net.xml") as folder:
            (folder / "net.xml").write_text("half")
            assert (folder.parent, folder.name[:7]) == (tmp_path, ".mnfpn-")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_error_without_a_reason_of_the_system_is_given_as_it_is(tmp_path: Path) -> None:
    """Libraries raise such ones."""
    with pytest.raises(MnfpnError, match=r"could not be written: the archive is closed$"), writing(tmp_path):
        raise OSError("the archive is closed")
