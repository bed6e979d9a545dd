"""What a side of a comparison is besides its network: an interpreter, environment variables, a commit.

Each is checked before anything is timed. No torch here.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mnfpn_cli import __version__
from mnfpn_cli.bench.worktrees import Commit, Repository, Worktree, find_repository
from mnfpn_cli.documents.compare import CommitRecord, SideEnvironment
from mnfpn_cli.documents.records import WarningRecord
from mnfpn_cli.errors import Problem, UsageError, within
from mnfpn_cli.text import ReportProgress, counted, few, first_line

SIDES = ("a", "b")
"""The sides, as parameters name them."""

Variables = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SideLaunch:
    """What the user said of a side besides its network.

    Attributes:
        python: the interpreter; None for the one that runs this.
        environment: variables that are added to those of this process.
        ref: the commit whose files are used; None for the files as they are.
    """

    python: Path | None = None
    environment: Variables = ()
    ref: str | None = None


@dataclass(frozen=True)
class PlacedSide:
    """A side whose interpreter, variables and commit are checked: how its processes are started.

    Attributes:
        label: the side in messages about its runs: A or B, and its commit if it has one.
        where: the parameter and the commit, for messages about its files; empty for the files as they are.
        python: the interpreter.
        environment: variables that are added to those of this process.
        folder: the folder that its processes work in, and that its relative paths start from.
        record: the same for the document.
    """

    label: str
    where: str
    python: Path
    environment: Variables
    folder: Path
    record: SideEnvironment

    @contextmanager
    def here(self) -> Iterator[None]:
        """Read files in the block as the side does; an error names its commit if it has one."""
        with chdir(self.folder), within(self.where) if self.where else nullcontext():
            yield


def parse_variables(where: str, texts: Sequence[str]) -> Variables:
    """Return the variables of texts as ``KEY=VALUE``.

    Raises:
        UsageError: if one is none, or names a variable again; names the parameter ``where``.
    """
    found = dict[str, str]()
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name or "\0" in text:
            raise UsageError(Problem(where, "must be KEY=VALUE, as OMP_NUM_THREADS=1", f"'{text}'"))
        if name in found:
            raise UsageError(Problem(where, f"must give {name} once", f"'{found[name]}' and '{value}'"))
        found[name] = value
    return tuple(found.items())


@contextmanager
def placed_sides(
    a: SideLaunch, b: SideLaunch, progress: ReportProgress
) -> Iterator[tuple[PlacedSide, PlacedSide, tuple[WarningRecord, ...]]]:
    """Check both sides and check out their commits; yield how to start them, and warnings about what differs.

    What was checked out is removed after the block, also after an error or Ctrl-C.

    Raises:
        UsageError: if an interpreter is none or has no compatible mnfpn, or a commit does not exist.
        MnfpnError: if git is not installed, or a commit cannot be checked out.
    """
    launches = dict(zip(SIDES, (a, b), strict=True))
    pythons = {name: _python(f"`{name}_python`", one.python) for name, one in launches.items()}
    commits = {name: _commit(f"`{name}_ref`", one.ref) for name, one in launches.items() if one.ref is not None}
    with ExitStack() as stack:
        worktrees = dict[str, Worktree]()
        for name, (repository, commit) in commits.items():
            progress(f"checking out {commit}", 0.0)
            worktrees[name] = stack.enter_context(repository.checked_out(commit, f"`{name}_ref`"))
        progress("checking both sides", 0.0)
        seen = {
            name: _look(f"`{name}_python`", pythons[name], one.environment, _folder(worktrees.get(name)))
            for name, one in launches.items()
        }
        of_a, of_b = (
            _place(name, launches[name], pythons[name], worktrees.get(name), seen[name], seen[other])
            for name, other in (SIDES, SIDES[::-1])
        )
        yield of_a, of_b, (*_differences(of_a.record, of_b.record), *_commit_warnings(worktrees))


def _commit(where: str, ref: str) -> tuple[Repository, Commit]:
    repository = find_repository(where)
    return repository, repository.commit(ref, where)


def _folder(worktree: Worktree | None) -> Path:
    return worktree.folder if worktree else Path.cwd()


def _python(where: str, given: Path | None) -> Path:
    """Return the path of an interpreter, which may be given as a command, as python3.12.

    Raises:
        UsageError: if there is no such file, or it cannot be run.
    """
    if given is None:
        return Path(sys.executable)
    found = shutil.which(given) if given.parent == Path() and not given.exists() else None
    path = Path(found or given).absolute()  # not resolved: a virtual environment's interpreter is a link
    if path.is_dir():
        inside = given / "bin" / "python"
        hint = f"; did you mean '{inside}'?" if inside.is_file() else ""
        raise UsageError(Problem(where, "must be a Python interpreter, but it is a folder", f"'{given}'", hint))
    if not path.is_file():
        raise UsageError(Problem(where, "must be a Python interpreter, but there is no such file", f"'{given}'"))
    if not os.access(path, os.X_OK):
        raise UsageError(Problem(where, "must be a Python interpreter, but it cannot be run", f"'{given}'"))
    return path


LOOK_S = 60
"""How long an interpreter may take to say what it has, in seconds."""

LOOK = """
import json, os, sys
found = {"version": sys.version_info[:3], "path": sys.path, "prefix": sys.prefix, "packages": {}}
for finder in sys.meta_path:  # those of setuptools for packages that are installed in editable mode
    module = sys.modules.get(getattr(finder, "__module__", None))
    found["path"] += [os.path.dirname(path) for path in getattr(module, "MAPPING", {}).values()]
