"""What may have been meant where `--model` names a module or a file that is not there."""

import pkgutil
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

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
