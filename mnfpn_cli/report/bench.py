"""`mnfpn bench` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.report.layers import layers_tables
from mnfpn_cli.report.runs import runs_report
from mnfpn_cli.report.tables import Report, note, pairs, table
from mnfpn_cli.report.units import count, per_cent, scaled, size_in_bytes
from mnfpn_cli.report.weights import weights_report

if TYPE_CHECKING:
    from rich.table import Table

    from mnfpn_cli.bench.results import Benchmark, SizeCost
    from mnfpn_cli.measure.environment import Environment
    from mnfpn_cli.measure.flops import FvcoreCount


def bench_tables(result: Benchmark) -> Report:
    """What the network costs, how fast it ran, and on what that was measured."""
    report: Report = []
    for one in result.costs:
        report += cost_report(one, result)
    incomplete = [] if result.complete else [note("Interrupted: the measurement is incomplete.", "bold yellow")]
    return [
        *report,
        *weights_report(result.weights),
        *runs_report(result),
        *(item for one in result.profiles for item in layers_tables(f"Where the time goes: {one.cell}", one.profile)),
        environment_table(result.environment),
        *incomplete,
    ]


def cost_report(one: SizeCost, result: Benchmark) -> Report:
    """What the network costs at one size."""
    return [_cost_table(one, several=len(result.costs) > 1), *_pyramid_share(one), _in_full(one, result)]


def _cost_table(one: SizeCost, several: bool) -> Table:
    total = one.cost.total
    title = "Cost of one pass" if isinstance(one.size, str) else "Cost of one image"
    title += f", {one.size}" if several else ""
    made = table(title, "", ">Parameters", ">%", ">MACs", ">%", ">FLOPs")
    for name, cost in {**one.cost.parts, "total": total}.items():
        if name == "total":
            made.add_section()
        made.add_row(
            name,
            count(cost.parameters),
            per_cent(cost.parameters, total.parameters),
            scaled(cost.macs),
            per_cent(cost.macs, total.macs),
            scaled(cost.flops),
        )
    return made


def _pyramid_share(one: SizeCost) -> Report:
    pyramid = one.cost.parts.get("pyramid")
    if pyramid is None:
        return []
    macs = per_cent(pyramid.macs, one.cost.total.macs)
    return [note(f"The pyramid takes {macs} % of the MACs; width_mult scales only the backbone.")]


def _in_full(one: SizeCost, result: Benchmark) -> Table:
    batch, total = result.rows[0].cell.input.batch, one.cost.total
    products = "convolutions and dense layers" if one.cost.parts else "convolutions and all other matrix products"
    rows = [
        ("MACs", f"{count(total.macs)} ({products})"),
        ("FLOPs", f"{count(total.flops)} (2 × MACs)"),
        ("fvcore total", _fvcore(one.fvcore)),
        ("model size", f"{size_in_bytes(one.model_bytes)} in {result.case.dtype}"),
        ("activations", f"{size_in_bytes(one.activation_bytes)} at the fullest moment, batch {batch}"),
    ]
    return pairs("In full", rows)


def _fvcore(counted: FvcoreCount | None) -> str:
    if counted is None:
        return "fvcore cannot count this network"
    operators = ", ".join(f"{name} {scaled(number)}" for name, number in counted.by_operator.items())
    return f"{count(counted.total)} (fvcore's own count: {operators})"


def environment_table(machine: Environment) -> Table:
    """Hardware, software and time of a measurement."""
    rows = [
        ("CPU", f"{machine.cpu}, {machine.cores} cores"),
        ("GPU", _gpu(machine) if machine.gpu else ""),
        ("memory", size_in_bytes(machine.memory_bytes)),
        ("software", f"torch {machine.torch}, Python {machine.python}, mnfpn {machine.mnfpn}"),
        ("system", machine.platform),
        ("date", machine.date),
    ]
    return pairs("Measured on", [row for row in rows if row[1]])


def _gpu(machine: Environment) -> str:
    tf32 = "with TF32" if machine.tf32 else "without TF32"
    return f"{machine.gpu}, driver {machine.driver}, CUDA {machine.cuda}, convolutions in float32 {tf32}"
