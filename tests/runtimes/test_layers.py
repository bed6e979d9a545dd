"""The times of layers that each runtime takes of itself: each has a place, and the operators add up to a pass."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given

from mnfpn_cli.errors import MnfpnError, UnavailableError
from mnfpn_cli.measure.layer_times import OUTSIDE, LayerCall, LayerTimes
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerWork, network_work
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.runtimes import compiled, fused
from mnfpn_cli.runtimes.compiled.kernels import Kernel, KernelRecorder
from mnfpn_cli.runtimes.executorch.trace import ProgramOperator, event_kind
from mnfpn_cli.runtimes.executorch.trace import _sources as sources_of_events
from mnfpn_cli.runtimes.fused.kernels import kernels_for
from mnfpn_cli.runtimes.fused.layers import called_modules, fused_calls
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import SMALL, shortened
from tests.needs import needs, needs_onnx
from tests.runtimes.jobs import CPU, job
from tests.strategies import settings_and_size
from tests.tiers import at_most

SIZE = Size(64, 96)
SHARED = NetworkSettings.model_validate(
    {"stages": [(2, 8, 2, 2), (2, 8, 1, 2)], "pyramid": {"channels": 8, "smooth_shared": True}}
)
"""A network with a residual block, whose levels share their smoothing."""

MICROSECOND = 1e-6

no_compiler = compiled.unavailable_reason(CPU, "float32", False)
COMPILED = pytest.param(
    "compiled", marks=[pytest.mark.slow, pytest.mark.skipif(bool(no_compiler), reason=str(no_compiler))]
)
OTHERS = [
    "channels-last",
    pytest.param("onnxruntime", marks=needs_onnx),
    pytest.param("openvino", marks=needs("openvino")),
    pytest.param("executorch", marks=[pytest.mark.slow, needs("executorch", "torchao")]),
    COMPILED,
]


def works_of(settings: NetworkSettings) -> tuple[LayerWork, ...]:
    """The layers of a network."""
    return network_work(plan_network(settings), network_input(settings, SIZE), 4)


def time_them(name: str, settings: NetworkSettings) -> LayerTimes:
    """The times of one pass."""
    mine = job(settings, (1, 3, *SIZE))
    with torch.inference_mode():
        return load_runtime(name).time_layers(mine, works_of(settings), 1, lambda _: None)


def check_places(times: LayerTimes, works: Sequence[LayerWork]) -> None:
    """Check that each layer with MACs has a row, that operators have layers, and that all add up to the pass."""
    placed = [layer for row in times.rows for layer in (row.id, *row.joined)]
    assert {work.id for work in works if work.macs} <= set(placed)
    assert {part for _, part in placed} <= {work.part for work in works} | {"rest", "head", "pyramid", "stem"}
    assert len({(row.id, row.joined) for row in times.rows}) == len(times.rows)
    taken = sum(one.seconds for one in times.operators)
    assert sum(one.seconds for one in times.operators if one.layers != OUTSIDE) >= 0.98 * taken
    clock = MICROSECOND * len(times.operators)  # some runtimes round down to microseconds
    assert 0 < taken <= 1.03 * times.marked + clock
    assert times.seconds == pytest.approx(times.marked, rel=0.03, abs=clock)
    assert [one.start for one in times.operators] == sorted(one.start for one in times.operators)


@pytest.mark.parametrize("name", OTHERS)
def test_each_runtime_times_its_layers(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Where levels share a module, each call of it has its level; nothing is written."""
    times = time_them(name, SHARED)
    check_places(times, works_of(SHARED))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("preset", ["mobilenetv2-fpn", "resnet-fpn", "retinanet", "mobilenetv2-fpnlite"])
def test_fused_times_its_layers(preset: str) -> None:
    """In networks whose blocks, pyramids and heads it fuses in ways of their own."""
    settings = shortened(preset).at(SIZE)
    check_places(time_them("fused", settings), works_of(settings))


@at_most(25)
@given(settings_and_size())
def test_every_layer_of_a_fused_network_has_a_call(case: tuple[NetworkSettings, Size]) -> None:
    """Each with MACs once, whatever is shared, joined or run by kernels."""
    settings, size = case
    mine, works = (
        job(settings, (1, settings.in_channels, *size)),
        network_work(plan_network(settings), network_input(settings, size), 4),
    )
    with torch.inference_mode():
        run = fused.prepare(mine).run
        calls = fused_calls(mine.network, works, called_modules(mine.network, run))
    placed = Counter(layer for path in calls for layers in calls[path] for layer in layers)
    assert {work.id for work in works if work.macs} <= set(placed)


@pytest.mark.skipif(kernels_for("float32") is None, reason="needs a C++ compiler")
def test_what_kernels_compute_in_one_call_is_one_row() -> None:
    """Wherever they find the layers: the stem computes those of a first block that has nothing before its own."""
    settings = NetworkSettings.model_validate(
        {"stages": [(1, 8, 1, 1), (2, 8, 2, 2), (2, 8, 1, 2)], "pyramid": {"channels": 8}}
    )
    times = time_them("fused", settings)
    check_places(times, works_of(settings))
    rows = [frozenset(path for path, _ in (row.id, *row.joined)) for row in times.rows if row.joined]
    first = {"stem", *(f"stages.0.0.{name}" for name in ("depthwise", "project"))}
    residual = {"stages.1.1", *(f"stages.1.1.{name}" for name in ("expand", "depthwise", "project"))}
    assert first in rows
    assert residual in rows


