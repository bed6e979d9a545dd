"""ExecuTorch: where it runs, how it is set up, and what its own graph says that it executed."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.plan.cost import network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.quantization.quantization import Quantization
from mnfpn_cli.runtimes import executorch
from mnfpn_cli.runtimes.runtime import ExecutedGraph, Job, Prepared
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.export.networks import shortened
from tests.needs import needs
from tests.runtimes.jobs import CPU, TINY, expected, job

needs_executorch = needs("executorch", "torchao")

LEFT_OUT = "pyramid.smooth.p2"
"""The layer that is left in float32 in these tests."""


def int8(mine: Job, *keep_float: str) -> Job:
    """The job in int8, calibrated on its own inputs."""
    return replace(mine, dtype="int8", quantization=Quantization([mine.inputs], frozenset(keep_float)))


@dataclass(frozen=True)
class Made:
    """A prepared pass, and what was written to the terminal while it was made and run."""

    prepared: Prepared
    graph: ExecutedGraph
    outputs: list[Tensor]
    written: tuple[str, str]


def make(mine: Job, capfd: pytest.CaptureFixture[str]) -> Made:
    """Prepare a job, and run it."""
    capfd.readouterr()
    prepared = executorch.prepare(mine)
    outputs = list(prepared.outputs(prepared.run()))
    assert prepared.graph
    return Made(prepared, prepared.graph(), outputs, capfd.readouterr())


@pytest.mark.parametrize("missing", ["executorch", "torchao"])
def test_a_package_that_is_missing_is_installed_with_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them it is."""
    monkeypatch.setattr(executorch, "find_spec", lambda name: None if name == missing else "found")
    assert executorch.unavailable_reason(CPU, "float32", False) == "not installed: pip install 'mnfpn[executorch]'"


@pytest.mark.parametrize(
    ("device", "dtype", "train", "reason"),
    [
        ("cpu", "float32", False, None),
        ("cpu", "int8", False, None),
        ("cpu", "bfloat16", False, "float32 and int8 only"),
        ("cpu", "float16", False, "float32 and int8 only"),
        ("cuda", "float32", False, "runs on the CPU alone"),
        ("cpu", "int8", True, "inference only"),
    ],
)
def test_it_is_for_inference_on_cpus_in_float32_and_int8(
    device: str, dtype: DType, train: bool, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As XNNPACK's kernels are; a phone's other processors have backends of their own."""
    monkeypatch.setattr(executorch, "find_spec", lambda _name: "found")
    assert executorch.unavailable_reason(torch.device(device), dtype, train) == reason


@needs_executorch
def test_in_float32_it_computes_what_eager_does_and_its_graph_has_every_mac(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every convolution under the path of its layer, none of them outside XNNPACK, and nothing is written."""
    made = make(job(), capfd)
    assert largest_difference(made.outputs, expected()) < 1e-4
    assert made.written == ("", "")
    layers = [name for name, layer in job().network.named_modules() if isinstance(layer, nn.Conv2d)]
    assert [one.name for one in made.graph.operators] == layers
    assert {one.dtype for one in made.graph.operators} == {"float32"}
    macs = network_cost(plan_network(TINY), Size(32, 48)).total.macs
    assert sum(one.macs for one in made.graph.operators) == 2 * macs  # of two images
    assert made.graph.conversions == 0
    assert made.prepared.file_bytes
    before = made.prepared.run()[0].clone()
    made.prepared.inputs[0].zero_()  # every pass reads the same tensors
    assert not torch.equal(made.prepared.run()[0], before)
    assert largest_difference(made.outputs, expected()) < 1e-4  # which a later pass has not overwritten


@needs_executorch
def test_in_int8_a_layer_that_is_kept_computes_in_float32(capfd: pytest.CaptureFixture[str]) -> None:
    """All others in int8; what enters and leaves it is converted, as are the images and the outputs."""
    made = make(int8(job(), LEFT_OUT), capfd)
    assert made.written == ("", "")
    assert [one.name for one in made.graph.operators if one.dtype == "float32"] == [LEFT_OUT]
    assert {one.dtype for one in made.graph.operators} == {"float32", "int8"}
    assert made.graph.conversions == 2  # images to int8, and the input of the layer to float32
    (reference,) = expected()
    (found,) = made.outputs
    assert found.dtype == torch.float32
    noise = (found - reference).square().mean() / reference.square().mean()
    assert 1e-5 < noise < 1e-2  # 20 to 50 dB: quantised, and not broken
    assert torch.equal(made.prepared.run()[0], found)


@needs_executorch
def test_other_threads_are_refused_while_a_network_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for threads that are gone; afterwards they can be others."""
    from mnfpn_cli.export import xnnpack

    class Library:
        threads = 2

        def _threadpool_get_thread_count(self) -> int:
            return self.threads

        def _unsafe_reset_threadpool(self, threads: int) -> None:
            self.threads = threads

    library, loaded = Library(), {object()}
    monkeypatch.setattr(xnnpack, "_loaded", loaded)
    xnnpack._use_threads(library, 2)
    with pytest.raises(MnfpnError, match=r"same number of threads for all networks of a process: 2 now, got 3$"):
        xnnpack._use_threads(library, 3)
    loaded.clear()
    xnnpack._use_threads(library, 3)
    assert library.threads == 3


@needs_executorch
def test_a_failure_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the libraries raise; the first line is in it."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("no such kernel\nmore of it")

    monkeypatch.setattr("mnfpn_cli.export.xnnpack.trace_pass", fail)
    with pytest.raises(MnfpnError, match=r"^ExecuTorch cannot run the network: '?no such kernel"):
        executorch.prepare(job())


class SharedLayer(nn.Module):
    """A convolution that is called twice, with a batch norm of its own behind each call, as heads of detectors have."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
        for index, norm in enumerate(self.norms, 1):
            norm.running_var.fill_(index * 4.0)  # type: ignore[operator]
            norm.running_mean.fill_(index / 4)  # type: ignore[operator]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Turn images (n, 3, h, w) into two maps (n, 4, h, w)."""
        return [norm(self.shared(x)).clamp(0, 6) for norm in self.norms]


@needs_executorch
@pytest.mark.slow
def test_a_layer_that_is_called_twice_is_quantised_twice(capfd: pytest.CaptureFixture[str]) -> None:
    """With the batch norm behind each call folded into it: PT2E itself would drop the second one."""
    with torch.random.fork_rng():
        torch.manual_seed(4)  # with which both maps are well above 0
        network = SharedLayer().eval()
    inputs = (torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)),)
    with torch.no_grad():
        reference = network(*inputs)
    made = make(int8(Job(network, False, inputs, CPU, "float32")), capfd)
    assert [(one.name, one.dtype) for one in made.graph.operators] == [("shared", "int8")] * 2
    for found, wanted in zip(made.outputs, reference, strict=True):
        assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()


