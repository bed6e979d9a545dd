"""Networks with one mistake each and healthy ones: what mnfpn's audit says of them, and what other tools report.

Every tool gets a fresh copy. Parameters and MACs are given as multiples of the truth (1.000 is right; torchinfo adds
biases and batch norm, fvcore batch norm and resizing, so a little more is their convention). A letter stands for what
a tool said besides numbers: in its table, its log, its warnings, or the error that it ended with. Then what an audit of
the default network takes, in fresh processes, in turn.

    python benchmarks/inspection.py --rounds 9
"""

import argparse
import logging
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
import torchinfo
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mnfpn_cli.audit.audit import inspect_network
from mnfpn_cli.audit.tree import layer_tree
from tests.audit.networks import DEFECTIVE, HEALTHY, Case
from tests.conftest import import_torchvision

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch.jit is deprecated
    from fvcore.nn import FlopCountAnalysis, parameter_count

SIZES = ("600x900", "4800x7200")
IMPORT_TORCH = "import torch"
COMMAND = """
import re, sys
from pathlib import Path
from mnfpn_cli.cli.main import run
code = run(["audit", "--size", sys.argv[1]])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""
"""The whole command; its last line is the peak of its resident memory, which Linux counts anew for each program."""

INSPECTION = """
import time, torch
from mnfpn_cli.network.network import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.network import NetworkSettings
network = build_meta(plan_network(NetworkSettings()))
start = time.perf_counter()
from mnfpn_cli.audit.audit import inspect_network
from mnfpn_cli.trace.passes import Input
inspect_network(network, [[Input((1, 3, 600, 900))]], [str(name) for name in network.outputs])
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Report:
    """What a tool says: its numbers, None where it gives none, and every distinct remark besides."""

    parameters: float | None = None
    macs: float | None = None
    remarks: tuple[str, ...] = ()


Tool = Callable[[nn.Module, Sequence[Tensor]], Report]


def by_torchinfo(network: nn.Module, inputs: Sequence[Tensor]) -> Report:
    """Its totals; it marks the later calls of a module that is called more than once."""
    found = torchinfo.summary(network, input_data=list(inputs), verbose=0)
    recursive = ("(recursive), in a row of its table",) if "(recursive)" in str(found) else ()
    return Report(found.total_params, found.total_mult_adds, recursive)


def by_fvcore(network: nn.Module, inputs: Sequence[Tensor]) -> Report:
    """Its totals; what it calls flops are MACs."""
    return Report(parameter_count(network)[""], FlopCountAnalysis(network, tuple(inputs)).total())


def by_flop_counter(network: nn.Module, inputs: Sequence[Tensor]) -> Report:
    """Torch's own; it does not count parameters."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return Report(macs=counter.get_total_flops() / 2)


TOOLS: dict[str, Tool] = {"torchinfo": by_torchinfo, "fvcore": by_fvcore, "FlopCounterMode": by_flop_counter}


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what is logged and warned of."""
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield heard
        heard += [str(one.message) for one in caught]
    finally:
        logging.getLogger().removeHandler(handler)


def asked(tool: Tool, case: Case) -> Report:
    """What a tool makes of a fresh copy in eval mode; an error that it ends with is a remark too."""
    inputs = [torch.zeros(one.shape, dtype=one.dtype or torch.float32) for one in case.inputs]
    report = Report()
    with listening() as heard, torch.no_grad():
        try:
            report = tool(case.make().eval(), inputs)
        except Exception as error:  # noqa: BLE001 - whatever it fails with is what is reported
            heard.append(f"{type(error).__name__}: {error}")
    remarks = dict.fromkeys(map(in_short, (*report.remarks, *heard)))
    return Report(report.parameters, report.macs, tuple(remarks))


def in_short(remark: str) -> str:
    """The first line, without the names and numbers of one network."""
    line = remark.partition("\n")[0]
    return re.sub(r"aten::\w+ encountered \d+", "aten::… encountered …", line)


