"""Find the line of source that a finding is about: where the class begins that holds what is concerned."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from mnfpn_cli.documents.audit import Finding, FindingKind, SourceLine

OF_MODULES: tuple[FindingKind, ...] = ("unregistered", "shared", "never_called", "without_gradient")
"""The kinds of findings whose paths lead to modules or parameters; all others are of the whole network."""

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of packages that others wrote, as in an environment inside the current folder."""


@dataclass(frozen=True)
class _Sources:
    """The lines at which classes begin, in files under a folder; each class is looked up once."""

    folder: Path
    lines: dict[type, SourceLine | None] = field(default_factory=dict)

    def line_of(self, kind: type) -> SourceLine | None:
        if kind not in self.lines:
            self.lines[kind] = self._find(kind)
        return self.lines[kind]

    def _find(self, kind: type) -> SourceLine | None:
        try:
            path = Path(inspect.getsourcefile(kind) or "").resolve()
            if not path.is_file() or not path.is_relative_to(self.folder) or INSTALLED & set(path.parts):
                return None
            return SourceLine(file=path.relative_to(self.folder).as_posix(), line=inspect.getsourcelines(kind)[1])
        except (OSError, TypeError, ValueError):  # no source, as of a class typed at a prompt
            return None


def located(network: nn.Module, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with their locations, where the class is in a file under the current folder."""
    every = tuple(findings)
    if not every:
        return ()
    sources = _Sources(Path.cwd().resolve())
    return tuple(one.model_copy(update={"location": _location(network, one, sources)}) for one in every)


def _location(network: nn.Module, finding: Finding, sources: _Sources) -> SourceLine | None:
    """Return the line of the innermost class of the user around the first path of a finding."""
    first = finding.paths[0] if finding.kind in OF_MODULES else ""
    lines = (sources.line_of(type(module)) for module in _holders(network, first))
    return next((line for line in lines if line is not None), None)


def _holders(network: nn.Module, path: str) -> list[nn.Module]:
    """Return the modules around what a path or an expression leads to, as ``neck.conv`` or ``self.smooth[2]``.

    The innermost comes first. What the path leads to is not among them: its holder is where it is registered and used.
    """
    around = [network]
    *names, _ = re.findall(r"[^.\[\]'\"]+", path.removeprefix("self.")) or [""]
    for name in names:
        inner = around[0]._modules.get(name)
        if inner is None:
            break
        around.insert(0, inner)
    return around
