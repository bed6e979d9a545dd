"""Write files whole or not at all: at every moment a file is either as before or complete."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mnfpn_cli.errors import MnfpnError, Problem, UsageError

FORMS = {
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".parquet": "parquet",
    ".html": "html",
    ".htm": "html",
    ".png": "png",
    ".svg": "svg",
    ".onnx": "onnx",
    ".pt2": "torch-export",
    ".safetensors": "safetensors",
    ".pte": "executorch",
    ".mlpackage": "coreml",
    ".txt": "text",
    ".sarif": "sarif",
    ".xml": "junit",
    **dict.fromkeys((".pth", ".pt"), "checkpoint"),
    **dict.fromkeys((".db", ".sqlite"), "store"),
    ".py": "Python",
}
"""The form of a file by its suffix. No output is a checkpoint, a store or Python: such a name is refused."""


def write_whole(path: Path, content: bytes, where: str = "`output`") -> None:
    """Write a temporary file in the folder of a path, and rename it. After any error it is removed.

    Args:
        path: the file to write; of a link, the file that it points to is replaced.
        content: the bytes to write.
        where: the parameter that named the file, for messages.

    Raises:
        MnfpnError: where the file cannot be written.
    """
    with writing(path, where):
        target = path.resolve()
    # Named before it is written, so that Ctrl-C at any moment removes it.
    temporary = target.parent / f".mnfpn-{secrets.token_hex(8)}"
    try:
        with writing(path, where), temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with writing(path, where):
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o777)
            temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def staging_folder(path: Path, where: str = "`output`") -> Iterator[Path]:
    """Yield a new folder beside a file, to write what `move_together` puts in place; it is removed after the block.

    Args:
        path: the file to write; a link's folder is that of the file that it points to.
        where: the parameter that named the file, for messages.

    Raises:
        MnfpnError: where the folder cannot be made.
    """
    # Named before it is made, so that Ctrl-C at any moment removes it.
    folder = path.resolve().parent / f".mnfpn-{secrets.token_hex(8)}"
    try:
        with writing(path, where):
            folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class FileMove:
    """A file or folder in a staging folder, and the place that it gets; what is there is replaced."""

    source: Path
    target: Path

    @property
    def old(self) -> Path:
        """The name that gets, in the staging folder, what was in the place before."""
        return self.source.with_name(f"old-{self.source.name}")

    @property
    def is_done(self) -> bool:
        """Whether the file is in its place."""
        return not self.source.exists()

    def undo(self) -> None:
        """Put back what was in the place before."""
        if self.is_done:
            self.target.rename(self.source)
        if self.old.exists():
            self.old.rename(self.target)


def move_together(moves: Sequence[FileMove]) -> None:
    """Put files and folders in their places: all of them, or after any error none.

    The last one is that which others read first: where it is a file, it is replaced at one moment.

    Raises:
        OSError: where one cannot be moved.
    """
    try:
        for move in moves:
            _synchronise(move.source)
        for move in moves:
            _put_in_place(move, is_last=move == moves[-1])
    except BaseException:
        if not moves[-1].is_done:  # else Ctrl-C came after the end
            for move in reversed(moves):
                move.undo()
        raise


def _put_in_place(move: FileMove, is_last: bool) -> None:
    if move.target.exists():
        move.source.chmod(move.target.stat().st_mode & 0o777)
        if move.target.is_dir() or not is_last:
            move.target.rename(move.old)
    move.source.replace(move.target)


def _synchronise(path: Path) -> None:
    """Wait until a file, or those of a folder, are on the disk: only then is it known whether they fit."""
    for file in [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def is_device(path: Path) -> bool:
    """Return whether a path is a device or a pipe, as ``/dev/stdout``, which can be written to but not replaced."""
    return descriptor_of(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
"""The descriptors of the standard streams that take output."""


def descriptor_of(path: Path) -> int | None:
    """Return the descriptor that a path names, as 1 for ``/dev/stdout``; None where it names a file of its own.

    It may be open for a regular file, of which a shell writes the rest: that one must not be replaced or truncated.
    """
    text = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow the link to the file
    found = re.fullmatch(r"/dev/fd/([0-9]{1,9})|/proc/self/fd/([0-9]{1,9})", text)
    return int(found[1] or found[2]) if found else STREAMS.get(text)


@contextmanager
def writing(path: Path, where: str = "`output`") -> Iterator[None]:
    """Explain why a file cannot be written in this block, as where the disk is full.

    Raises:
        MnfpnError: where the system refuses.
    """
    try:
        yield
    except OSError as error:
        raise MnfpnError(Problem(where, f"'{path}' could not be written: {error.strerror or error}")) from error


def form_of_file(
    where: str, path: Path, forms: Sequence[str], asked: str | None = None, usual: str | None = None
) -> str:
    """Return the form of a file to write: the one that was asked for, or else the one of its suffix.

    Args:
        where: what names the file.
        path: the file.
        forms: the forms that can be written.
        asked: the form that was asked for.
        usual: the form where neither names one.

    Raises:
        UsageError: where the suffix is of another form, or nothing names a form.
    """
    named = FORMS.get(path.suffix.lower())
    form = asked or (named if named in forms else usual)
    if form is None:
        suffixes = ", ".join(suffix for suffix, one in FORMS.items() if one in forms)
        raise UsageError(Problem(where, f"must end in {suffixes} unless `format` is given", f"'{path}'"))
    if named not in (None, form):
        raise UsageError(Problem(where, f"must not end in {path.suffix}, as {form} is written", f"'{path}'"))
    return form
