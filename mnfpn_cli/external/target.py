"""A network of others and its inputs, as text: where it is, what it is called with, and on what it runs."""

from __future__ import annotations

import json
import pkgutil
import re
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnfpn_cli.documents.base import Model
    from mnfpn_cli.documents.records import TensorInput

PACKAGES = ("timm", "torchvision", "transformers")
"""Those of networks whose names on PyPI are their modules'; what other modules are called there is not known."""

MOST_FILES = 2000
"""Files that are looked at."""


LIKENESS = 0.75
"""Of names of files, from which on one may have been meant for another."""


def near_module(place: str, attribute: str, missing: str) -> str:
    """What to write in place of a module, the missing part of which is ``missing``; or what to install."""
    if missing in PACKAGES:
        return f"; pip install {missing}"
    above, _, last = missing.rpartition(".")
    if above:
        beside = {f"{above}.{one.name}": one.name for one in _submodules(above)}
        near = get_close_matches(last, beside.values(), 1)
        return _meant(f"{above}.{near[0]}{place.removeprefix(missing)}:{attribute}") if near else ""
    near = get_close_matches(missing, PACKAGES, 1, cutoff=0.8)
    if near:
        return _meant(f"{near[0]}{place.removeprefix(missing)}:{attribute}")
    return near_file(f"{place.replace('.', '/')}.py", attribute)


def _submodules(package: str) -> Iterator[pkgutil.ModuleInfo]:
    return pkgutil.iter_modules(getattr(sys.modules.get(package), "__path__", ()))


def near_file(path: str, attribute: str) -> str:
    """The file of a similar name: beside it, in the current folder, or one below.

    A folder that is named must be alike too: ``bad.py`` is not near to ``foo/bar.py``.
    """
    wanted = Path(path)
    if wanted.is_file():
        return _meant(f"{path}:{attribute}")
    found = {str(one): one.name for one in _files({wanted.parent, Path()})}
    if wanted.parent != Path():
        alike = get_close_matches(str(wanted), found, len(found) or 1, LIKENESS)
        found = {one: name for one, name in found.items() if one in alike}
    near = get_close_matches(wanted.name, list(found.values()), 1, LIKENESS)
    return _meant(f"{next(one for one, name in found.items() if name == near[0])}:{attribute}") if near else ""


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            yield from islice((*folder.glob("*.py"), *folder.glob("*/*.py")), MOST_FILES)
        except OSError:  # a folder that cannot be read
            continue


def _meant(target: str) -> str:
    return f"; did you mean '{target}'?"


INPUT_TYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")
MOST_ELEMENTS = 2**40
WORDS = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a network is: an attribute of a module, or of a file; and the arguments that it is called with.

    Attributes:
        text: as it was written.
        place: the dotted name of a module, or the path of a file.
        attribute: of it; dots go down into it.
        arguments: by name.
    """

    text: str
    place: str
    attribute: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def file(self) -> Path | None:
        """The file, where it is one."""
        return Path(self.place) if self.place.endswith(".py") else None

    def record(self) -> Model:
        """Say in a document where the network is."""
        from mnfpn_cli.documents.base import Model  # pydantic, which help need not pay for

        return Model(target=self.text, arguments=dict(self.arguments))


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The shape of a tensor that a network is called with, and its element type where one was said."""

    shape: tuple[int, ...]
    dtype: str | None = None

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape))
        return f"{shape} {self.dtype}" if self.dtype else shape

    def record(self) -> TensorInput:
        """Say in a document which tensor it is."""
        from mnfpn_cli.documents.records import TensorInput  # pydantic, which help need not pay for

        return TensorInput(shape=self.shape, dtype=self.dtype)


def parse_target(text: str, arguments: Sequence[str] = ()) -> Target:
    """Read ``package.module:attribute`` or ``path/to/file.py:attribute``, and ``key=value`` for each argument.

    Raises:
        UsageError: where it is neither, or an argument has no name, or is given twice.
    """
    place, colon, attribute = text.rpartition(":")
    names = attribute.split(".")
    is_module = re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", place) and not Path(place).is_file()
    if not colon or not all(map(str.isidentifier, names)) or not (place.endswith(".py") or is_module):
        hint = near_file(f"{place}.py", attribute) if colon else ""
        must = "must be package.module:attribute or path/to/file.py:attribute"
        raise UsageError(Problem("`model`", must, f"'{text}'", hint))
    if place.endswith(".py") and not Path(place).is_file():
        raise UsageError(Problem("`model`", f"there is no file '{place}'", hint=near_file(place, attribute)))
    given = [_argument(one) for one in arguments]
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            got = " and ".join(f"'{one}'" for one in arguments if one.startswith(f"{name}="))
            raise UsageError(Problem("`model_arg`", "must give an argument once", got))
    return Target(text, place, attribute, tuple(given))


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(Problem("`model_arg`", "must be name=value", f"'{text}'"))
    return name, _value(value)


def _value(text: str) -> Any:
    """A number, true, false, none, or whatever JSON says; everything else is text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_input(text: str) -> InputSpec:
    """Read ``1x3x600x900``, or with an element type ``1x128:int64``.

    Raises:
        UsageError: where it is no shape.
    """
    sides, colon, dtype = text.strip().partition(":")
    if not re.fullmatch(r"[0-9]{1,9}([xX×][0-9]{1,9})*", sides) or (colon and dtype not in INPUT_TYPES):
        types = ", ".join(INPUT_TYPES)
        raise UsageError(Problem("`input`", f"must be a shape, as 1x3x600x900 or 1x128:int64 ({types})", f"'{text}'"))
    shape = tuple(map(int, re.split("[xX×]", sides)))
    if not 1 <= prod(shape) <= MOST_ELEMENTS:
        raise UsageError(Problem("`input`", f"must have 1 to {MOST_ELEMENTS:,} elements", f"'{text}'"))
    return InputSpec(shape, dtype or None)
