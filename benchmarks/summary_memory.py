"""Peak memory of `mnfpn summary` at a small and a large size, in turn: it must not grow with the image.

python benchmarks/summary_memory.py --rounds 5
"""

import argparse
import os
import subprocess
import sys
from statistics import median

SIZES = ("64x64", "2048x2048")


def peak_bytes(size: str) -> int:
    """Peak resident memory of one run, as the operating system accounts for the finished process (Linux)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mnfpn_cli", "summary", "--size", size], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"mnfpn summary --size {size} failed")
    return usage.ru_maxrss * 1024


def main() -> None:
    """Run the sizes in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    peaks: dict[str, list[int]] = {size: [] for size in SIZES}
    for _ in range(parser.parse_args().rounds):
        for size in SIZES:
            peaks[size].append(peak_bytes(size))
    for size in SIZES:
        print(f"mnfpn summary --size {size:10} {median(peaks[size]) / 2**20:7.1f} MiB")
    ratio = median(peaks[SIZES[1]]) / median(peaks[SIZES[0]])
    print(f"ratio {ratio:.4f} (target: within 5 %: {'met' if abs(ratio - 1) <= 0.05 else 'MISSED'})")


if __name__ == "__main__":
    main()
