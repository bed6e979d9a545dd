"""The networks of the frontier as diagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.report.layout import network_layout
from mnfpn_cli.report.svg import diagram_svg
from mnfpn_cli.settings.input import NetworkInput

if TYPE_CHECKING:
    from mnfpn_cli.report.points import Point, Points
    from mnfpn_cli.settings.input import Size
    from mnfpn_cli.settings.models import NetworkSettings

MOST = 60


def diagrams(points: Points) -> list[dict[str, str]]:
    """Each network of the frontier once, at each of its sizes, the fastest first; of very many the first ones."""
    found = dict[tuple["NetworkSettings", "Size"], "Point"]()
    for some in points.frontier.values():
        for one in some:
            found.setdefault(one.stored.cell.network, one)
    return [_diagram(settings, size, one) for (settings, size), one in list(found.items())[:MOST]]


def _diagram(settings: NetworkSettings, size: Size, point: Point) -> dict[str, str]:
    plan = plan_network(settings)
    layout = network_layout(plan, network_shapes(plan, NetworkInput(1, settings.in_channels, size)))
    name, levels = f"{point.name}, {size}", ", ".join(f"{level.name} {level.shape}" for level in layout.levels)
    return {"name": name, "title": f"{name}. {layout.title}: {levels}", "svg": diagram_svg(layout)}
