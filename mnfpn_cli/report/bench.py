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
    from mnfpn_cli.plan.cost import Cost, NetworkCost


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
    return [_cost_table(one, several=len(result.costs) > 1), *_pyramid_share(one.cost), _in_full(one, result)]


def _cost_table(one: SizeCost, several: bool) -> Table:
    total = one.cost.total
    title = f"Cost of one image, {one.size}" if several else "Cost of one image"
    made = table(title, "", ">Parameters", ">%", ">MACs", ">%", ">FLOPs")
    for name, cost in {**cost_parts(one.cost), "total": total}.items():
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


def cost_parts(cost: NetworkCost) -> dict[str, Cost]:
    """The cost of each part that the network has."""
    parts = {"backbone": cost.backbone, "pyramid": cost.pyramid, "head": cost.head}
    return {name: part for name, part in parts.items() if part.parameters}


def _pyramid_share(cost: NetworkCost) -> Report:
    if not cost.pyramid.macs:
        return []
    macs = per_cent(cost.pyramid.macs, cost.total.macs)
    return [note(f"The pyramid takes {macs} % of the MACs; width_mult scales only the backbone.")]


def _in_full(one: SizeCost, result: Benchmark) -> Table:
    batch, total = result.case.batches[0], one.cost.total
    operators = ", ".join(f"{name} {scaled(number)}" for name, number in one.fvcore.by_operator.items())
    rows = [
        ("MACs", f"{count(total.macs)} (convolutions and dense layers)"),
        ("FLOPs", f"{count(total.flops)} (2 × MACs)"),
        ("fvcore total", f"{count(one.fvcore.total)} (fvcore's own count: {operators})"),
        ("model size", f"{size_in_bytes(one.model_bytes)} in {result.case.dtype}"),
        ("activations", f"{size_in_bytes(batch * one.activation_bytes)} at the fullest moment, batch {batch}"),
    ]
    return pairs("In full", rows)


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
