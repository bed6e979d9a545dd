"""The command lines that results contain: to inspect the network of a run, to export it, to measure the run again."""

import shlex

from mnfpn_cli.documents.report import NextCommands
from mnfpn_cli.documents.sweep import SweepCommands
from mnfpn_cli.settings.overrides import network_parameters
from mnfpn_cli.space.runs import Execution, Run
from mnfpn_cli.text import Parameter, as_arguments


def measure_command(run: Run) -> str:
    """Return the command that measures a run."""
    return f"mnfpn {shlex.join(['bench', *_network(run), *as_arguments(_execution(run.execution))])}"


def next_commands(run: Run) -> NextCommands:
    """Return the commands that inspect, export and measure a run."""
    network = _network(run)
    file = as_arguments([("format", "onnx"), ("output", "network.onnx")])
    return NextCommands(
        inspect=f"mnfpn {shlex.join(['summary', *network])}",
        export=f"mnfpn {shlex.join(['export', *file, *network])}",
        measure=measure_command(run),
    )


def _network(run: Run) -> list[str]:
    """Return the arguments for a run's network and size, as every command takes them."""
    return as_arguments([*network_parameters(run.settings), ("size", str(run.size))])


def _execution(execution: Execution) -> list[Parameter]:
    """Return the parameters of an execution that are not defaults."""
    names, default = ("batch", "runtime", "device", "dtype", "threads", "allocator"), Execution()
    given = [(name, str(value)) for name in names if (value := getattr(execution, name)) != getattr(default, name)]
    return [*given, *[("train", "")] * execution.train]


def resuming(argument: str) -> str:
    """Return the command that resumes the sweeps of a store; ``argument`` is its location for a shell."""
    return f"mnfpn sweep --resume --store {argument}"


PREDICTING = "mnfpn recommend --predict"
"""The command of the sweeps that measure what is promising."""


def after_sweep(store: str, predict: bool = False) -> SweepCommands:
    """Give the commands to type after a sweep into a store; ``predict``: whether they predict runs."""
    argument, predicting = shlex.quote(store), " --predict" * predict
    return SweepCommands(
        report=f"mnfpn report --store {argument}{predicting}",
        recommend=f"mnfpn recommend --store {argument}{predicting}",
        list_failed=f"mnfpn runs list --status failed --store {argument}",
    )
