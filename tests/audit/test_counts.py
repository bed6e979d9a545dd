"""What there is to compute, and the totals of tools: of three against the tools, of three against what they printed."""

import warnings
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mnfpn_cli.audit.counts import ToolTotal, WorkCounts, count_work, tool_totals
from mnfpn_cli.network.build import build_meta, build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.trace.facts import look
from mnfpn_cli.trace.observe import Operation, Shape
from mnfpn_cli.trace.passes import How, Input, run_pass
from tests.audit.counted import MEASURED, Measured, PlainList, encoder, torchvision_model
from tests.strategies import settings_and_size
from tests.tiers import at_most


def totals_of(network: nn.Module, *shapes: Shape) -> dict[str, ToolTotal]:
    """The total of each tool."""
    found = tool_totals(look(network, [Input(shape) for shape in shapes], gradients=False))
    return {one.tool: one for one in found}


def printed(network: nn.Module, *shapes: Shape) -> dict[str, int]:
    """What the three tools that are at hand print; torchinfo, the last, may leave its marks on the network."""
    torchinfo = pytest.importorskip("torchinfo")
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    with warnings.catch_warnings():
        # fvcore traces with torch.jit, which torch has deprecated, and which warns of sizes that become constants
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, inputs)
        fvcore = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    summary = torchinfo.summary(network, input_data=list(inputs), verbose=0, device="cpu")
    return {"fvcore": int(fvcore), "FlopCounterMode": counter.get_total_flops(), "torchinfo": summary.total_mult_adds}


def default() -> nn.Module:
    """The default network, at 600×900 when it is run."""
    return build_meta(plan_network(NetworkSettings()))


def test_the_default_network_has_just_this_to_compute() -> None:
    """Additions are those of the residuals, 2,360,464, and of the pyramid, as many as elements are upsampled."""
    work = count_work(look(default(), [Input((1, 3, 600, 900))], gradients=False))
    assert work == WorkCounts(
        convolution_macs=29_949_721_552,
        dense_macs=0,
        bias_adds=23_010_304,
        batch_norm=71_788_144,
        other_norms=0,
        activations=65_575_440,
        resized=11_364_096,
        additions=2_360_464 + 11_364_096,
        multiplications=0,
        pooled=0,
    )


class EveryKind(nn.Module):
    """Work of every kind, a different number of each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.batch_norm = nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)
        self.pool, self.layer_norm, self.dense = nn.AvgPool2d(2), nn.LayerNorm(4), nn.Linear(4, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        x = self.batch_norm(self.conv(x))  # (n, 5, 8, 8)
        x = self.layer_norm(self.pool(x))  # (n, 5, 4, 4)
        x = F.interpolate(F.relu(self.dense(x)), size=(3, 3))  # (n, 5, 4, 7), (n, 5, 3, 3)
        x = x[:, :1] + 1
        return x[:, :, :1] * 2


def test_every_kind_of_work_is_told_apart() -> None:
    """Elements of what comes out, for the whole batch; of pooling, those that are read."""
    assert count_work(look(EveryKind().eval(), [Input((2, 3, 8, 8))], gradients=False)) == WorkCounts(
        convolution_macs=2 * 5 * 64 * 3,
        dense_macs=2 * 5 * 4 * 4 * 7,
        bias_adds=2 * 5 * 64,
        batch_norm=2 * 5 * 64,
        other_norms=2 * 5 * 16,
        activations=2 * 5 * 28,
        resized=2 * 5 * 9,
        additions=2 * 9,
        multiplications=2 * 3,
        pooled=2 * 5 * 64,
    )


class Attending(nn.Module):
    """Fused attention, and nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        return F.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize("how", ["meta", "real"])
def test_fused_attention_has_its_products_however_it_is_run(how: How) -> None:
    """Queries times keys, and that times values; torch has no formula of its own for the kernel of CPUs."""
    events = run_pass(Attending(), [Input((2, 3, 10, 8))], how).events
    assert sum(event.macs for event in events if isinstance(event, Operation)) == 2 * (2 * 3 * 10 * 10 * 8)


