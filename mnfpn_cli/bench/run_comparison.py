"""Run a comparison: time two sides in turn, here or in processes. Torch is imported once both are read."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from mnfpn_cli.bench.comparison import CompareCase, TimedSide
from mnfpn_cli.bench.sides import SIDES, PlacedSide, SideLaunch, placed_sides
from mnfpn_cli.devices.machine import reading_cpu_name
from mnfpn_cli.documents.compare import CompareDocument
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.origin import only_here
from mnfpn_cli.settings.measuring import DEFAULT_PROCESSES, OF_OWN_PROCESS
from mnfpn_cli.text import ReportProgress


def run_comparison(
    read: Callable[[str], TimedSide],
    launches: tuple[SideLaunch, SideLaunch],
    processes: int | None,
    case: CompareCase,
    measuring: Callable[[], AbstractContextManager[ReportProgress]],
    importing: Callable[[bool], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> CompareDocument:
    """Time two sides in turn: in this process, or each in processes of its own where a side or the case needs them.

    Args:
        read: reads the arguments of side ``a`` or ``b``, in the folder that its relative paths start from.
        launches: what the user said of A and B besides their networks.
        processes: how many of each side to time; None where that was not given.
        case: what both sides share.
        measuring: is entered for the measurement, and yields what to call with its progress.
        importing: is entered while torch is imported. It is called with whether commits may be checked out, which must
            then be removed.

    Raises:
        UsageError: where a side is wrong, or is of this process alone but needs another.
        MnfpnError: where a side cannot be run, or fails before its first sample.
        KeyboardInterrupt: where Ctrl-C came before the first sample of a side.
    """
    if processes is None and launches == (SideLaunch(), SideLaunch()) and case.allocator not in OF_OWN_PROCESS:
        sides = read("a"), read("b")
        with reading_cpu_name() as cpu_name, measuring() as progress:
            progress("loading torch", 0.0)
            with importing(False):
                from mnfpn_cli.bench.compare import compare_networks

            return compare_networks(sides, case, cpu_name, progress)
    with (
        reading_cpu_name() as cpu_name,
        measuring() as progress,
        placed_sides(*launches, progress) as (of_a, of_b, differences),
    ):
        a, b = (_read_in_place(name, read, placed) for name, placed in zip(SIDES, (of_a, of_b), strict=True))
        progress("loading torch", 0.0)
        with importing(True):
            from mnfpn_cli.bench.compare_processes import ProcessSide, compare_processes

        of_processes = ProcessSide(**vars(a), placed=of_a), ProcessSide(**vars(b), placed=of_b)
        number = processes or DEFAULT_PROCESSES
        return compare_processes(of_processes, case, number, differences, cpu_name, progress)


def _read_in_place(name: str, read: Callable[[str], TimedSide], placed: PlacedSide) -> TimedSide:
    with placed.here():
        side = read(name)
    if why := only_here(side.workload.origin, [side.workload]):
        raise UsageError(Problem(name, f"needs another process: {why}"))
    return side
