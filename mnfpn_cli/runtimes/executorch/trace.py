"""The times of layers from the trace that ExecuTorch's event tracer records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.layer_times import LayerCall
from mnfpn_cli.measure.libraries import warnings_silenced
from mnfpn_cli.measure.operator_times import OperatorTime

MULTIPLIES = "multiplies"
"""The kind of operators with MACs: XNNPACK runs a 1×1 convolution as a dense layer."""

KINDS: Mapping[str, str] = {
    "Convolution": MULTIPLIES,
    "Deconvolution": MULTIPLIES,
    "Fully Connected": MULTIPLIES,
    "Batch Matrix Multiply": MULTIPLIES,
    "convolution": MULTIPLIES,
    "linear": MULTIPLIES,
    "mm": MULTIPLIES,
    "bmm": MULTIPLIES,
    "addmm": MULTIPLIES,
    "Add": "add",
    "Resize Bilinear": "upsample_bilinear2d",
    "Mean": "mean",
    "Max Pooling": "max_pool2d",
    "Concatenate": "cat",
}
"""The kinds of operators by XNNPACK's names, and those of torch's operators that have another name."""

WHOLE = ("DELEGATE_CALL", "Method::execute", "Program::load_method", "Method::init")
"""Events that have others inside."""

MILLI = 1e-3
"""Seconds of the unit of a trace's times."""


@dataclass(frozen=True, slots=True)
class ProgramOperator:
    """An operator of a program.

    Attributes:
        name: such as ``aten.convolution.default``.
        source: the module that it comes from.
        inputs: the operators that it reads, by their places in the program.
    """

    name: str
    source: LayerCall
    inputs: tuple[int, ...]


def read_trace(path: Path, operators: Sequence[ProgramOperator]) -> list[tuple[OperatorTime, ...]]:
    """Return the operators of each pass of a trace.

    A trace has no names of nodes. The operators of a kind run in the order in which the program has them. What the
    program has not, such as a change of the layout, belongs to the operator before it. What the trace has not was
    joined into the last of the operators that it reads.

    Args:
        path: the file of a trace.
        operators: those of the program, in order.

    Raises:
        MnfpnError: where the trace has not as many operators with MACs as the program.
    """
    events = _events(path)
    sources = _sources([event_kind(one.name) for one in events], operators)
    passes = len(events[0].perf_data.raw) if events else 0
    made = list[tuple[OperatorTime, ...]]()
    for index in range(passes):
        start, times = 0.0, list[OperatorTime]()
        for one, modules in zip(events, sources, strict=True):
            seconds = one.perf_data.raw[index] * MILLI
            name, _, _ = one.name.partition(" #")
            times.append(OperatorTime(one.name, name, start, seconds, modules))
            start += seconds
        made.append(tuple(times))
    return made


def _events(path: Path) -> list[Any]:
    from mnfpn_cli.export.xnnpack import executorch_silenced  # takes two seconds to import

    with executorch_silenced(), warnings_silenced(("", UserWarning)):
        from executorch.devtools import Inspector

        blocks = Inspector(etdump_path=str(path)).event_blocks
    executed = next((one for one in blocks if one.name == "Execute"), None)
    return [one for one in executed.events if one.perf_data and one.name not in WHOLE] if executed else []


def event_kind(name: str) -> str:
    """Return the kind of an operator: of XNNPACK, as ``Add (ND) #1``, or of torch, as ``aten.add.Tensor``."""
    short = name.split(".")[1] if name.startswith("aten.") else name.partition(" (")[0].removeprefix("native_call_")
    return KINDS.get(short, short)


def _sources(events: Sequence[str], operators: Sequence[ProgramOperator]) -> list[tuple[LayerCall, ...]]:
    """Return the modules of each event, by the kinds of all."""
    known = defaultdict[str, list[int]](list)
    for place, operator in enumerate(operators):
        known[event_kind(operator.name)].append(place)
    if events.count(MULTIPLIES) != len(known[MULTIPLIES]):
        raise MnfpnError(f"its trace has {events.count(MULTIPLIES)} layers, and the program {len(known[MULTIPLIES])}")
    left = {kind: iter(places) for kind, places in known.items() if len(places) == events.count(kind)}
    owners = {next(left[kind]): event for event, kind in enumerate(events) if kind in left}
    found = [list[LayerCall]() for _ in events]
    for place, operator in enumerate(operators):
        read = [owners[one] for one in operator.inputs if one in owners]
        if place not in owners and read:
            owners[place] = max(read)
        if place in owners:
            found[owners[place]].append(operator.source)
    before = next((one for one in found if one), [])
    for event, sources in enumerate(found):
        before = found[event] = sources or before
    return [tuple(dict.fromkeys(one)) for one in found]
