"""Check the paths of a command line: files that are read, files that are written, and the form of a written file.

An option is marked by `Reads` or `Writes` in its annotation; `groups.grouped` checks all paths before a command runs.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.files import is_device
from mnfpn_cli.text import as_option

DATABASE = b"SQLite format 3\0"
"""The first bytes of an SQLite database."""


def named_path(option: str, text: str) -> Path:
    """Return the path that an option names.

    Raises:
        UsageError: if it is empty, which Python would take for the current folder.
    """
    if not text:
        raise UsageError(f"{option}: must be the name of a file, got ''")
    return Path(text)


def _itself(text: str) -> Iterable[Path]:
    return () if text == "-" else (Path(text),)


@dataclass(frozen=True)
class Reads:
    """Marks an option that names files to read; ``files`` returns the files of a value."""

    files: Callable[[str], Iterable[Path]] = _itself


@dataclass(frozen=True)
class Writes:
    """Marks an option that names a file to write; with ``folder``, it may be a folder, which the command checks."""

    folder: bool = False


def files_read(annotations: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that options marked by `Reads` name."""
    for name, annotation in annotations.items():
        for mark in get_args(annotation):
            if isinstance(mark, Reads):
                value = values[name]
                for one in value if isinstance(value, list) else [value]:
                    yield from mark.files(str(one)) if one is not None else ()


def files_of(group: Any) -> Iterator[Path]:
    """Yield the files that a group of options reads."""
    return files_read(get_type_hints(type(group), include_extras=True), vars(group))


def check_paths(annotations: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Check that every file to write can be written, and replaces no file that is read, nor another that is written.

    Raises:
        UsageError: if not.
    """
    marks = {name: mark for name, one in annotations.items() for mark in get_args(one) if isinstance(mark, Writes)}
    written = {as_option(name): values[name] for name in marks if values[name] is not None}
    for name, mark in marks.items():
        if values[name] is not None:
            check_writable(values[name], as_option(name), mark.folder)
    for option, path in written.items():
        check_not_read(option, path, files_read(annotations, values))
        for other, one in written.items():
            if other != option and _same(path, one):
                raise UsageError(Problem(option, f"must not be the file of {other}", f"'{path}'"))


def check_not_read(option: str, path: Path, read: Iterable[Path]) -> None:
    """Check that a file to write is not one of those that are read.

    Raises:
        UsageError: if it is.
    """
    if any(_same(path, one) for one in read):
        raise UsageError(Problem(option, "must not be a file that the command reads", f"'{path}'"))


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths are one regular file, existing or not."""
    if is_device(one):
        return False
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)


def check_writable(path: Path, option: str, folder: bool = False) -> None:
    """Check that a file can be written, or replaced; with ``folder``, so may a folder.

    Raises:
        UsageError: if it cannot; names the option.
    """
    if path == Path("-"):
        raise UsageError(Problem(option, "must be a file, not standard output", "'-'"))
    try:
        if is_device(path):
            return
        target = path.resolve() if path.is_symlink() else path
        is_folder = target.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, or a link to itself
        raise UsageError(Problem(option, "must be a name that a file can have", f"'{path}'", f": {error}")) from None
    if is_folder and not folder:
        raise UsageError(Problem(option, f"must be a file, but '{path}' is a folder"))
    _refuse_database(path, option)
    if not target.parent.is_dir():
        raise UsageError(Problem(option, f"folder '{target.parent}' does not exist"))
    if not os.access(target.parent, os.W_OK):
        raise UsageError(Problem(option, f"must be in a folder that can be written, but '{target.parent}' cannot"))


def check_readable(path: Path, option: str) -> None:
    """Check that a file can be read.

    Raises:
        MnfpnError: if it cannot; names the option.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise MnfpnError(Problem(option, f"'{path}' could not be read: {error.strerror}")) from None


def _refuse_database(path: Path, option: str) -> None:
    """Refuse to replace a store, which may hold hours of measurements.

    Raises:
        UsageError: if the file is an SQLite database.
    """
    try:
        with path.open("rb") as file:
            is_database = file.read(len(DATABASE)) == DATABASE
    except OSError:
        return  # it does not exist, or the error comes up when it is written
    if is_database:
        raise UsageError(Problem(option, f"must not be a store, but '{path}' is an SQLite database"))
