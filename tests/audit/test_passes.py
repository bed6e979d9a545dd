"""A pass is watched in the cheapest way in which a network runs, and leaves it as it was."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.network.network import build_meta, build_network
from mnfpn_cli.plan.cost import activation_bytes, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.trace.passes import Input, Mode, cheapest_pass, run_pass
from mnfpn_cli.trace.trace import trace_network
from tests.audit.traced import inspected, tree_of
from tests.strategies import settings_and_size
from tests.tiers import at_most


class Decides(nn.Module):
    """Looks at a number, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        """Take one of two ways."""
        y: Tensor = self.norm(self.one(x))
        return y if y.sum().item() > 0 else -y


MODES: dict[str, tuple[nn.Module, tuple[int, ...], Mode]] = {
    "a convolution": (nn.Conv2d(3, 4, 1), (1, 3, 8, 8), "meta"),
    "an LSTM, which asks where its weights are": (nn.LSTM(4, 5, 2), (7, 2, 4), "fake"),
    "one that looks at numbers": (Decides(), (2, 3, 8, 8), "real"),
}


@pytest.mark.parametrize("name", MODES)
def test_the_cheapest_way_that_works_is_taken(name: str) -> None:
    """And all that is counted is the same in every one."""
    network, shape, mode = MODES[name]
    assert cheapest_pass(network, [Input(shape)]).mode == mode
    if mode == "meta":
        passes = [run_pass(network, [Input(shape)], one) for one in ("meta", "fake", "real")]
        assert len({(sum(getattr(e, "macs", 0) for e in p.events), p.peak_bytes, p.outputs) for p in passes}) == 1


def test_products_of_an_lstm_are_counted() -> None:
    """Four gates, of an input and a state, at each step."""
    assert tree_of(nn.LSTM(4, 5), (7, 2, 4)).rows[0].macs == 7 * 2 * 4 * 5 * (4 + 5)


def test_products_of_a_bilinear_layer_are_counted() -> None:
    """Each weight is multiplied once for each row."""
    (layer,) = tree_of(Pair(), (5, 3)).rows[1:]
    assert (layer.type, layer.macs) == ("Bilinear", 5 * 3 * 3 * 2)


class Pair(nn.Module):
    """A bilinear layer of its input with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(3, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        y: Tensor = self.layer(x, x)
        return y


class Sparse(nn.Module):
    """A product with a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        y: Tensor = torch.sparse.mm(x[0, 0].to_sparse(), self.weight)
        return y


