"""The command lines that results contain: to inspect the network of a run, to export it, to measure the run again."""

import shlex

from mnfpn_cli.documents.report import NextCommands
from mnfpn_cli.report.terminal.sweep import NextSteps
from mnfpn_cli.space.runs import Run, bench_arguments, network_arguments


def measuring(run: Run) -> str:
    """Return the command that measures a run."""
    return f"mnfpn {shlex.join(bench_arguments(run))}"


def next_commands(run: Run) -> NextCommands:
    """Return the commands that inspect, export and measure a run."""
    network = network_arguments(run)
    return NextCommands(
        inspect=f"mnfpn {shlex.join(['summary', *network])}",
        export=f"mnfpn {shlex.join(['export', '--format', 'onnx', '--output', 'network.onnx', *network])}",
        measure=measuring(run),
    )


SWEEP = "mnfpn sweep --store STORE"
"""The command that adds runs to a store."""


def after_sweep(store: str) -> NextSteps:
    """Give the commands to type after a sweep into a store."""
    return NextSteps(
        report=f"mnfpn report --store {store}",
        recommend=f"mnfpn recommend --store {store}",
        list_failed="mnfpn runs list --status failed",
    )