@pytest.mark.parametrize("name", ["fused", *OTHERS[1:3], COMPILED])
def test_what_is_joined_is_one_row_with_all_its_paths(name: str) -> None:
    """The last convolution of a residual block adds its input."""
    rows = [row for row in time_them(name, SMALL).rows if row.joined]
    joined = {path: row for row in rows for path, _ in row.joined}
    blocks = [work.path for work in works_of(SMALL) if work.path.startswith("stages.") and work.operation == "move"]
    assert blocks
    for path in blocks:
        assert joined[path].path.startswith(f"{path}.")


@pytest.mark.parametrize("name", ["cuda-graph", "litert"])
def test_a_runtime_without_layers_says_why(name: str) -> None:
    """Before it prepares anything."""
    with pytest.raises(UnavailableError):
        load_runtime(name).time_layers(job(), (), 1, lambda _: None)


@pytest.mark.parametrize("name", ["onnxruntime", "compiled"])
def test_layers_on_a_gpu_are_refused_where_the_profile_has_not_its_time(name: str) -> None:
    """ONNX Runtime's has the time to queue an operator."""
    with pytest.raises(UnavailableError):
        load_runtime(name).time_layers(replace(job(), device=torch.device("cuda:0")), (), 1, lambda _: None)


CODE = """
        # Topologically Sorted Source Nodes: [relu_1], Original ATen: [aten.relu]
        # [Provenance debug handles] torch.ops.mkldnn._convolution_pointwise.default:1
        buf0 = torch.ops.mkldnn._convolution_pointwise.default(arg0, _frozen_1, [1, 1])
        del arg0
        # Topologically Sorted Source Nodes: [sum], Original ATen: [aten.add]
        # [Provenance debug handles] torch.ops.mkldnn._convolution_pointwise_.binary:2
        torch.ops.mkldnn._convolution_pointwise_.binary(buf0, buf0, _frozen_2)
        # [Provenance debug handles] cpp_fused_add_0:3
        cpp_fused_add_0(buf0, buf1)
"""


def recorder(*codes: str) -> KernelRecorder:
    """A recorder that has seen this code, and the operations of its comments."""
    made = KernelRecorder()
    made._codes.extend(codes)
    made._sources.update({"relu_1": LayerCall("stem.act"), "sum": LayerCall("stages.0.1")})
    return made


def test_kernels_have_the_modules_of_their_comments_and_of_their_weights() -> None:
    """A convolution and its activation are in one module; one that adds is known by its weights alone."""
    constants = {"_frozen_1": [LayerCall("stem.conv")], "_frozen_2": [LayerCall("stages.0.1.project.conv")]}
    assert recorder(CODE).kernels(constants) == [
        Kernel("torch.ops.mkldnn._convolution_pointwise.default", (LayerCall("stem.act"),)),
        Kernel(
            "torch.ops.mkldnn._convolution_pointwise_.binary",
            (LayerCall("stages.0.1"), LayerCall("stages.0.1.project.conv")),
        ),
        Kernel("cpp_fused_add_0", ()),
    ]


@pytest.mark.parametrize("codes", [(), (CODE, CODE), ("call(args)\n",)])
def test_code_that_does_not_name_what_it_computes_is_refused(codes: tuple[str, ...]) -> None:
    """Of no graph, of several, and of another torch."""
    with pytest.raises(UnavailableError):
        recorder(*codes).kernels({})


@pytest.mark.parametrize(
    ("name", "event", "is_called"),
    [
        ("torch.ops.mkldnn._convolution_pointwise.default", "mkldnn::_convolution_pointwise", True),
        ("torch.ops.mkldnn._convolution_pointwise_.binary", "mkldnn::_convolution_pointwise", False),
        ("cpp_fused_add_0", "graph_0_cpp_fused_add_0", True),
        ("extern_kernels.mm", "aten::mm", True),
        ("extern_kernels.mm", "aten::empty", False),
    ],
)
def test_an_event_is_known_by_its_kernel(name: str, event: str, is_called: bool) -> None:
    """As torch's profiler names it."""
    assert Kernel(name, ()).is_called(event) == is_called


def program(*names: str) -> list[ProgramOperator]:
    """Operators that each read the one before, in modules named by letters."""
    return [
        ProgramOperator(name, LayerCall("abcdef"[place]), (place - 1,) if place else ())
        for place, name in enumerate(names)
    ]


def test_events_get_the_modules_of_the_operators_of_their_kind_in_order() -> None:
    """What the trace has not was joined into what it reads; what the program has not belongs to what was before."""
    operators = program("aten.convolution.default", "aten.hardtanh.default", "aten.linear.default", "aten.add.Tensor")
    events = ["Transpose (ND, X32) #1", "Convolution (NHWC, F32) IGEMM #1", "Fully Connected (NC, F32) GEMM #1"]
    events += ["Add (ND) #1", "Transpose (ND, X32) #2"]
    assert sources_of_events([event_kind(name) for name in events], operators) == [
        (LayerCall("a"), LayerCall("b")),
        (LayerCall("a"), LayerCall("b")),
        (LayerCall("c"),),
        (LayerCall("d"),),
        (LayerCall("d"),),
    ]


def test_a_trace_with_other_layers_than_the_program_is_an_error() -> None:
    """Its times would be of the wrong layers."""
    with pytest.raises(MnfpnError, match="its trace has 1 layers, and the program 2"):
        sources_of_events([event_kind("Convolution (NHWC, F32) #1")], program(*["aten.convolution.default"] * 2))


def test_no_profile_of_onnxruntime_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes a file into the folder that it is started in, unless it is told another one."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    time_them("onnxruntime", SMALL)
    assert list(tmp_path.iterdir()) == []
