"""Measure the page of a report of 2,000 made-up runs: its size, the time to make it, and the time to load and draw it.

The page is opened from disk in headless Chromium, each time in a new context. The time of drawing ends with the second
frame after all scripts have run, in the browser's own clock, which begins with the navigation.

    python benchmarks/page.py
"""

import argparse
import random
import tempfile
import time
from pathlib import Path
from secrets import token_hex
from statistics import median
from typing import Any

from mnfpn_cli.cli.words import as_options
from mnfpn_cli.documents.report import PageDocument
from mnfpn_cli.report.page.page import report_page
from mnfpn_cli.space.frontier import shuffled, spread
from mnfpn_cli.space.planned import Budget, Planned, plan_space
from mnfpn_cli.space.read import axis_of, merge_axes
from mnfpn_cli.space.runs import run_key
from mnfpn_cli.store.rows import StoredResult, StoredRun
from mnfpn_cli.sweep.objective import choose_objective
from mnfpn_cli.sweep.report import page_document, report_document
from tests.report.browser import browser, opened
from tests.sweep.recorded import made_up

MOST_BYTES, MOST_S = 3e6, 2.0
MACHINE = "A CPU, 2 cores"
RUNTIMES = {"eager": 1.0, "channels-last": 0.7, "fused": 0.45, "onnxruntime": 0.4}
"""The runtimes, and their times over that of the first."""

DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def planned_runs(count: int) -> list[Planned]:
    """So many runs of a space of 4,000, as people state one."""
    axes: dict[str, list[Any]] = {
        "width_mult": [round(0.3 + 0.1 * step, 2) for step in range(10)],
        "pyramid.channels": [32, 64, 96, 128, 160, 192, 224, 256, 320, 384],
        "pyramid.smooth": ["conv", "separable"],
        "size": ["192x192", "224x224", "320x320", "480x640", "600x900"],
        "runtime": list(RUNTIMES),
        "device": ["cpu"],
    }
    space = merge_axes([axis_of(key, key, values) for key, values in axes.items()])
    return shuffled(spread(plan_space(space, Budget()).runs, count))


def measured(index: int, planned: Planned, chance: random.Random) -> StoredRun:
    """A run with a made-up result, whose time is about proportional to its MACs."""
    runtime = planned.run.execution.runtime
    mean = RUNTIMES[runtime] * (0.002 + planned.figures.macs / 8e10) * chance.lognormvariate(0, 0.1)
    samples = [mean * chance.lognormvariate(0, 0.03) for _ in range(30)]
    moment = f"2026-11-21T{10 + index // 3600:02}:{index // 60 % 60:02}:{index % 60:02}.000+00:00"
    found = made_up(samples, runtime=runtime, device="cpu")
    result = StoredResult(token_hex(16), 1, "done", "here", moment, moment, None, found)
    return StoredRun(run_key(planned.run, MACHINE), planned, MACHINE, "done", result)


def document(count: int) -> PageDocument:
    """The document of the page."""
    chance = random.Random(0)
    runs = [measured(index, one, chance) for index, one in enumerate(planned_runs(count))]
    report = report_document(runs, [], choose_objective(runs, None))
    return page_document(report, "runs.db", runs, [])


def main() -> None:
    """Measure the page, and print what came out beside the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="keep the page in this file")
    arguments = parser.parse_args()
    page = document(arguments.runs)
    start = time.perf_counter()
    text = report_page(page, as_options)
    made = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder, browser() as started:
        file = arguments.output or Path(folder) / "report.html"
        file.write_text(text, encoding="utf-8")
        size = file.stat().st_size
        drawn = []
        for _ in range(arguments.rounds):
            with opened(started, file.absolute()) as watched:
                drawn.append(float(watched.page.evaluate(DRAWN)) / 1e3)
    met = {True: "met", False: "MISSED"}
    print(f"runs {len(page.runs):,}, made in {made:.2f} s")
    print(f"size   {size / 1e6:6.2f} MB  < {MOST_BYTES / 1e6:g} MB: {met[size < MOST_BYTES]}")
    print(
        f"drawn  {median(drawn):6.2f} s   < {MOST_S:g} s: {met[median(drawn) < MOST_S]}"
        f"  ({min(drawn):.2f} to {max(drawn):.2f} s)"
    )


if __name__ == "__main__":
    main()
