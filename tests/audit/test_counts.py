"""What there is to compute, and the totals of counters: of each against the tool alone, and against what it adds."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchinfo
from hypothesis import given
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mnfpn_cli.audit.counters import (
    COUNTERS,
    Counter,
    CountError,
    count_work,
    counts_record,
    installed_version,
    on_cpu,
    run_counter,
    tool_totals,
)
from mnfpn_cli.audit.terms import format_terms
from mnfpn_cli.documents.summary import CounterTotal, Term, WorkRecord
from mnfpn_cli.network.network import build_meta, build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.trace.observe import Operation, TensorShape
from mnfpn_cli.trace.passes import Input, Mode, run_pass
from mnfpn_cli.trace.trace import Trace, trace_network
from tests.audit.counted import MEASURED, Measured, PlainList, encoder, torchvision_model
from tests.strategies import settings_and_size
from tests.tiers import at_most

THREE = ("fvcore", "FlopCounterMode", "torchinfo")
"""Counters that every install has."""
BY_NAME = {one.name: one for one in COUNTERS}
CASES = [pytest.param(one.name, id=one.name) for one in COUNTERS]


def looked(network: nn.Module, *shapes: TensorShape) -> Trace:
    """A network after its pass."""
    return trace_network(network, [Input(shape) for shape in shapes], gradients=False)


def totals_of(network: nn.Module, *shapes: TensorShape) -> dict[str, CounterTotal]:
    """The total of each counter."""
    return {one.tool: one for one in tool_totals(looked(network, *shapes))}


def total_of(counter: str, network: nn.Module, *shapes: TensorShape) -> CounterTotal:
    """The total of one counter, which has to be installed."""
    needs(counter)
    (found,) = tool_totals(looked(network, *shapes), [BY_NAME[counter]])
    return found


def needs(counter: str) -> None:
    """Skip a test of a counter that is not installed."""
    try:
        installed_version(BY_NAME[counter])
    except CountError as reason:
        pytest.skip(f"{counter}: {reason}")


def installed(totals: dict[str, CounterTotal]) -> list[CounterTotal]:
    """The totals of counters that are installed."""
    return [one for one in totals.values() if one.version is not None]


def printed(network: nn.Module, *shapes: TensorShape) -> dict[str, int]:
    """What the three counters of every install give when they are called alone; torchinfo may leave its marks."""
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
    work = count_work(trace_network(default(), [Input((1, 3, 600, 900))], gradients=False))
    assert work == WorkRecord(
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
    assert count_work(trace_network(EveryKind().eval(), [Input((2, 3, 8, 8))], gradients=False)) == WorkRecord(
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


@pytest.mark.parametrize("mode", ["meta", "real"])
def test_fused_attention_has_its_products_however_it_is_run(mode: Mode) -> None:
    """Queries times keys, and that times values; torch has no formula of its own for the kernel of CPUs."""
    events = run_pass(Attending(), [Input((2, 3, 10, 8))], mode).events
    assert sum(event.macs for event in events if isinstance(event, Operation)) == 2 * (2 * 3 * 10 * 10 * 8)


DEFAULT = {
    "fvcore": (30_138_754_224, "MACs + 2 × batch-norm elements + 4 × bilinear elements"),
    "torchinfo": (29_972_763_408, "MACs + biases + norm parameters"),
    "FlopCounterMode": (59_899_443_104, "2 × MACs"),
    "ptflops": (30_193_247_680, "MACs + biases + 2 × batch-norm elements + activations + upsampled elements"),
    "thop": (30_236_874_128, "MACs + 4 × batch-norm elements"),
    "calflops": (60_066_074_087, "2 × MACs + biases of convolutions + 2 × batch-norm elements + upsampled positions"),
}


def test_the_default_network_has_these_totals_and_all_of_each_is_explained() -> None:
    """To the last digit, with nothing left over and nothing to note."""
    found = installed(totals_of(default(), (1, 3, 600, 900)))
    assert {one.tool for one in found} >= set(THREE)
    assert {one.tool: (one.total, one.meaning) for one in found} == {one.tool: DEFAULT[one.tool] for one in found}
    assert all(one.exact and one.remainder == 0 and not one.note for one in found)


@at_most(25)
@given(settings_and_size())
def test_any_network_of_ours_has_the_totals_of_the_tools_alone_and_all_of_each_is_explained(
    drawn: tuple[NetworkSettings, Size],
) -> None:
    """On random settings, odd sizes included."""
    chosen, size = drawn
    shape = (1, chosen.in_channels, *size)
    found = totals_of(build_meta(plan_network(chosen)), shape)
    assert printed(build_network(chosen), shape) == {tool: found[tool].total for tool in THREE}
    assert [one.tool for one in installed(found) if not one.exact] == []


class Recurring(nn.Module):
    """A recurrent layer of two directions, and a dense layer for its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.dense = nn.GRU(6, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        result: Tensor = self.dense(self.gru(x)[0][:, -1])  # (1, 7, 10), (1, 3)
        return result


class Attends(nn.Module):
    """Fused attention between dense layers, behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.entry, self.end = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        q, k, v = self.entry(self.norm(x)).reshape(1, 1, 10, 24).split(8, -1)
        result: Tensor = self.end(F.scaled_dot_product_attention(q, k, v)[0])  # (1, 10, 8)
        return result


class Functional(nn.Module):
    """A convolution and more by functions alone."""

    def __init__(self) -> None:
        super().__init__()
        self.known, self.weight = nn.Conv2d(3, 4, 3), nn.Parameter(torch.zeros(5, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        return F.interpolate(F.relu(F.conv2d(self.known(x), self.weight)), size=(9, 9), mode="bilinear")


@pytest.mark.parametrize("counter", CASES)
@pytest.mark.parametrize(
    ("network", "shape"),
    [(Recurring, (1, 7, 6)), (Attends, (1, 10, 8)), (Functional, (1, 3, 12, 12))],
    ids=["recurrent", "attention", "functional"],
)
def test_what_a_counter_misses_is_among_its_terms(network: type[nn.Module], shape: TensorShape, counter: str) -> None:
    """With a minus: recurrent layers, fused attention, layers that are called as functions."""
    found = total_of(counter, network().eval(), shape)
    assert (found.exact, found.remainder) == (True, 0), found.meaning
    assert found.total == sum(term.factor * term.amount for term in found.terms)


def test_what_is_missed_is_named() -> None:
    """By words that say where it is."""
    attention = totals_of(Attends().eval(), (1, 10, 8))
    assert attention["fvcore"].meaning.startswith("MACs − MACs of fused attention + ")
    assert attention["FlopCounterMode"].meaning == "2 × MACs − 2 × MACs of fused attention"
    assert totals_of(Recurring().eval(), (1, 7, 6))["fvcore"].meaning == "MACs − MACs of recurrent layers"
    assert "− MACs outside known layers" in totals_of(Functional().eval(), (1, 3, 12, 12))["torchinfo"].meaning


def test_what_no_term_explains_is_shown_as_a_remainder() -> None:
    """``padding="same"`` has no rule in fvcore, which leaves out the convolution."""
    found = totals_of(nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")).eval(), (1, 3, 8, 8))["fvcore"]
    macs = 4 * 3 * 9 * 64
    assert (found.total, found.exact, found.remainder) == (0, False, -macs)
    assert found.meaning == f"MACs − {macs:,} unexplained"


@pytest.mark.parametrize(
    ("terms", "remainder", "text"),
    [
        ([("MACs", 1)], 0, "MACs"),
        ([("MACs", 2), ("biases", -1), ("places", -3)], 1_234, "2 × MACs − biases − 3 × places + 1,234 unexplained"),
        ([("states", -1)], -5, "− states − 5 unexplained"),
        ([], 7, "7 unexplained"),
        ([], 0, "nothing that it counts"),
    ],
)
def test_terms_are_written_as_a_sum(terms: list[tuple[str, int]], remainder: int, text: str) -> None:
    """With the remainder, if any, at the end."""
    made = [Term(quantity=name, factor=factor, amount=1) for name, factor in terms]
    assert format_terms(made, remainder) == text


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_torchvisions_convolutional_networks_have_the_totals_that_the_tools_print(name: str) -> None:
    """Explained but for what ``F.adaptive_avg_pool2d`` reads, which MobileNetV2 calls itself, and fvcore counts."""
    network = torchvision_model(name)()
    found = totals_of(network, (2, 3, 64, 96))
    assert {tool: found[tool].remainder for tool in THREE if not found[tool].exact} == (
        {"fvcore": 2 * 1280 * 2 * 3} if name == "mobilenet_v2" else {}
    )
    assert printed(network, (2, 3, 64, 96)) == {tool: found[tool].total for tool in THREE}


LARGE = ("vit_b_16", "swin_t", "timm_vit_tiny")


@pytest.mark.slow
def test_a_vision_transformer_has_the_totals_that_the_tools_print() -> None:
    """FlopCounterMode misses attention on a CPU, whose kernel it has no formula for; its row says so."""
    network = torchvision_model("vit_b_16")()
    found = totals_of(network, (1, 3, 224, 224))
    numbers = printed(network, (1, 3, 224, 224))
    with FlopCounterMode(display=False) as counter:  # with gradients; without them torch joins attention's layers
        network(torch.zeros(1, 3, 224, 224))
    assert counter.get_total_flops() > numbers["FlopCounterMode"]
    assert {tool: found[tool].total for tool in THREE} == numbers | {"FlopCounterMode": counter.get_total_flops()}
    assert found["FlopCounterMode"].exact
    assert "− 2 × MACs of fused attention" in found["FlopCounterMode"].meaning


@pytest.mark.parametrize("counter", ["ptflops", "thop", "calflops"])
@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=[pytest.mark.slow] * (row.name in LARGE)) for row in MEASURED]
)
def test_counters_of_the_extra_have_the_totals_that_they_print_alone(row: Measured, counter: str) -> None:
    """Presets, torchvision, recurrent layers, transformers, shared and hidden layers."""
    found = total_of(counter, row.make(), *row.inputs)
    assert found.total == getattr(row, counter)
    assert found.exact or f"{abs(found.remainder or 0):,} unexplained" in found.meaning


def test_a_batch_is_noted_where_a_counter_takes_it_apart() -> None:
    """Ptflops divides what modules compute by the images, and not what functions do."""
    assert "one image" in total_of("ptflops", PlainList().eval(), (2, 3, 20, 20)).note
    assert not total_of("ptflops", PlainList().eval(), (1, 3, 20, 20)).note


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
    """Their MACs are in the work and in FlopCounterMode's total, and not in those of counters of modules."""
    hidden = PlainList().eval()
    shape = (1, 3, 20, 20)
    work = count_work(looked(hidden, shape))
    found = totals_of(hidden, shape)
    missed = 8 * 8 * 9 * 18 * 18
    assert found["FlopCounterMode"].total == 2 * work.macs == 2 * (8 * 3 * 9 * 18 * 18 + missed)
    assert found["torchinfo"].total == work.macs - missed + 8 * 18 * 18 + 2 * 8
    assert found["thop"].total in (None, work.macs - missed + 4 * 8 * 18 * 18)
    assert [one.tool for one in installed(found) if one.tool in ("torchinfo", "thop") and not one.exact] == []


def test_a_counter_that_fails_has_no_total_but_a_reason() -> None:
    """A parameter that is not registered cannot be traced by fvcore; without gradients it can."""
    hidden = PlainList().eval()
    found = totals_of(hidden, (1, 3, 20, 20))["fvcore"]
    assert (found.total, found.exact, found.meaning, found.terms, found.remainder) == (None, False, "", (), None)
    assert found.note.startswith("it failed: RuntimeError: ")
    assert "requires grad" in found.note
    with pytest.raises(RuntimeError, match="requires grad"):
        printed(hidden, (1, 3, 20, 20))
    for layer in hidden.hidden:
        layer.requires_grad_(False)
    assert totals_of(hidden, (1, 3, 20, 20))["fvcore"].total == printed(hidden, (1, 3, 20, 20))["fvcore"]


@pytest.mark.parametrize("counter", CASES)
def test_a_counter_that_is_not_installed_says_how_to_install_it(counter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip takes it; the others count all the same."""
    package = BY_NAME[counter].package
    if package == "torch":
        pytest.skip("torch is always there")
    monkeypatch.setitem(sys.modules, package, None)
    totals = totals_of(nn.Sequential(nn.Conv2d(3, 4, 1)).eval(), (1, 3, 4, 4))
    found = totals[counter]
    assert (found.version, found.total, found.exact, found.meaning) == (None, None, False, "")
    extra = "mnfpn[counters]" if counter in ("ptflops", "thop", "calflops") else "mnfpn"
    assert found.note == f"not installed; pip install '{extra}' adds it"
    assert totals["FlopCounterMode"].total == 2 * 4 * 3 * 16


@pytest.mark.parametrize("text", ["import package_of_nobody", "raise RuntimeError('half installed')", "of_nobody = 1"])
def test_a_counter_that_cannot_be_imported_says_why(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where what it needs itself is missing: it is installed, and does not work."""
    (tmp_path / "counter_of_tests.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CountError, match=r"^importing counter_of_tests failed: .*(of_nobody|half installed|metadata)"):
        installed_version(Counter("its name", "counter_of_tests", "mnfpn", "MACs", lambda *_: 0))


def test_what_a_counter_does_to_torch_to_the_network_and_to_the_screen_is_gone_when_it_fails(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Functions, methods, hooks, buffers, modes, prints, warnings and logs."""

    def careless(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
        sys.stdout.write("printed\n")
        sys.stderr.write("printed too\n")
        warnings.warn("warned", stacklevel=1)
        logging.getLogger("counter").error("logged")
        F.relu = torch.add = Tensor.matmul = None  # type: ignore[assignment]
        network.train()
        network.register_buffer("total_ops", torch.zeros(1))
        network.register_forward_hook(lambda *_: None)
        raise ValueError("gave up")

    network = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    trace, before = looked(network, (1, 3, 4, 4)), (F.relu, torch.add, Tensor.matmul)
    with on_cpu(trace) as seen, pytest.raises(CountError, match=r"^it failed: ValueError: gave up$"):
        run_counter(Counter("careless", "torch", "mnfpn", "MACs", careless), seen)
    assert (F.relu, torch.add, Tensor.matmul) == before
    assert "matmul" not in vars(Tensor)
    assert not network.training
    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    assert not network._forward_hooks
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_pass_that_memory_has_no_room_for_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fvcore's is a real one; the others are not computed."""
    trace = looked(default(), (1, 3, 600, 900))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1_000))
    found = {one.tool: one for one in tool_totals(trace)}
    assert found["fvcore"].total is None
    assert found["fvcore"].note.endswith("bytes of memory, and 1,000 are available")
    assert found["torchinfo"].total == DEFAULT["torchinfo"][0]


class Adding(nn.Module):
    """The same sum, written in one of four ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.weight = way, nn.Parameter(torch.zeros(2, 3))

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


@pytest.mark.parametrize("counter", ["ptflops", "calflops"])
@pytest.mark.parametrize(("way", "total"), [("operator", 0), ("function", 6), ("method", 6), ("sum", 0)])
def test_counters_that_patch_functions_do_not_see_operators(way: str, total: int, counter: str) -> None:
    """``torch.add`` counts and ``+`` does not, nor does ``sum()``."""
    found = total_of(counter, Adding(way).eval(), (2, 3))
    assert (found.total, found.remainder) == (total, total)


def test_a_function_that_a_module_keeps_is_patched_too_late() -> None:
    """``nn.TransformerEncoderLayer`` keeps ``F.relu``: calflops counts dense layers and norms there, and no ReLU."""
    tokens, width, inner, layers = 10, 16, 32, 2
    dense = 2 * tokens * (4 * width * width + 2 * width * inner)
    norms = 2 * 5 * tokens * width
    assert total_of("calflops", encoder(), (2, 5, 16)).total == layers * (dense + norms)


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
    once, thrice = (installed(totals_of(Called(times).eval(), (1, 4, 5, 5))) for times in (1, 3))
    assert [one.total for one in thrice] == [3 * (one.total or 0) for one in once]
    assert all(one.total for one in once)


class ByKeyword(nn.Module):
    """A layer that is called by the name of its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        return F.relu(self.layer(input=x))


@pytest.mark.parametrize(
    ("counter", "layer", "fails"),
    [
        ("ptflops", nn.Conv2d(3, 4, 1), True),
        ("ptflops", nn.Linear(6, 4), True),
        ("thop", nn.Conv2d(3, 4, 1), True),
        ("thop", nn.Linear(6, 4), False),
        ("torchinfo", nn.Conv2d(3, 4, 1), False),
        ("torchinfo", nn.GRUCell(6, 4), False),
    ],
)
def test_a_hook_that_reads_a_positional_input_fails_where_there_is_none(
    counter: str, layer: nn.Module, fails: bool
) -> None:
    """Some of the tools' hooks read ``input[0]``; no number is made up for them."""
    shape = (1, 6) if isinstance(layer, nn.GRUCell) else (1, 3, 6, 6)
    found = total_of(counter, ByKeyword(layer).eval(), shape)
    assert (found.total is None) == fails
    assert found.note.startswith("it failed: ") == fails
    assert ("index out of range" in found.note) == fails


def test_the_network_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Running statistics, modes, hooks, buffers and attributes, of hidden layers too; and nothing is printed."""
    hidden = PlainList().train()
    modules = [*hidden.modules(), *hidden.hidden]
    before, attributes = [one.clone() for one in _state([hidden, *hidden.hidden])], [dict(vars(one)) for one in modules]
    functions = {space: dict(vars(space)) for space in (F, Tensor)}
    totals_of(hidden, (2, 3, 20, 20))
    assert all(torch.equal(one, was) for one, was in zip(_state([hidden, *hidden.hidden]), before, strict=True))
    assert all(module.training and not module._forward_hooks for module in modules)
    assert [dict(vars(one)) for one in modules] == attributes
    assert all(dict(vars(space)) == held for space, held in functions.items())
    assert capfd.readouterr() == ("", "")


def test_a_network_on_the_meta_device_stays_there() -> None:
    """Counters run it on the CPU."""
    network = default()
    parameters = list(network.parameters())
    counts = counts_record(looked(network, (1, 3, 64, 64)))
    assert all(one is was and one.is_meta for one, was in zip(network.parameters(), parameters, strict=True))
    assert counts.work.macs > 0
    assert all(one.exact for one in counts.tools if one.version)


def _state(modules: Sequence[nn.Module]) -> list[Tensor]:
    return [one for module in modules for one in (*module.parameters(), *module.buffers())]
