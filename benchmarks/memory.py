"""Memory of a run in its own process, against the kernel's figures, with and without memory planted in its pass.

mnfpn reads the peak of the resident set inside the process, from preparing on and of the passes alone. Here the kernel
is asked from outside: a thread reads the resident set every millisecond, and its peak after the last pass, while
the process waits. Besides the default network, one runs that fills a tensor of known size in each pass, or none.

    python benchmarks/memory.py --planted 256 --passes 5
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from mnfpn_cli.bench.processes import RunProcess
from mnfpn_cli.documents.base import Model
from mnfpn_cli.documents.records import InputRecord
from mnfpn_cli.documents.worker import RunRequest, SamplingRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.settings.network import NetworkSettings

RUNTIMES = ("eager", "channels-last", "fused", "compiled", "onnxruntime", "openvino", "executorch")
WITHIN = 0.05
EVERY_S = 0.001

NETWORK = '''
import torch
from torch import nn


class Planted(nn.Module):
    """Two convolutions, and a tensor of so many MiB beside them in each pass."""

    def __init__(self, mebibytes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1))
        self.elements = mebibytes * 2**18

    def forward(self, images):
        features = self.layers(images)
        if not self.elements:
            return features
        filled = features.mean().expand(self.elements).clone()
        return features + filled.amax(0) * 1e-9
'''


@dataclass
class Watched:
    """What the kernel says of a process from outside, in bytes: the largest resident set that was seen."""

    pid: int
    resident: int = 0
    ended: Event = field(default_factory=Event)

    def look(self) -> None:
        """Read the resident set until `ended`."""
        while not self.ended.is_set():
            self.resident = max(self.resident, kernel(self.pid, "VmRSS"))
            time.sleep(EVERY_S)


@contextmanager
def watched(pid: int) -> Iterator[Watched]:
    """Watch a process for as long as the block takes."""
    watch = Watched(pid)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(watch.look)
        try:
            yield watch
        finally:
            watch.ended.set()
    looking.result()


def kernel(pid: int, name: str) -> int:
    """Read a size from the status of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


@dataclass(frozen=True)
class Peak:
    """A peak of memory in bytes: what mnfpn says, and what the kernel says."""

    mnfpn: int
    kernel: int

    def __str__(self) -> str:
        return f"{self.mnfpn / 2**20:8.1f} {self.kernel / 2**20:8.1f} {self.off:+7.2%}"

    @property
    def off(self) -> float:
        """By how much mnfpn's figure is larger."""
        return self.mnfpn / self.kernel - 1


def peaks_of(request: RunRequest, passes: int) -> tuple[Peak, Peak]:
    """The peak from preparing to the end of warm-up, and that of the passes."""
    with closing(RunProcess(request)) as process:
        process.load(silent)
        with watched(process.pid) as preparing:
            ready = process.prepare(silent)
        with watched(process.pid) as passing:
            for _ in range(passes):
                process(lambda: None)
            peak = kernel(process.pid, "VmHWM")
        end = process.end(1.0, False, silent)
    assert ready.peak_memory_bytes is not None
    assert end.passes_memory_bytes is not None
    return Peak(ready.peak_memory_bytes, preparing.resident), Peak(end.passes_memory_bytes, max(peak, passing.resident))


def silent(_doing: str, _share: float) -> None:
    """Say nothing."""


def main() -> None:
    """Print the peaks of each runtime, and what of the planted memory is in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted", type=int, default=256, help="MiB")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--runtime", nargs="+", default=RUNTIMES)
    options = parser.parse_args()
    print(f"{'MiB':38} preparing: mnfpn, kernel    passes: mnfpn, kernel")
    worst = 0.0
    with TemporaryDirectory() as folder:
        file = Path(folder, "planted.py")
        file.write_text(NETWORK)
        planted = [Model(target=f"{file}:Planted", arguments={"mebibytes": n}) for n in (0, options.planted)]
        for runtime in options.runtime:
            found: list[int] = []
            for name, model in (("default network", None), ("nothing planted", planted[0]), ("planted", planted[1])):
                try:
                    preparing, passes = peaks_of(requested(runtime, model, options.size), options.passes)
                except MnfpnError as error:
                    print(f"{runtime:14} {name:23} {error.message}")
                    continue
                print(f"{runtime:14} {name:23} {preparing}  {passes}", flush=True)
                found.append(passes.mnfpn)
                worst = max(worst, abs(preparing.off), abs(passes.off))
            if len(found) == 3:
                print(f"{runtime:14} {(found[2] - found[1]) / 2**20:.1f} MiB more in the passes of {options.planted}")
    print(f"largest difference {worst:.2%} (target: within 5 %: {'met' if worst <= WITHIN else 'MISSED'})")


def requested(runtime: str, model: Model | None, size: int) -> RunRequest:
    """The request of a run of an external network, or of the default one."""
    return RunRequest(
        settings=None if model else NetworkSettings(),
        model=model,
        input=InputRecord(batch=1, channels=3, height=size, width=size, shapes=None),
        runtime=runtime,
        device="cpu",
        dtype="float32",
        threads=None,
        train=False,
        sampling=SamplingRecord(),
        by_layer=False,
    )


if __name__ == "__main__":
    main()
