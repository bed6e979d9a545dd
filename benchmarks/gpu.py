"""Run on a machine with an NVIDIA GPU all that is to be seen there, and write down what was printed.

Each command has a time limit; one that fails or takes too long does not stop the others. What each printed goes to
`PART.txt` in the folder, its exit code and seconds to `PART.json`; another call with `--skip` adds to both. With
`--device cpu` most commands run on a CPU, to see that they are right.

    python benchmarks/gpu.py works --folder gpu
    python benchmarks/gpu.py trust --folder gpu
    python benchmarks/gpu.py speed --folder gpu
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mnfpn_cli.settings.files import preset_names

SMALL = "--stages '2,8,1,2 2,16,2,2' --pyramid-channels 8"
"""Options of a network that takes no time."""

MODEL = '''
import torch
from torch import nn


class OnDevice(nn.Sequential):
    """A network that makes its weights where it is to run, and keeps one layer in a list."""

    def __init__(self, device):
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1, device=device), nn.ReLU())
        self.forgotten = [nn.Conv2d(8, 8, 3, 1, 1, device=device)]

    def forward(self, images):
        return self.forgotten[0](super().forward(images))
'''


@dataclass(frozen=True)
class Step:
    """A command, and what is to become of it.

    Attributes:
        command: what follows `python`.
        expected: its exit code.
        interrupted_after: seconds until it gets Ctrl-C; None where it gets none.
        killed_after: seconds until it is killed; None where it is not.
        limit: the most seconds that it may take.
    """

    command: str
    expected: int = 0
    interrupted_after: float | None = None
    killed_after: float | None = None
    limit: float = 120.0


@dataclass(frozen=True)
class Outcome:
    """What became of a command."""

    command: str
    expected: int
    code: int | None
    seconds: float


def mnfpn(command: str, device: str | None, expected: int = 0, **limits: float) -> Step:
    """A command of mnfpn's, on a device."""
    on = f" --device {device}" if device else ""
    return Step(f"-m mnfpn_cli {command}{on}", expected, **limits)


def works(device: str, folder: Path) -> Iterator[Step]:
    """The commands that run passes, with their options."""
    yield Step("-m pytest -n0 -q --all tests/gpu")
    yield mnfpn("summary", None)
    yield mnfpn("shapes --size 600x900", None)
    yield mnfpn("bench --width-mult 0.75", device)
    for preset in preset_names():
        yield mnfpn(f"bench --preset {preset} --dtype float32,float16,bfloat16 --passes 20", device)
    yield mnfpn("bench --size 224 --batch 1,8,32 --runtime all --passes 30", device)
    yield mnfpn("bench --size 224,600x900 --runtime eager,cuda-graph --by-layer --roofline", device)
    yield mnfpn("bench --size 224 --cold-cache --passes 30", device)
    yield mnfpn("bench --size 224 --train --runtime eager,channels-last,compiled --passes 20", device)
    yield mnfpn("bench --preset mobilenetv2-fpnlite --postprocess --passes 20", device)
    yield mnfpn("bench --size 600x900 --batch 1,65536 --passes 20", device, expected=1)
    yield mnfpn("bench --passes 100000", device, expected=130, interrupted_after=25)
    yield mnfpn(f"compare --a '--width-mult 1.0' --b '--width-mult 0.75' {SMALL} --size 224", device)
    store, space = folder / "runs.db", "--width-mult 0.35,0.5,0.75,1.0 --size 96,192,320 --runtime eager"
    yield mnfpn(f"sweep {space} --passes 3000 --store {store}", device, expected=-9, killed_after=40)
    yield mnfpn(f"sweep --resume --store {store}", None)
    yield mnfpn(f"report --store {store} --output {folder / 'report.html'}", None)
    model = folder / "on_device.py"
    model.write_text(MODEL)
    target = f"--model {model}:OnDevice --model-arg device={device} --size 64"
    yield mnfpn(f"audit {target}", None, expected=3)
    yield mnfpn(f"summary {target}", None)


def trust(device: str, _folder: Path) -> Iterator[Step]:
    """Figures against other tools, and comparisons whose result is known."""
    yield Step(f"benchmarks/trust.py times --device {device}", limit=180)
    for dtype in ("float32", "float16"):
        yield Step(f"benchmarks/trust.py times --device {device} --size 600x900 --batch 8 --dtype {dtype}", limit=180)
    yield Step(f"benchmarks/trust.py queued --device {device}")
    yield Step(f"benchmarks/trust.py memory --device {device} --size 600x900 --batch 8")
    yield Step(
        f"benchmarks/quality.py copies --device {device} --same 50 --delayed 20 --size 224 --seconds 2", limit=300
    )


def speed(device: str, _folder: Path) -> Iterator[Step]:
    """The fastest runtime of small passes, and of large ones."""
    runtimes = "--runtime eager,channels-last,fused,compiled,cuda-graph --max-time 20"
    yield mnfpn(f"bench --size 224 {runtimes}", device)
    yield mnfpn(f"bench --size 224 {runtimes} --dtype float16", device)
    large = f"bench --size 600x900 --batch 32 {runtimes} --by-layer --roofline"
    yield mnfpn(f"{large} --dtype float16", device, limit=180)
    yield mnfpn(f"{large} --dtype bfloat16", device, limit=180)
    yield Step(f"benchmarks/forward.py --device {device} --size 224 --passes 200")
    yield Step(f"benchmarks/forward.py --device {device} --size 600x900 --passes 100")


PARTS = {"works": works, "trust": trust, "speed": speed}


def run(step: Step, printed: Path) -> Outcome:
    """Run a command, and add what it prints to a file."""
    start = time.perf_counter()
    with printed.open("a") as file:
        file.write(f"\n$ python {step.command}\n")
        file.flush()
        process = subprocess.Popen(
            [sys.executable, *shlex.split(step.command)],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        early = step.interrupted_after or step.killed_after
        try:
            process.wait(early or step.limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT if step.interrupted_after else signal.SIGKILL)
        try:
            code: int | None = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code == -signal.SIGKILL and not step.killed_after:
            code = None
    return Outcome(step.command, step.expected, code, time.perf_counter() - start)


def main() -> None:
    """Run all commands of a part, and print those that did not end as expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--total", type=float, default=570.0, help="seconds for all of them")
    parser.add_argument("--skip", type=int, default=0, help="commands that an earlier call ran")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file, start = options.folder / f"{options.part}.json", time.perf_counter()
    outcomes = json.loads(file.read_text()) if options.skip and file.exists() else []
    for index, step in enumerate(PARTS[options.part](options.device, options.folder)):
        left = options.total - (time.perf_counter() - start)
        if index < options.skip:
            continue
        if left < step.limit:
            print(f"no time left from command {index} on: --skip {index}")
            break
        outcome = run(step, options.folder / f"{options.part}.txt")
        outcomes.append(asdict(outcome))
        file.write_text(json.dumps(outcomes, indent=1))
        if outcome.code != step.expected:
            print(f"{index}: exit code {outcome.code}, not {step.expected}: {step.command}", flush=True)
    wrong = sum(outcome["code"] != outcome["expected"] for outcome in outcomes)
    print(f"{len(outcomes)} commands in {time.perf_counter() - start:.0f} s, {wrong} not as expected")


if __name__ == "__main__":
    main()
