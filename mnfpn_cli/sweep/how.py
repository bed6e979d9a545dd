"""How the cells of a sweep are measured."""

from dataclasses import dataclass

from mnfpn_cli.settings.measuring import LAYERED
from mnfpn_cli.space.cells import bench_arguments
from mnfpn_cli.store.rows import StoredCell
from mnfpn_cli.sweep.process import Task


@dataclass(frozen=True, slots=True)
class How:
    """How cells are measured.

    Attributes:
        arguments: of `mnfpn bench`, for all cells.
        by_layer: whether layers are timed, by the runtimes that run layer by layer.
        timeout_s: after which a cell is given up.
        reference_every: cells between two times of the reference.
        latency_s: cells that cannot keep to it are not measured.
    """

    arguments: tuple[str, ...] = ()
    by_layer: bool = False
    timeout_s: float = 900.0
    reference_every: int = 10
    latency_s: float | None = None

    def task(self, cell: StoredCell, is_reference: bool) -> Task:
        """What a process is to measure."""
        layers = self.by_layer and not is_reference and cell.cell.execution.runtime in LAYERED
        return Task((*bench_arguments(cell.cell), *self.arguments, *["--by-layer"] * layers), self.timeout_s)
