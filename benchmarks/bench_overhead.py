"""What `mnfpn bench` takes besides the passes it times: import, building, counting, printing. Target: under 6 s.

The time of the passes, warm-up included, is taken from the result itself; runs of `import torch` in between show how
fast the machine was.

    python benchmarks/bench_overhead.py --rounds 5
"""

import argparse
import json
import subprocess
import sys
import time
from statistics import median

BENCH = [sys.executable, "-m", "mnfpn_cli", "bench", "--device", "cpu", "--warmup", "0", "--passes", "3", "--json"]
TORCH = [sys.executable, "-c", "import torch"]


def run(command: list[str]) -> tuple[float, str]:
    """Seconds that a command took, and what it printed."""
    start = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - start, printed


def main() -> None:
    """Run both commands in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    overheads, imports = [], []
    for _ in range(parser.parse_args().rounds):
        wall, printed = run(BENCH)
        overheads.append(wall - sum(json.loads(printed)["runs"][0]["latency_s"]["samples"]))
        imports.append(run(TORCH)[0])
    print(f"mnfpn bench, all but the timed passes  {median(overheads):5.2f} s (target: under 6 s)")
    print(
        f"  least {min(overheads):.2f} s, most {max(overheads):.2f} s; `import torch` beside it {median(imports):.2f} s"
    )


if __name__ == "__main__":
    main()
