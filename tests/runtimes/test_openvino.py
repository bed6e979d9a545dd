"""OpenVINO: where it runs, how it is set up, in which layout it returns maps, and what its own graph computes."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.devices.instructions import instructions_of
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.runtimes import openvino
from mnfpn_cli.runtimes.runtime import Job
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import DType, Size
from tests.export.networks import SMALL, shortened
from tests.needs import needs
from tests.runtimes.jobs import CPU, check_interrupted, job

needs_openvino = needs("openvino")


def test_it_is_installed_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not."""
    monkeypatch.setattr(openvino, "find_spec", lambda _name: None)
    assert openvino.unavailable_reason(CPU, "float32", False) == "not installed: pip install 'mnfpn[openvino]'"


@needs_openvino
def test_it_runs_on_the_cpu_alone() -> None:
    """Intel's GPUs are not supported here."""
    assert openvino.unavailable_reason(torch.device("cuda:0"), "float32", False) == "runs on the CPU alone"


@needs_openvino
@pytest.mark.parametrize(("dtype", "capability"), [("bfloat16", "BF16"), ("float16", "FP16")])
def test_a_dtype_needs_the_cpus_instructions(dtype: DType, capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them it computes in float32, and the figures would be another dtype's."""
    found = ["FP32", "INT8"]
    flags = ("avx512_bf16", "avx512_fp16")
    monkeypatch.setattr(openvino, "this_processor", lambda: instructions_of(flags, {}))
    monkeypatch.setattr(openvino, "_capabilities", lambda: found)
    assert openvino.unavailable_reason(CPU, dtype, False) == f"this processor has no {dtype} instructions"
    found.append(capability)
    assert openvino.unavailable_reason(CPU, dtype, False) is None


@needs_openvino
def test_capabilities_are_the_cpus() -> None:
    """Every CPU has float32."""
    assert "FP32" in openvino._capabilities()


@needs_openvino
def test_it_is_set_up_for_one_pass_at_a_time_on_torchs_threads() -> None:
    """In float32: where a CPU has bfloat16, it would take that by itself."""
    assert torch.get_num_threads() == 1  # by tests/conftest.py; it would take all cores by itself
    model = openvino._compiled(openvino._model(job()), "float32")
    names = ("PERFORMANCE_HINT", "NUM_STREAMS", "INFERENCE_NUM_THREADS")
    assert [model.get_property(name) for name in names] == ["LATENCY", 1, 1]
    assert model.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert list(model.inputs[0].partial_shape.to_shape()) == [2, 3, 32, 48]


@needs_openvino
def test_the_telemetry_of_openvino_is_not_imported() -> None:
    """No test has imported the package that reports to Google Analytics; other code still can."""
    openvino.prepare(job())
    assert not [name for name in sys.modules if name.partition(".")[0] == "openvino_telemetry"]


@needs_openvino
@pytest.mark.parametrize(
    ("limit", "dtype", "available"),
    [
        ("AVX2", "bfloat16", False),
        ("avx512_core_vnni", "bfloat16", False),
        ("AVX512_CORE_BF16", "bfloat16", True),
        ("AVX512_CORE_BF16", "float16", False),
        ("AVX512_CORE_FP16", "float16", True),
        ("ALL", "float16", True),
    ],
)
def test_instructions_that_are_hidden_are_missing(
    limit: str, dtype: DType, available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO lists what the CPU has, but computes with what oneDNN may use."""
    monkeypatch.setattr(openvino, "_capabilities", lambda: ["FP32", "BF16", "FP16"])
    flags = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16")
    monkeypatch.setattr(openvino, "this_processor", lambda: instructions_of(flags, {"ONEDNN_MAX_CPU_ISA": limit}))
    reason = f"ONEDNN_MAX_CPU_ISA={limit.upper()} forbids this processor's {dtype} instructions"
    assert openvino.unavailable_reason(CPU, dtype, False) == (None if available else reason)


class Ends(nn.Module):
    """Returns maps by a convolution, by an operation on one, and in halves; and what is no map."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 1)
        self.dense = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Turn images (n, 3, 4, 6) into maps and other tensors."""
        y = self.first(x).relu()
        z = y + self.second(y)
        halved = nn.functional.interpolate(z, scale_factor=0.5, mode="bilinear")
        return self.second(y), z, halved, self.dense(z), z.flatten(1), z.permute(0, 2, 3, 1)


@needs_openvino
@torch.inference_mode()
def test_maps_of_convolutions_have_channels_last_in_memory() -> None:
    """OpenVINO computes them so, and need not copy them; whoever reads them sees (n, channels, h, w)."""
    network = Ends().eval()
    images = torch.rand(2, 3, 4, 6)
    outputs = openvino.prepare(Job(network, False, (images,), CPU, "float32")).run()
    layouts = [one.dim() == 4 and one.is_contiguous(memory_format=torch.channels_last) for one in outputs]
    assert layouts == [True, True, True, False, False, False]
    for found, expected in zip(outputs, network(images), strict=True):
        torch.testing.assert_close(found, expected)


PRESETS = [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in ("mobilenetv2-classifier", "mobilenetv2-fpnlite")))
    for name in preset_names()
]


@needs_openvino
@pytest.mark.parametrize("preset", PRESETS)
def test_the_graph_has_the_macs_of_the_plan(preset: str) -> None:
    """Each layer of the network by its path, as often as it runs, all in float32."""
    size = Size(64, 96)
    mine = job(shortened(preset).at(size), (2, 3, *size))
    layers = Counter[str]()
    for name, module in mine.network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda *_, name=name: layers.update([name]))
    with torch.inference_mode():
        mine.network(*mine.inputs)
    graph = openvino.prepare(job(shortened(preset).at(size), (2, 3, *size))).graph
    assert graph is not None
    executed = graph()
    assert Counter(one.name for one in executed.operators) == layers
    macs = network_cost(plan_network(shortened(preset).at(size)), size).total.macs
    assert sum(one.macs for one in executed.operators) == 2 * macs
    assert executed.share_in("float32") == 1
    assert executed.conversions == 0


class Products(nn.Module):
    """Every other kind of layer that multiplies, some without weights, or without a name."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 6, 3, groups=2)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.grouped_up = nn.ConvTranspose2d(4, 6, 2, groups=2)
        self.twice = nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        """Turn maps (n, 4, 5, 5) into products (n, 6, 7, 7)."""
        y = self.grouped(x)  # (n, 6, 3, 3)
        y = self.grouped_up(self.up(y))  # (n, 4, 6, 6), then (n, 6, 7, 7)
        product: Tensor = self.twice(self.twice(y)) @ y.transpose(2, 3)
        return product


@needs_openvino
def test_the_graph_counts_groups_transposed_convolutions_and_products() -> None:
    """By the shapes of their weights; a product in no layer has the name that OpenVINO gives it."""
    job = Job(Products().eval(), False, (torch.rand(1, 4, 5, 5),), CPU, "float32")
    graph = openvino.prepare(job).graph
    assert graph is not None
    named = [(one.name if "." not in one.name else "product", one.macs) for one in graph().operators]
    product = 6 * 7 * 7 * 7
    assert named == [
        ("grouped", 6 * 3 * 3 * 2 * 3 * 3),
        ("up", 6 * 3 * 3 * 4 * 2 * 2),
        ("grouped_up", 4 * 6 * 6 * 3 * 2 * 2),
        *[("twice", product)] * 2,
        ("product", product),
    ]


@needs_openvino
def test_the_graph_of_bfloat16_says_so() -> None:
    """On a CPU that has it: outputs are converted to float32."""
    if reason := openvino.unavailable_reason(CPU, "bfloat16", False):
        pytest.skip(reason)
    graph = openvino.prepare(job(SMALL, dtype="bfloat16")).graph
    assert graph is not None
    executed = graph()
    assert executed.share_in("bfloat16") == 1
    assert executed.conversions >= 2


@needs_openvino
def test_the_bytes_of_the_file_are_those_of_its_weights_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary folder that cannot be written is no reason not to run."""
    weights = sum(one.nbytes for one in job(SMALL).network.parameters())
    bytes = openvino.prepare(job(SMALL)).file_bytes
    assert bytes is not None
    assert weights < bytes < 2 * weights

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openvino, "TemporaryDirectory", full)
    assert openvino.prepare(job()).file_bytes is None


@needs_openvino
def test_what_openvino_cannot_convert_is_an_error_in_words() -> None:
    """In its own words, but not by the place in its source."""

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = x + 1
            return y, y

    with pytest.raises(MnfpnError, match=r"^OpenVINO cannot run the network: Tensor name is not a number"):
        openvino.prepare(Job(Twice(), False, (torch.rand(1, 3, 4, 4),), CPU, "float32"))


AFTER_TWO = """
from mnfpn_cli.runtimes.runtime import load_runtime
from tests.runtimes.jobs import job

first, second = (load_runtime("openvino").prepare(job()) for _ in range(2))
del first
gc.collect()
del second
"""


@needs_openvino
@pytest.mark.slow
def test_ctrl_c_after_two_networks_is_no_crash() -> None:
    """Whichever of them goes first."""
    check_interrupted(AFTER_TWO)