def test_the_default_network_has_the_totals_that_the_tools_print() -> None:
    """All six, to the last digit, and none in doubt."""
    found = totals_of(default(), (1, 3, 600, 900))
    assert {tool: one.total for tool, one in found.items()} == {
        "fvcore": 30_138_754_224,
        "torchinfo": 29_972_763_408,
        "FlopCounterMode": 59_899_443_104,
        "ptflops": 30_193_247_680,
        "thop": 30_236_874_128,
        "calflops": 60_066_074_087,
    }
    assert all(one.exact and not one.note for one in found.values())


@at_most(25)
@given(settings_and_size())
def test_any_network_of_ours_has_the_totals_that_the_tools_print(drawn: tuple[NetworkSettings, Size]) -> None:
    """fvcore, torchinfo and FlopCounterMode agree with their derived totals on random settings, odd sizes included."""
    chosen, size = drawn
    shape = (1, chosen.in_channels, *size)
    found = totals_of(build_meta(plan_network(chosen)), shape)
    assert printed(build_network(chosen), shape) == {tool: found[tool].total for tool in THREE}
    assert all(one.exact for one in found.values())


THREE = ("fvcore", "FlopCounterMode", "torchinfo")


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_torchvisions_convolutional_networks_have_the_totals_that_the_tools_print(name: str) -> None:
    """Pooling, dense layers and torchvision's ways of writing them are seen as the tools see them."""
    network = torchvision_model(name)()
    found = totals_of(network, (2, 3, 64, 96))
    assert printed(network, (2, 3, 64, 96)) == {tool: found[tool].total for tool in THREE}


LARGE = ("vit_b_16", "swin_t", "timm_vit_tiny")


@pytest.mark.slow
def test_a_vision_transformer_has_the_totals_that_the_tools_print() -> None:
    """Two on a CPU; FlopCounterMode on the meta device, where no kernel hides attention from it."""
    network = torchvision_model("vit_b_16")()
    found = totals_of(network, (1, 3, 224, 224))
    numbers = printed(network, (1, 3, 224, 224))
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.zeros(1, 3, 224, 224, device="meta"))
    assert (found["fvcore"].total, found["torchinfo"].total) == (numbers["fvcore"], numbers["torchinfo"])
    assert found["FlopCounterMode"].total == counter.get_total_flops() > numbers["FlopCounterMode"]
    assert not found["FlopCounterMode"].exact
    assert "no_grad" in found["fvcore"].note


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=[pytest.mark.slow] * (row.name in LARGE)) for row in MEASURED]
)
def test_tools_that_are_not_installed_have_the_totals_that_they_printed(row: Measured) -> None:
    """ptflops, thop and calflops: presets, torchvision, recurrent layers, transformers, shared and hidden layers."""
    found = totals_of(row.make(), *row.inputs)
    assert {tool: found[tool].total for tool in ("ptflops", "thop", "calflops")} == {
        "ptflops": row.ptflops,
        "thop": row.thop,
        "calflops": row.calflops,
    }
    assert all(found[tool].exact for tool in ("ptflops", "thop", "calflops"))


UNUSUAL = ("lstm", "gru", "cells", "encoder", "transformer", "shared", "everything")


@pytest.mark.parametrize("row", [row for row in MEASURED if row.name in UNUSUAL], ids=lambda row: row.name)
def test_unusual_layers_have_the_totals_that_fvcore_and_torchinfo_print(row: Measured) -> None:
    """Recurrent layers and cells, attention in its parts, and a layer of nearly every other kind."""
    network = row.make()
    found = totals_of(network, *row.inputs)
    numbers = printed(network, *row.inputs)
    assert {tool: found[tool].total for tool in ("fvcore", "torchinfo")} == {
        "fvcore": numbers["fvcore"],
        "torchinfo": numbers["torchinfo"],
    }


def test_layers_in_a_plain_list_are_seen_by_operation_and_not_by_module() -> None:
    """Their MACs are in the work, in FlopCounterMode's total and in calflops', and in no other."""
    hidden = PlainList().eval()
    shape = (1, 3, 20, 20)
    work = count_work(look(hidden, [Input(shape)], gradients=False))
    found = totals_of(hidden, shape)
    missed = 8 * 8 * 9 * 18 * 18
    assert found["FlopCounterMode"].total == 2 * work.macs == 2 * (8 * 3 * 9 * 18 * 18 + missed)
    assert found["torchinfo"].total == work.macs - missed + 8 * 18 * 18 + 2 * 8
    assert found["thop"].total == work.macs - missed + 4 * 8 * 18 * 18


