"""What a project says of its audits: the table ``[tool.mnfpn.audit]`` of its ``pyproject.toml``."""

import os
import tomllib
from pathlib import Path
from typing import Any

from mnfpn_cli.audit.allow import Allowance, parse_allowances
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.text import did_you_mean

FILE = "pyproject.toml"


def project_allowances(folder: Path = Path()) -> tuple[Allowance, ...]:
    """Return what the nearest ``pyproject.toml`` at or above a folder allows; nothing where it has no such table.

    ``folder``: the current one where it is not given.

    Raises:
        UsageError: where the file is no TOML, or its table has an unknown key or a wrong value.
        MnfpnError: where the file cannot be read.
    """
    try:
        here = folder.absolute()
        file = next((one for above in (here, *here.parents) if (one := above / FILE).is_file()), None)
    except OSError:  # the folder is gone, or one above it cannot be searched
        return ()
    if file is None:
        return ()
    name = os.path.relpath(file, here)
    mnfpn = _inner(_inner(_read(file, name), "tool", f"{name}: tool"), "mnfpn", f"{name}: tool.mnfpn")
    _check_keys(mnfpn, "audit", f"{name}: tool.mnfpn")
    audit = _inner(mnfpn, "audit", f"{name}: tool.mnfpn.audit")
    _check_keys(audit, "allow", f"{name}: tool.mnfpn.audit")
    return parse_allowances(audit.get("allow", []), f"{name}: tool.mnfpn.audit.allow")


def _read(file: Path, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MnfpnError(Problem(name, f"could not be read: {error.strerror}")) from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise UsageError(Problem(name, f"must be TOML: {error}")) from None


def _inner(table: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """Return a table in a table, empty where it is not there.

    Raises:
        UsageError: where the value is no table.
    """
    inner = table.get(key, {})
    if not isinstance(inner, dict):
        raise UsageError(Problem(where, "must be a table", f"{inner!r:.60}"))
    return inner


def _check_keys(table: dict[str, Any], known: str, where: str) -> None:
    """Check that a table has no key but the known one.

    Raises:
        UsageError: where it has.
    """
    for key in table:
        if key != known:
            hint = did_you_mean(key, [known]) or f"; there is only {known}"
            raise UsageError(Problem(f"{where}.{key}", "unknown key", hint=hint))
