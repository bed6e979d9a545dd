"""Audit the networks of packages on PyPI; say which are accused, and which accusations were checked by hand.

Each network is built with random weights and audited, in this process, within a limit of time. A line of JSON for each
goes to a file, at once: what is in it already, of the same version, is not audited again, unless it failed. Verdicts,
made by reading the sources of the packages, are in ``real_networks.json`` beside this file.

    HF_HUB_OFFLINE=1 python benchmarks/real_networks.py --output real_networks.jsonl
"""

import argparse
import fnmatch
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmarks.real_packages import PACKAGES, Network
from mnfpn_cli.audit.audit import inspect_network
from mnfpn_cli.documents.audit import Finding
from tests.conftest import import_torchvision

VERDICTS = Path(__file__).with_suffix(".json")


class Verdict(BaseModel):
    """What reading the source showed of a kind of findings.

    Attributes:
        package: the package.
        network: a pattern of the names of networks.
        kind: the kind of finding.
        path: a pattern that each path of the finding matches.
        verdict: ``right`` for a mistake, ``meant`` for what is so and is so on purpose, ``wrong`` for our mistake.
        source: where to read it, as ``file.py:12``.
        reason: what is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    network: str = "*"
    kind: str = "*"
    path: str = "*"
    verdict: Literal["right", "meant", "wrong"]
    source: str
    reason: str

    def fits(self, package: str, network: str, finding: Finding) -> bool:
        """Return whether it speaks of a finding."""
        return (
            self.package == package
            and self.kind in ("*", finding.kind)
            and fnmatch.fnmatchcase(network, self.network)
            and all(fnmatch.fnmatchcase(path, self.path) for path in finding.paths)
        )


class Result(BaseModel):
    """What the audit of one network came to; ``error``: why it could not run, empty where it ran."""

    package: str
    version: str
    network: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    mode: str = ""
    seconds: float = 0
    error: str = ""


class OutOfTimeError(BaseException):
    """A network took too long; not an `Exception`, so that no code of a network catches it."""


def audited(package: str, network: Network, limit: int) -> Result:
    """Build a network and audit it within a limit of seconds."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError

    result = Result(package=package, version=version(package), network=network.name)
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        module, inputs = network.make()
        start = time.perf_counter()
        audit = inspect_network(module.train(), [inputs]).audit
        seconds = time.perf_counter() - start
    except OutOfTimeError:
        return result.model_copy(update={"error": f"more than {limit} s"})
    except Exception as error:  # noqa: BLE001 - whatever it fails with is what is reported
        return result.model_copy(update={"error": f"{type(error).__name__}: {error}"[:400]})
    finally:
        signal.alarm(0)
    assert audit is not None
    found = {"findings": audit.findings, "notes": audit.notes, "mode": audit.mode, "seconds": round(seconds, 3)}
    return result.model_copy(update=found)


def networks_of(package: str) -> Iterator[Network]:
    """Yield the networks of a package; nothing where it is not installed."""
    try:
        version(package)
        yield from PACKAGES[package]()
    except (PackageNotFoundError, ImportError) as error:
        print(f"{package}: {error}", file=sys.stderr)


def read_results(file: Path) -> dict[tuple[str, str, str], list[Result]]:
    """Return the results of each network in a file, the last of which counts."""
    lines = file.read_text().splitlines() if file.exists() else []
    results: dict[tuple[str, str, str], list[Result]] = {}
    for result in map(Result.model_validate_json, lines):
        results.setdefault((result.package, result.version, result.network), []).append(result)
    return results


def read_verdicts() -> tuple[Verdict, ...]:
    """Return the verdicts that were made by hand."""
    return TypeAdapter(tuple[Verdict, ...]).validate_python(json.loads(VERDICTS.read_text()))


