"""Parse what names an external network (`module:attribute`), its arguments, and the tensors that it takes."""

from __future__ import annotations

import json
import pkgutil
import re
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnfpn_cli.errors import Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from mnfpn_cli.documents.base import Model
    from mnfpn_cli.documents.records import TensorInput

PACKAGES = ("timm", "torchvision", "transformers")
"""Packages of networks that have the same name on PyPI as in Python."""

MOST_FILES = 2000
"""Files of a folder that are compared with a mistyped name."""

LIKENESS = 0.75
"""The least similarity of two file names, from 0 to 1, at which one is suggested for the other."""


def near_module(source: str, attribute: str, missing: str) -> str:
    """Return a hint for a module that is not there: a similar one, or what to install.

    ``source``: the module as it was written. ``missing``: the first part of it that does not exist.
    """
    if missing in PACKAGES:
        return f"; pip install {missing}"
    above, _, last = missing.rpartition(".")
    if above:
        near = get_close_matches(last, [module.name for module in _submodules(above)], 1)
        return _meant(f"{above}.{near[0]}{source.removeprefix(missing)}:{attribute}") if near else ""
    near = get_close_matches(missing, PACKAGES, 1, cutoff=0.8)
    if near:
        return _meant(f"{near[0]}{source.removeprefix(missing)}:{attribute}")
    return near_file(f"{source.replace('.', '/')}.py", attribute)


def _submodules(package: str) -> Iterator[pkgutil.ModuleInfo]:
    return pkgutil.iter_modules(getattr(sys.modules.get(package), "__path__", ()))


def near_file(path: str, attribute: str) -> str:
    """Return a hint that names a file of a similar name: in its folder, in the current one, or one level below.

    A folder in the path must be similar too: ``bad.py`` is not suggested for ``foo/bar.py``.
    """
    wanted = Path(path)
    if wanted.is_file():
        return _meant(f"{path}:{attribute}")
    names = {str(file): file.name for file in _files({wanted.parent, Path()})}
    if wanted.parent != Path():
        similar = get_close_matches(str(wanted), names, len(names) or 1, LIKENESS)
        names = {file: name for file, name in names.items() if file in similar}
    near = get_close_matches(wanted.name, list(names.values()), 1, LIKENESS)
    return _meant(f"{next(file for file, name in names.items() if name == near[0])}:{attribute}") if near else ""


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
    """What names an external network: an attribute of a module or file, and the arguments to call it with.

    Attributes:
        text: the target as it was written.
        source: the dotted name of a module, or the path of a ``.py`` file.
        attribute: the attribute of the source; it may have dots, as ``Zoo.small``.
        arguments: names and values.
    """

    text: str
    source: str
    attribute: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def file(self) -> Path | None:
        """The path, where the source is a file."""
        return Path(self.source) if self.source.endswith(".py") else None

    def record(self) -> Model:
        """Return the target as documents hold it."""
        from mnfpn_cli.documents.base import Model  # imports pydantic, which `--help` must not pay for

        return Model(target=self.text, arguments=dict(self.arguments))


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A tensor that a network takes.

    Attributes:
        shape: its shape.
        dtype: its dtype; None where none was given.
        value: the tensor itself, where one was given; else a pass takes random values.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    value: Tensor | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape))
        return f"{shape} {self.dtype}" if self.dtype else shape

    def record(self) -> TensorInput:
        """Return the tensor as documents hold it."""
        from mnfpn_cli.documents.records import TensorInput  # imports pydantic, which `--help` must not pay for

        return TensorInput(shape=self.shape, dtype=self.dtype)


def parse_target(text: str, arguments: Sequence[str] = ()) -> Target:
    """Read ``package.module:attribute`` or ``path/to/file.py:attribute``, and ``key=value`` for each argument.

    Raises:
        UsageError: where the text is neither, no such file exists, or an argument has no name or is repeated.
    """
    source, colon, attribute = text.rpartition(":")
    names = attribute.split(".")
    is_module = re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", source) and not Path(source).is_file()
    if not colon or not all(map(str.isidentifier, names)) or not (source.endswith(".py") or is_module):
        hint = near_file(f"{source}.py", attribute) if colon else ""
        from mnfpn_cli.settings.files import preset_names  # which needs pydantic

        if text in preset_names():
            hint = "; that is a `preset`"
        must = "must be package.module:attribute or path/to/file.py:attribute"
        raise UsageError(Problem("`model`", must, f"'{text}'", hint))
    if source.endswith(".py") and not Path(source).is_file():
        raise UsageError(Problem("`model`", f"there is no file '{source}'", hint=near_file(source, attribute)))
    given = [_argument(one) for one in arguments]
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            got = " and ".join(f"'{one}'" for one in arguments if one.startswith(f"{name}="))
            raise UsageError(Problem("`model_arg`", "must give each argument once", got))
    return Target(text, source, attribute, tuple(given))


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(Problem("`model_arg`", "must be name=value", f"'{text}'"))
    return name, _value(value)


def _value(text: str) -> Any:
    """Return the value of an argument: true, false, none, or JSON; any other text as it is."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_pass(text: str) -> tuple[InputSpec, ...]:
    """Read the inputs of a pass, separated by commas: ``1x3x600x900,1x4:int64``.

    Raises:
        UsageError: where one of them is not a shape.
    """
    return tuple(map(parse_input, text.split(",")))


def parse_input(text: str) -> InputSpec:
    """Read ``1x3x600x900``, or with a dtype ``1x128:int64``.

    Raises:
        UsageError: where the text is not a shape.
    """
    sides, colon, dtype = text.strip().partition(":")
    if not re.fullmatch(r"[0-9]{1,9}([xX×][0-9]{1,9})*", sides) or (colon and dtype not in INPUT_TYPES):
        types = ", ".join(INPUT_TYPES)
        raise UsageError(Problem("`input`", f"must be a shape, as 1x3x600x900 or 1x128:int64 ({types})", f"'{text}'"))
    shape = tuple(map(int, re.split("[xX×]", sides)))
    if not 1 <= prod(shape) <= MOST_ELEMENTS:
        raise UsageError(Problem("`input`", f"must have 1 to {MOST_ELEMENTS:,} elements", f"'{text}'"))
    return InputSpec(shape, dtype or None)
