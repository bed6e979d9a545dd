"""What the paths on a command line name: files that are read, files that are written, and the form of the latter.

An option says once which it is, in its annotation; `groups.grouped` checks all of a command before the command runs.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.files import is_device
from mnfpn_cli.text import as_option

DATABASE = b"SQLite format 3\0"
"""How an SQLite database begins."""

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
    ".txt": "text",
    **dict.fromkeys((".pth", ".pt"), "checkpoint"),
    **dict.fromkeys((".db", ".sqlite"), "store"),
    ".py": "Python",
}
"""The forms that names of files ask for. No output is a checkpoint, a store or Python: such a name is refused."""


def named_path(option: str, text: str) -> Path:
    """The path that a value of an option names.

    Raises:
        UsageError: where it is empty: Python would take it for the current folder.
    """
    if not text:
        raise UsageError(f"{option}: must be the name of a file, got ''")
    return Path(text)


def _itself(text: str) -> Iterable[Path]:
    return () if text == "-" else (Path(text),)


@dataclass(frozen=True)
class Reads:
    """Marks an option that names files which the command reads; ``files``: those that a value of it names."""

    files: Callable[[str], Iterable[Path]] = _itself


@dataclass(frozen=True)
class Writes:
    """Marks an option that names a file which the command writes."""


def files_read(annotations: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Path]:
    """The files that the values of marked options name."""
    for name, annotation in annotations.items():
        for mark in get_args(annotation):
            if isinstance(mark, Reads):
                value = values[name]
                for one in value if isinstance(value, list) else [value]:
                    yield from mark.files(str(one)) if one is not None else ()


def files_of(group: Any) -> Iterator[Path]:
    """The same of a group of options."""
    return files_read(get_type_hints(type(group), include_extras=True), vars(group))


def check_paths(annotations: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Make sure that what marked options name can be written, and that nothing is lost by it.

    Raises:
        UsageError: where a file cannot be written, or would replace one that is read, or another that is written.
    """
    written = {
        as_option(name): values[name]
        for name, annotation in annotations.items()
        if any(isinstance(mark, Writes) for mark in get_args(annotation)) and values[name] is not None
    }
    for option, path in written.items():
        check_file(path, option)
    for option, path in written.items():
        check_not_read(option, path, files_read(annotations, values))
        for other, one in written.items():
            if other != option and _same(path, one):
                raise UsageError(Problem(option, f"must not be the file of {other}", f"'{path}'"))


def check_not_read(option: str, path: Path, read: Iterable[Path]) -> None:
    """Make sure that a file that is written is none of those that are read.

    Raises:
        UsageError: where it is.
    """
    if any(_same(path, one) for one in read):
        raise UsageError(Problem(option, "must not be a file that the command reads", f"'{path}'"))


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file that can be lost, be it there already or not."""
    if is_device(one):
        return False
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)


def check_file(path: Path, option: str) -> None:
    """Make sure that a file can be written.

    Raises:
        UsageError: where it cannot, naming the option.
    """
    if path == Path("-"):
        raise UsageError(Problem(option, "must be a file, not standard output", "'-'"))
    try:
        if is_device(path):
            return
        target = path.resolve() if path.is_symlink() else path
        is_folder = target.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, a link to itself
        raise UsageError(Problem(option, "must be a name that a file can have", f"'{path}'", f": {error}")) from None
    if is_folder:
        raise UsageError(Problem(option, f"must be a file, but '{path}' is a folder"))
    _refuse_database(path, option)
    if not target.parent.is_dir():
        raise UsageError(Problem(option, f"folder '{target.parent}' does not exist"))
    if not os.access(target.parent, os.W_OK):
        raise UsageError(Problem(option, f"must be in a folder that can be written, but '{target.parent}' cannot"))


def _refuse_database(path: Path, option: str) -> None:
    """Keep a store from being written over: it holds what took hours to measure.

    Raises:
        UsageError: where the file is an SQLite database.
    """
    try:
        with path.open("rb") as file:
            is_database = file.read(len(DATABASE)) == DATABASE
    except OSError:
        return  # there is none, or what is wrong with it is told when it is written
    if is_database:
        raise UsageError(Problem(option, f"must not be a store, but '{path}' is an SQLite database"))


def form_of_file(
    option: str, path: Path, forms: Sequence[str], said: str | None = None, usual: str | None = None
) -> str:
    """The form in which a file is written: the one that was said, else the one that its name asks for.

    Args:
        option: that names the file.
        path: of the file.
        forms: in which it can be written.
        said: by another option.
        usual: where neither says anything.

    Raises:
        UsageError: where the name asks for another form, or nothing says which it is to be.
    """
    named = FORMS.get(path.suffix.lower())
    form = said or (named if named in forms else usual)
    if form is None:
        suffixes = ", ".join(suffix for suffix, one in FORMS.items() if one in forms)
        raise UsageError(Problem(option, f"must end in {suffixes} where --format is not given", f"'{path}'"))
    if named not in (None, form):
        raise UsageError(Problem(option, f"must not end in {path.suffix} where {form} is written", f"'{path}'"))
    return form