def standings(result: Result, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Return the verdict on each finding of a result, ``new`` where there is none; a miscount is the sum of others."""
    return tuple(
        next((each.verdict for each in verdicts if each.fits(result.package, result.network, finding)), "new")
        for finding in result.findings
        if finding.kind != "miscounted"
    )


def standing(history: Sequence[Result], verdicts: Sequence[Verdict]) -> str:
    """Return what is thought of a network: a column of the table, the most serious of its findings'."""
    last = history[-1]
    found = standings(last, verdicts)
    if last.error:
        return "failed"
    return next((each for each in ("new", "wrong", "right", "meant") if each in found), "clean")


def print_table(histories: Sequence[Sequence[Result]], verdicts: Sequence[Verdict]) -> None:
    """Print how many networks of each package are accused, as Markdown; *mended*: that were once, by our mistake."""
    columns = ("clean", "right", "meant", "wrong", "new", "failed")
    print(f"| package | networks | {' | '.join(columns)} | mended | median s |")
    print("|---" * (len(columns) + 4) + "|")
    for package in (*PACKAGES, ""):
        own = [history for history in histories if package in ("", history[-1].package)]
        if own:
            counts = Counter(standing(history, verdicts) for history in own)
            counts["mended"] = sum(
                "wrong" not in standings(history[-1], verdicts)
                and any("wrong" in standings(result, verdicts) for result in history)
                for history in own
            )
            times = [history[-1].seconds for history in own if not history[-1].error] or [float("nan")]
            name = f"{package} {own[-1][-1].version}" if package else "all"
            cells = " | ".join(str(counts[each]) for each in (*columns, "mended"))
            print(f"| {name} | {len(own)} | {cells} | {median(times):.2f} |")


def print_accusations(results: Sequence[Result], verdicts: Sequence[Verdict]) -> None:
    """Print each verdict with the networks that it speaks of, what is new, then why networks could not run."""
    for verdict in verdicts:
        names = [
            result.network
            for result in results
            if any(verdict.fits(result.package, result.network, finding) for finding in result.findings)
        ]
        if names:
            print(f"{verdict.verdict}: {verdict.package}, {', '.join(names)}: {verdict.kind} {verdict.path}")
            print(f"    {verdict.reason} ({verdict.source})")
    for result in results:
        for finding in result.findings:
            known = any(verdict.fits(result.package, result.network, finding) for verdict in verdicts)
            if not known and finding.kind != "miscounted":
                paths = ", ".join(finding.paths[:4]) + (f" … ({len(finding.paths)})" if len(finding.paths) > 4 else "")
                print(f"new: {result.package}, {result.network}: {finding.kind} {paths}: {finding.message}")
    for result in results:
        if result.error:
            print(f"failed: {result.package}, {result.network}: {result.error.partition(chr(10))[0]}")


def main() -> None:
    """Audit what is not in the file yet, then print the table and the accusations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("real_networks.jsonl"), help="a line of JSON a network")
    parser.add_argument("--package", action="append", choices=list(PACKAGES), help="all that are installed, if none")
    parser.add_argument("--network", default="*", help="a pattern of names; what it matches is audited again")
    parser.add_argument("--limit", type=int, default=120, help="seconds for one network")
    parser.add_argument("--report", action="store_true", help="print what is in the file, and audit nothing")
    options = parser.parse_args()
    import_torchvision()
    done = read_results(options.output)
    for package in () if options.report else options.package or PACKAGES:
        for network in networks_of(package):
            key = (package, version(package), network.name)
            if not fnmatch.fnmatchcase(network.name, options.network) or (
                options.network == "*" and key in done and not done[key][-1].error
            ):
                continue
            result = audited(package, network, options.limit)
            done.setdefault(key, []).append(result)
            with options.output.open("a") as lines:
                print(result.model_dump_json(), file=lines)
            kinds = ", ".join(dict.fromkeys(finding.kind for finding in result.findings))
            print(f"{package} {network.name}: {result.error or kinds or 'clean'}", file=sys.stderr, flush=True)
    verdicts = read_verdicts()
    print_table(list(done.values()), verdicts)
    print_accusations([history[-1] for history in done.values()], verdicts)


if __name__ == "__main__":
    main()
