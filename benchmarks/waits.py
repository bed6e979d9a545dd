"""What each part of the default network waits for beyond its floor, by runtime; and what removing a cause then brings.

    python benchmarks/waits.py parts --size 600x900
    python benchmarks/waits.py removed --size 600x900

`parts`: for each part and runtime, how much of its time the floor is, and the largest share beyond it.

`removed`: what two shares of eager promise, and what a pass saves: page faults with kept memory; with `--calls`, calls
with a batch of 8, for each image.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from mnfpn_cli.documents.bench import PartWaits

FLOOR = ("compute_s", "memory_s")
BEYOND = tuple(name for name in PartWaits.model_fields if name.endswith("_s") and name not in FLOOR)

LEAST_SHARE = 0.005
"""The least share of a part's time that is printed."""


def profiles(size: str, *options: str) -> list[dict[str, Any]]:
    """The profiles of a benchmark."""
    given = ("--size", size, "--by-layer", "--roofline", "--max-time", "10", "--json", "--quiet", *options)
    done = subprocess.run([sys.executable, "-m", "mnfpn_cli", "bench", *given], stdout=subprocess.PIPE, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["profiles"]
    return found


def cell(one: Mapping[str, Any]) -> str:
    """The floor and the largest share beyond it, in per cent of the time."""
    if not one["seconds"]:
        return ""
    floor = sum(one[name] for name in FLOOR) / one["seconds"]
    most = max(BEYOND, key=lambda name: one[name] or 0.0)
    share = (one[most] or 0.0) / one["seconds"]
    if share < LEAST_SHARE:
        return f"{floor:4.0%}"
    return f"{floor:4.0%} {most.removesuffix('_s').replace('page_', ''):8} {share:4.0%}"


def parts(options: argparse.Namespace) -> None:
    """Print a line for each part, a column for each runtime."""
    made = profiles(options.size, "--runtime", options.runtimes)
    names = dict.fromkeys(wait["part"] for one in made for wait in one["waits"] if wait["part"] != "rest")
    print(f"{'':10}" + "".join(f"  {one['runtime']:18}" for one in made))
    for name in names:
        by_runtime = [next((wait for wait in one["waits"] if wait["part"] == name), None) for one in made]
        print(f"{name:10}" + "".join(f"  {cell(wait) if wait else '':18}" for wait in by_runtime))


def total(waits: Sequence[Mapping[str, Any]], name: str) -> float:
    """The sum of a share over the parts."""
    return sum(one[name] or 0.0 for one in waits)


def removed(options: argparse.Namespace) -> None:
    """Print what shares promise and what a pass then saves, in turn so many times, and the medians.

    Times are those of passes between the ones whose layers were timed: page faults depend on what a process did before.
    """
    found = defaultdict[str, list[float]](list)
    for _ in range(options.count):
        (before,) = profiles(options.size)
        (kept,) = profiles(options.size, "--allocator", "keep")
        took, without = before["undisturbed_s"], kept["undisturbed_s"]
        found["a pass"].append(took)
        found["page faults"].append(total(before["waits"], "page_faults_s"))
        found["kept memory saves"].append(took - without)
        if options.calls:
            (several,) = profiles(options.size, "--batch", "8", "--allocator", "keep")
            found["calls"].append(total(kept["waits"], "calls_s"))
            found["a batch of 8 saves, an image"].append(without - several["undisturbed_s"] / 8)
        print("; ".join(f"{name} {values[-1] * 1e3:.1f} ms" for name, values in found.items()), flush=True)
    print("median: " + "; ".join(f"{name} {median(values) * 1e3:.1f} ms" for name, values in found.items()))


def main() -> None:
    """Print what parts wait for, or what removing a cause brings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(required=True)
    of_parts = modes.add_parser("parts")
    of_parts.set_defaults(run=parts)
    of_parts.add_argument("--size", default="600x900")
    of_parts.add_argument("--runtimes", default="eager,fused,onnxruntime,openvino")
    of_removed = modes.add_parser("removed")
    of_removed.set_defaults(run=removed)
    of_removed.add_argument("--size", default="600x900")
    of_removed.add_argument("--count", type=int, default=3)
    of_removed.add_argument("--calls", action="store_true")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