def test_a_tool_that_fails_has_no_total_but_a_reason() -> None:
    """A parameter that is not registered cannot be traced by fvcore; without gradients it can."""
    hidden = PlainList().eval()
    found = totals_of(hidden, (1, 3, 20, 20))["fvcore"]
    assert (found.total, found.exact) == (None, False)
    assert "not registered" in found.note
    with pytest.raises(RuntimeError, match="requires grad"):
        printed(hidden, (1, 3, 20, 20))
    for layer in hidden.hidden:
        layer.requires_grad_(False)
    assert totals_of(hidden, (1, 3, 20, 20))["fvcore"].total == printed(hidden, (1, 3, 20, 20))["fvcore"]


class Adding(nn.Module):
    """The same sum, written in one of four ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.weight = way, nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        match self.way:
            case "operator":
                return x + self.weight
            case "function":
                return torch.add(x, self.weight)
            case "method":
                return x.add(self.weight)
            case _:
                return sum([x, self.weight], start=torch.zeros_like(x))


@pytest.mark.parametrize(
    ("way", "total", "exact"), [("operator", 0, True), ("function", 6, True), ("method", 6, False), ("sum", 12, False)]
)
def test_tools_that_patch_functions_do_not_see_operators(way: str, total: int, exact: bool) -> None:
    """``torch.add`` counts and ``+`` does not; ``sum()`` is taken for a method, and the total is marked for it."""
    found = totals_of(Adding(way).eval(), (2, 3))
    assert [(found[tool].total, found[tool].exact) for tool in ("ptflops", "calflops")] == [(total, exact)] * 2


def test_a_function_that_a_module_keeps_is_patched_too_late() -> None:
    """``nn.TransformerEncoderLayer`` keeps ``F.relu``: calflops counts dense layers and norms there, and no ReLU."""
    tokens, width, inner, layers = 10, 16, 32, 2
    dense = 2 * tokens * (4 * width * width + 2 * width * inner)
    norms = 2 * 5 * tokens * width
    assert totals_of(encoder(), (2, 5, 16))["calflops"].total == layers * (dense + norms)


class Called(nn.Module):
    """A network whose layer is called as often as it is told."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.layer = times, nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        for _ in range(self.times):
            x = self.layer(x)
        return x


def test_a_module_that_is_called_three_times_counts_three_times() -> None:
    """In the work and in every tool."""
    once, thrice = (totals_of(Called(times).eval(), (1, 4, 5, 5)) for times in (1, 3))
    totals = {tool: one.total or 0 for tool, one in once.items()}
    assert {tool: one.total for tool, one in thrice.items()} == {tool: 3 * total for tool, total in totals.items()}
    assert all(totals.values())


class ByKeyword(nn.Module):
    """A layer that is called by the name of its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        return F.relu(self.layer(input=x))


@pytest.mark.parametrize(("layer", "failing"), [(nn.Conv2d(3, 4, 1), ["thop"]), (nn.Linear(6, 4), ["ptflops"])])
def test_a_hook_that_reads_a_positional_input_fails_where_there_is_none(layer: nn.Module, failing: list[str]) -> None:
    """The tools' hooks read ``input[0]``; no number is made up for them."""
    found = totals_of(ByKeyword(layer).eval(), (1, 3, 6, 6))
    assert [tool for tool, one in found.items() if one.total is None] == failing
    assert all("keywords alone" in found[tool].note for tool in failing)


def test_the_network_is_left_as_it_was() -> None:
    """Running statistics, modes and hooks, of hidden layers too, which stay in training mode in the second pass."""
    hidden = PlainList().train()
    before = [one.clone() for one in _state([hidden, *hidden.hidden])]
    totals_of(hidden, (2, 3, 20, 20))
    assert all(torch.equal(one, was) for one, was in zip(_state([hidden, *hidden.hidden]), before, strict=True))
    assert all(module.training and not module._forward_hooks for module in [*hidden.modules(), *hidden.hidden])


def _state(modules: Sequence[nn.Module]) -> list[Tensor]:
    return [one for module in modules for one in (*module.parameters(), *module.buffers())]