class UpsampledOutput(nn.Module):
    """A map that is an output and is upsampled too, as the topmost level of a pyramid without smoothing."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral, self.smooth = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Turn images (n, 3, h, w) into maps (n, 4, h, w) and (n, 4, 2 h, 2 w)."""
        top = self.lateral(x)
        return top, self.smooth(nn.functional.interpolate(top, scale_factor=2.0, mode="bilinear"))


@needs_executorch
@pytest.mark.slow
def test_an_output_in_int8_can_be_upsampled_too(capfd: pytest.CaptureFixture[str]) -> None:
    """XNNPACK refuses one float32 map for both."""
    network = UpsampledOutput().eval()
    inputs = (torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)),)
    with torch.no_grad():
        reference = network(*inputs)
    made = make(int8(Job(network, False, inputs, CPU, "float32")), capfd)
    for found, wanted in zip(made.outputs, reference, strict=True):
        assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()


@pytest.fixture(params=preset_names())
def preset(request: pytest.FixtureRequest) -> NetworkSettings:
    """Each preset, with few layers."""
    return shortened(request.param).at(Size(64, 96))


@needs_executorch
@pytest.mark.slow
def test_every_preset_is_as_in_eager_and_runs_in_int8(
    preset: NetworkSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    """With all MACs of the plan in the dtype that was asked for, and nothing written."""
    shape, macs = (1, 3, 64, 96), network_cost(plan_network(preset), Size(64, 96)).total.macs
    reference = expected(preset, shape)
    made = make(job(preset, shape), capfd)
    assert largest_difference(made.outputs, reference) < 1e-4
    quantised = make(int8(job(preset, shape)), capfd)
    assert made.written == quantised.written == ("", "")
    for graph, dtype in ((made.graph, "float32"), (quantised.graph, "int8")):
        assert graph.share_in(dtype) == 1
        assert sum(one.macs for one in graph.operators) == macs
    for found, wanted in zip(quantised.outputs, reference, strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).square().mean() < 0.1 * wanted.square().mean()