try:
    from importlib import metadata, util
    import mnfpn_cli
    found["mnfpn"] = mnfpn_cli.__version__
    found["lacks"] = [name for name in ("torch", "pydantic", "psutil") if util.find_spec(name) is None]
    for one in metadata.distributions():
        found["packages"].setdefault(str(one.metadata["Name"]), one.version)
except ImportError:
    pass
print("\\n" + json.dumps(found))
"""
"""Prints what an interpreter is and has; any version of Python can run it."""

LEAST_PYTHON = (3, 11)
"""The oldest Python that mnfpn runs on, as in pyproject.toml."""


@dataclass(frozen=True)
class Seen:
    """What an interpreter said of itself: its version, that of mnfpn, its packages, where it imports from."""

    version: str
    mnfpn: str
    packages: Mapping[str, str]
    path: Sequence[str]
    prefix: str


def _look(where: str, python: Path, environment: Variables, folder: Path) -> Seen:
    """Ask an interpreter what it has.

    Raises:
        UsageError: if it is no Python, or has no compatible mnfpn.
    """
    try:
        done = subprocess.run(
            [python, "-c", LOOK],
            cwd=folder,
            env={**os.environ, **dict(environment), "PYTHONSAFEPATH": "1"},  # as its runs have it: -P
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LOOK_S,
            check=False,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        numbers = tuple(found["version"])
    except subprocess.TimeoutExpired:
        raise UsageError(Problem(where, f"must be a Python interpreter, but gave no answer in {LOOK_S} s")) from None
    except OSError as error:
        rule = f"must be a Python interpreter, but it cannot be run: {first_line(error)}"
        raise UsageError(Problem(where, rule, f"'{python}'")) from None
    except (ValueError, LookupError, TypeError):
        rule = "must be a Python interpreter, but it is none" + " with these variables" * bool(environment)
        raise UsageError(Problem(where, rule, f"'{python}'")) from None
    version, mnfpn = ".".join(map(str, numbers)), found.get("mnfpn")
    if numbers < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        raise UsageError(Problem(where, f"must be Python {least} or newer", f"'{python}', which is {version}"))
    install = f"; install it: {python} -m pip install mnfpn=={__version__}"
    if mnfpn is None:
        raise UsageError(Problem(where, "must have mnfpn, but has not", f"'{python}' (Python {version})", install))
    if _major(mnfpn) != _major(__version__):
        rule = f"must have mnfpn {_major(__version__)}.x"
        raise UsageError(Problem(where, rule, f"'{python}' with {mnfpn}", install))
    if found["lacks"]:
        rule = f"must have all that mnfpn needs, but has no {', no '.join(found['lacks'])}"
        raise UsageError(Problem(where, rule, f"'{python}'", install))
    packages = {name.lower().replace("_", "-"): one for name, one in found["packages"].items()}
    return Seen(version, mnfpn, packages, found["path"], found["prefix"])


def _major(version: str) -> str:
    """Return the part of a version that changes with what is incompatible: below 1.0, also the second number."""
    major, _, rest = version.partition(".")
    return f"{major}.{rest.partition('.')[0]}" if major == "0" else major


def _place(
    name: str, launch: SideLaunch, python: Path, worktree: Worktree | None, own: Seen, other: Seen
) -> PlacedSide:
    commit = worktree.commit if worktree else None
    versions = {package: own.packages.get(package) for package in sorted({*own.packages, *other.packages})}
    record = SideEnvironment(
        python=str(launch.python or python),
        python_version=own.version,
        torch=own.packages.get("torch"),
        mnfpn=own.mnfpn,
        variables=dict(launch.environment),
        commit=CommitRecord(**vars(commit)) if commit else None,
        other_packages={
            package: version
            for package, version in versions.items()
            if version != other.packages.get(package) and package not in ("mnfpn", "torch")
        },
    )
    environment = _importing_from(worktree, own, launch.environment) if worktree else launch.environment
    label = f"{name.upper()} at {commit}" if commit else name.upper()
    where = f"`{name}_ref` {commit}" if commit else ""
    return PlacedSide(label, where, python, environment, _folder(worktree), record)


def _importing_from(worktree: Worktree, seen: Seen, environment: Variables) -> Variables:
    """Return the variables with which Python imports the user's own packages from a commit.

    A package that is installed in editable mode lies in the working tree, and would be the same on both sides.
    """
    prefix = Path(seen.prefix).resolve()
    # A virtual environment may lie in the working tree, and the working tree in one.
    own = prefix if prefix.is_relative_to(worktree.repository.top) else None
    paths = [path for path in map(Path, seen.path) if path.is_absolute()]
    moved = [worktree.moved(path) for path in paths if not (own and path.resolve().is_relative_to(own))]
    first = [str(path) for path in moved if path]
    if not first:
        return environment
    given = dict(environment)
    before = given.pop("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    return (*given.items(), ("PYTHONPATH", os.pathsep.join([*dict.fromkeys(first), *([before] if before else [])])))


MOST_PACKAGES = 6
"""The most packages that a warning lists; the document has all of them."""


def _differences(a: SideEnvironment, b: SideEnvironment) -> Iterator[WarningRecord]:
    """Yield a warning for each version in which the sides differ."""
    for kind, of_a, of_b in (
        ("Python", a.python_version, b.python_version),
        ("torch", a.torch, b.torch),
        ("mnfpn", a.mnfpn, b.mnfpn),
    ):
        if of_a != of_b:
            helps = "the same mnfpn on both sides: it is what measures" if kind == "mnfpn" else ""
            cause = f"{kind} differs: {of_a or 'none'} against {of_b or 'none'}"
            yield WarningRecord(kind=f"other_{kind.lower()}", cause=cause, helps=helps)
    others = [
        f"{package} {version or 'none'} against {b.other_packages[package] or 'none'}"
        for package, version in a.other_packages.items()
    ]
    if others:
        number = counted(len(others), "other package")
        cause = f"{number} differ{'s' * (len(others) == 1)}: {few(others, MOST_PACKAGES)}"
        yield WarningRecord(kind="other_packages", cause=cause, helps="")


def _commit_warnings(worktrees: Mapping[str, Worktree]) -> Iterator[WarningRecord]:
    commits = [one.commit for one in worktrees.values()]
    if len(commits) == len(SIDES) and commits[0].hash == commits[1].hash:
        cause = f"A and B are the same commit: {commits[0]} and {commits[1]}"
        yield WarningRecord(kind="same_commit", cause=cause, helps="")
    for name, worktree in worktrees.items():
        if worktree.leaves_changes_out:
            yield WarningRecord(
                kind="uncommitted",
                cause=f"{name.upper()} is {worktree.commit}: changes that are not committed are not compared",
                helps=f"no `{name}_ref`, where they are to be compared",
            )
        if worktree.has_submodules:
            cause = f"{name.upper()} is {worktree.commit}: its submodules are not checked out"
            yield WarningRecord(
                kind="submodules",
                cause=cause,
                helps="a clone of each commit, with its submodules, and mnfpn bench in both",
            )