def judged(case: Case) -> tuple[bool, str, Report]:
    """Whether the audit is right, what it says, and what mnfpn counts."""
    found = inspect_network(case.make().train(), [case.inputs])
    assert found.audit is not None
    paths = [path for finding in found.audit.findings if finding.kind == case.kind for path in finding.paths]
    others = dict.fromkeys(finding.kind for finding in found.audit.findings if finding.kind != case.kind)
    right = tuple(paths) == case.paths and set(others) == set(case.also)
    named = ", ".join(paths) if len(paths) <= 2 else f"{paths[0]} … ({len(paths)})"
    said = [f"{case.kind}: {named}"] if paths else []
    macs = layer_tree(found.trace).rows[0].macs
    return right, "; ".join([*said, *others]) or "nothing", Report(found.audit.parameters.rows, macs)


def cell(report: Report, case: Case, letters: dict[str, str]) -> str:
    """Multiples of the truth, and letters."""
    marks = "".join(letters.setdefault(remark, chr(ord("a") + len(letters))) for remark in report.remarks)
    if report.macs is None:
        return f"failed {marks}"
    parameters = [f"{report.parameters / case.parameters:.3f}"] if report.parameters is not None else []
    return " ".join([*parameters, f"{report.macs / case.macs:.3f}", marks]).rstrip()


def print_networks() -> None:
    """The table, then what its letters stand for, then how often the audit was right."""
    letters: dict[str, str] = {}
    right: dict[str, bool] = {}
    row = "{:28}  {:56}  {:5}  {:11}  {:13}  {:14}  {}"
    print(row.format("network", "the audit says", "right", "mnfpn", *TOOLS))
    for case in (*DEFECTIVE, *HEALTHY):
        right[case.name], said, ours = judged(case)
        reports = [ours, *(asked(tool, case) for tool in TOOLS.values())]
        cells = [cell(report, case, letters) for report in reports]
        print(row.format(case.name, said, "yes" if right[case.name] else "NO", *cells), flush=True)
    for remark, letter in letters.items():
        print(f"{letter}: {remark if len(remark) <= 110 else remark[:110] + '…'}")
    found = sum(right[case.name] for case in DEFECTIVE)
    accused = sum(not right[case.name] for case in HEALTHY)
    print(f"found at its paths: {found} of {len(DEFECTIVE)}; healthy and accused: {accused} of {len(HEALTHY)}")


def run(code: str, *arguments: str) -> tuple[float, float]:
    """Seconds of a fresh Python, and the number that it printed last."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    return seconds, float((done.stdout.split() or ["nan"])[-1])


def print_costs(rounds: int) -> None:
    """Time beyond `import torch`, and memory at two sizes; every round runs each once."""
    base, whole, alone = [], [], []
    peaks: dict[str, list[float]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        base.append(run(IMPORT_TORCH)[0])
        alone.append(run(INSPECTION)[1])
        for size in SIZES:
            seconds, peak = run(COMMAND, size)
            whole.append(seconds)
            peaks[size].append(peak / 1024)
    more = median(whole) - median(base)
    verdict = "met" if more < 2 else "MISSED"
    print(f"import torch            {median(base):.2f} s")
    print(f"mnfpn audit             {median(whole):.2f} s, {more:.2f} s more (target: under 2 s: {verdict})")
    print(f"  inspection by itself  {median(alone):.2f} s, least {min(alone):.2f} s, most {max(alone):.2f} s")
    for size in SIZES:
        print(f"mnfpn audit --size {size:9}  {median(peaks[size]):.1f} MiB")
    ratio = median(peaks[SIZES[1]]) / median(peaks[SIZES[0]])
    print(f"ratio {ratio:.4f} (target: within 5 %: {'met' if abs(ratio - 1) <= 0.05 else 'MISSED'})")


def main() -> None:
    """Print the table of networks, then what an audit takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="of the commands that are timed")
    options = parser.parse_args()
    import_torchvision()
    print_networks()
    print_costs(options.rounds)


if __name__ == "__main__":
    main()