def quantised() -> nn.Module:
    """A layer of torch in int8."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        quantize: Callable[..., nn.Module] = torch.ao.quantization.quantize_dynamic
        return quantize(nn.Sequential(nn.Linear(8, 4)), {nn.Linear})


@pytest.mark.parametrize(("make", "name"), [(Sparse, "aten::_sparse_addmm"), (quantised, "quantized::linear_dynamic")])
def test_products_that_are_not_counted_are_named(make: Callable[[], nn.Module], name: str) -> None:
    """As no formula is known for their MACs."""
    audit = inspected(make(), (1, 3, 8, 8)).audit
    assert audit is not None
    assert f"Not counted in MACs: {name}." in audit.notes


class Meddles(nn.Module):
    """Changes whatever it can in its forward."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.seen = nn.BatchNorm2d(3), [1]
        self.register_buffer("steps", torch.zeros(()))
        self.first = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Count, keep, switch modes, freeze, and hook."""
        self.norm.train()
        self.steps += 1
        self.cache = x
        self.seen.append(2)
        self.first.requires_grad_(False)
        with torch.no_grad():
            self.first.mul_(2)
        self.norm.register_forward_hook(lambda *_: None)
        y: Tensor = self.norm(x) * self.first
        return y


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("mode", ["meta", "fake", "real"])
def test_a_network_is_left_as_it_was(mode: Mode, train: bool) -> None:
    """Modes, hooks, attributes, lists, gradients, and every number in the state dict."""
    network = Meddles().train(train)
    network.norm.eval()
    network.first.grad = torch.full((3, 1, 1), 5.0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    attributes, buffer = dict(vars(network)), network.steps
    run_pass(network, [Input((2, 3, 4, 4))], mode, train=True)
    assert vars(network) == attributes
    assert network.steps is buffer
    assert (network.training, network.norm.training, network.seen) == (train, False, [1])
    assert not network.norm._forward_hooks
    assert network.first.requires_grad
    assert network.first.grad.tolist() == [[[5.0]]] * 3
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(str(value.device) == "cpu" for value in network.state_dict().values())


def test_an_inspection_leaves_a_network_as_it_was_where_it_fails() -> None:
    """In the middle of its forward."""

    class Fails(Meddles):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise ValueError("half way")

    network = Fails()
    with pytest.raises(ModelError, match="ValueError: half way"):
        inspected(network, (2, 3, 4, 4))
    assert (network.seen, float(network.steps), network.training) == ([1], 0.0, True)
    assert not hasattr(network, "cache")


@at_most(30)
@given(settings_and_size())
def test_the_peak_of_activations_is_the_plans(case: tuple[NetworkSettings, Size]) -> None:
    """Which another test holds against a real pass; to the byte, for two images, with gradients on or off."""
    network_settings, size = case
    plan, input = plan_network(network_settings), network_input(network_settings, size, batch=2)
    network = build_meta(plan)
    trace = trace_network(network, [Input(input.shape)], gradients=False)
    assert trace.eval_pass.peak_bytes == activation_bytes(plan, input, "float32")
    assert sum(getattr(event, "macs", 0) for event in trace.eval_pass.events) == 2 * network_cost(plan, size).total.macs


def allocated_peak(network: nn.Module, shape: tuple[int, ...]) -> int:
    """The most bytes that torch's CPU allocator had handed out in a pass, more than before it."""
    from torch.profiler import ProfilerActivity, profile

    image, events = torch.rand(shape), list[Any]()
    with torch.no_grad():
        network(image)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            network(image)
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            events.append((event.start_ns(), event.nbytes()))
    total = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        total += size
        peak = max(peak, total)
    return peak + image.nbytes


@pytest.mark.parametrize("preset", ["plain", "default"])
def test_the_peak_of_activations_is_what_the_allocator_saw(preset: str) -> None:
    """Which has the scratch space of kernels on top: here a 3×3 convolution's weights in another order."""
    if preset == "plain":
        network: nn.Module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Hardswish(), nn.MaxPool2d(2), nn.Flatten()).eval()
        shape = (2, 3, 64, 64)
    else:
        network, shape = build_network(NetworkSettings()), (1, 3, 320, 480)
    expected = cheapest_pass(network, [Input(shape)]).peak_bytes
    assert expected <= allocated_peak(network, shape) <= 1.1 * expected


def test_no_memory_is_taken_whatever_the_size() -> None:
    """A terabyte of activations is a matter of shapes, also with weights that are real."""
    trace = trace_network(nn.Sequential(nn.Conv2d(3, 64, 3, padding=1)), [Input((1, 3, 60_000, 60_000))])
    assert trace.eval_pass.peak_bytes == 4 * (3 + 64) * 60_000**2


class Lazy(nn.Module):
    """A layer that learns its width from what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        y: Tensor = self.conv(x)
        return y


def scripted() -> nn.Module:
    """Layers that Python does not run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        script: nn.Module = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 1)))
        return script


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Lazy, r"Lazy has lazy layers without shapes \(conv.weight\)"),
        (
            scripted,
            "RecursiveScriptModule is TorchScript, whose layers do not run in Python: pass the module that it was made "
            "from",
        ),
        (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(scripted())), r"1\.0 of Sequential is TorchScript"),
    ],
)
def test_a_network_that_cannot_be_traced_is_refused(make: Callable[[], nn.Module], message: str) -> None:
    """The message says what to give instead."""
    with pytest.raises(MnfpnError, match=message):
        inspected(make(), (1, 3, 8, 8))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_hide_no_gradient(reentrant: bool) -> None:
    """Where gradients cannot be followed into one, nothing is accused, and that is said."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                return checkpoint(self.second, self.first(x), use_reentrant=reentrant)

    audit = inspected(Checkpointed(), (1, 3, 8, 8)).audit
    assert audit is not None
    assert audit.findings == ()
    assert bool(audit.notes) == reentrant
