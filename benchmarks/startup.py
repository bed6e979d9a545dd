"""Time whole commands beside the imports that they are held against, interleaved.

Each round runs every command once, in turn, each in a fresh process timed by pyperf; the ratios compare medians of
commands that ran side by side on the same machine.

    python benchmarks/startup.py --rounds 15 --output startup.json
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyperf

IMPORT_TORCH = "import torch"
IMPORT_TOOLS = "import torch, torchinfo, fvcore.nn"
PYTHON = {name: [sys.executable, "-W", "ignore", "-c", name] for name in (IMPORT_TORCH, IMPORT_TOOLS)}
MNFPN = {
    " ".join(("mnfpn", *arguments)): [sys.executable, "-m", "mnfpn_cli", *arguments]
    for arguments in (["--help"], ["shapes", "--size", "600x900"], ["settings", "show"], ["summary"])
}
BARE = "typer, as many options"
TARGETS = (  # command, what it is held against, at most this share of its time
    ("mnfpn --help", IMPORT_TORCH, 0.12),
    ("mnfpn shapes --size 600x900", IMPORT_TORCH, 0.12),
    ("mnfpn shapes --size 600x900", BARE, 1.5),
    ("mnfpn settings show", IMPORT_TORCH, 0.12),
    ("mnfpn summary", IMPORT_TOOLS, 1.5),
)


def bare_application() -> str:
    """The source of a typer application with the commands and as many options as mnfpn has, which do nothing."""
    from typer.main import get_command

    from mnfpn_cli.cli.main import app

    commands: Any = get_command(app)
    lines = ["from typing import Annotated", "import typer", "app = typer.Typer(add_completion=False)"]
    for name, command in commands.commands.items():
        for below in getattr(command, "commands", {name: command}).values():
            options = [
                f"o{n}: Annotated[str | None, typer.Option(help='Text.')] = None" for n in range(len(below.params))
            ]
            made = f"{name}_{below.name}" if below is not command else name
            lines += ["@app.command()", f"def {made}({', '.join(options)}) -> None: print()"]
    return "\n".join([*lines, "app()\n"])


def time_once(name: str, command: list[str], results: Path) -> None:
    """Run a command once in a pyperf worker, and append the value to the results."""
    options = ["--quiet", "--processes=1", "--values=1", "--warmups=0", "--loops=1", f"--append={results}"]
    pyperf_command = [sys.executable, "-m", "pyperf", "command", *options, f"--name={name}", "--", *command]
    subprocess.run(pyperf_command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run the rounds and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, help="keep pyperf's JSON here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, bare = Path(folder) / "startup.json", Path(folder) / "bare.py"
        bare.write_text(bare_application())
        commands = PYTHON | {BARE: [sys.executable, str(bare), "shapes"]} | MNFPN
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for name, command in commands.items():
                time_once(name, command, results)
        suite = pyperf.BenchmarkSuite.load(str(results))
        if options.output:
            options.output.write_bytes(results.read_bytes())
    medians = {name: suite.get_benchmark(name).median() for name in commands}
    print(f"{'command':36} {'median':>8}  {'share':>6}  target")
    for name, median in medians.items():
        print(f"{name:36} {median * 1e3:5.0f} ms")
        for _, against, target in (one for one in TARGETS if one[0] == name):
            share = median / medians[against]
            print(f"{'':46}  {share:6.3f}  ≤ {target} of `{against}`: {'met' if share <= target else 'MISSED'}")


if __name__ == "__main__":
    main()
