"""Files that are written whole or not at all: at every moment a file is either as before or complete."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mnfpn_cli.errors import MnfpnError, Problem

Result = TypeVar("Result")


def write_whole(
    path: Path, content: bytes, check: Callable[[Path], Result], suffix: str = "", where: str = "`output`"
) -> Result:
    """Write a temporary file beside a path, check it, and rename it; whatever goes wrong, nothing of it is left.

    Args:
        path: where the file is to be; a link stays one: what it points to is replaced.
        content: of the file.
        check: is given the temporary file, and raises where something is wrong with it.
        suffix: of the temporary file, for readers that go by it.
        where: what named the file, for errors.

    Returns:
        What the check returned.

    Raises:
        MnfpnError: where the file cannot be written.
    """
    with _failure_explained(path, where):
        target = path.resolve()
    # Named before it is made: whenever Ctrl-C comes, it is known what to remove.
    temporary = target.parent / f".mnfpn-{secrets.token_hex(8)}{suffix}"
    try:
        with _failure_explained(path, where), temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        result = check(temporary)
        with _failure_explained(path, where):
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o777)
            temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return result


def is_device(path: Path) -> bool:
    """Whether it is a device or a pipe, ``/dev/stdout`` say, which must not be replaced, only written to."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def _failure_explained(path: Path, where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MnfpnError(Problem(where, f"'{path}' could not be written: {error.strerror}")) from error
