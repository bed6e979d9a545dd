"""What takes part in a pass and is not in the tree is found, by the path where it hides."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mnfpn_cli.audit.audit import inspect_network
from mnfpn_cli.documents.audit import Finding
from mnfpn_cli.network.network import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.trace.hidden import module_expressions
from mnfpn_cli.trace.passes import Input
from tests.audit.traced import inspected
from tests.strategies import settings_and_size

IMAGE = (1, 3, 8, 8)


def found(network: nn.Module) -> list[Finding]:
    """What an audit says, less the counts, which follow from it."""
    audit = inspected(network, IMAGE).audit
    assert audit is not None
    return [finding for finding in audit.findings if finding.kind != "miscounted"]


def conv() -> nn.Conv2d:
    """A layer of 12 parameters."""
    return nn.Conv2d(3, 3, 1)


@dataclass
class Parts:
    """Holds layers."""

    last: nn.Module


class Holder:
    """An object of anybody's class."""

    __slots__ = ("layer",)

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer


class Calls(nn.Module):
    """Runs what it is given, from where it keeps it; ``run`` is found on the class."""

    def __init__(self, **kept: Any) -> None:
        super().__init__()
        self.registered = conv()
        for name, value in kept.items():
            setattr(self, name, value)


def closure() -> Callable[[Tensor], Tensor]:
    """A function that holds on to a layer."""
    layer = conv()
    return lambda x: layer(x)


ASSIGN = "assign the module to an attribute of Net itself"
LIST = "self.smooth = nn.ModuleList(self.smooth)"
NESTED = "make self.heads nn.ModuleDict, and each list in it nn.ModuleList"
TENSOR = "self.scale = nn.Parameter(self.scale) to learn it, register_buffer('scale', …) if constant"

LAYER = conv()

CASES: dict[str, tuple[dict[str, Any], Callable[[Any, Tensor], Tensor], list[str], str]] = {
    "list": (
        {"smooth": [conv(), conv()]},
        lambda m, x: m.smooth[1](m.smooth[0](x)),
        ["self.smooth[0]", "self.smooth[1]"],
        LIST,
    ),
    "tuple": ({"smooth": (conv(),)}, lambda m, x: m.smooth[0](x), ["self.smooth[0]"], LIST),
    "dictionary": (
        {"heads": {"a": conv()}},
        lambda m, x: m.heads["a"](x),
        ["self.heads['a']"],
        "self.heads = nn.ModuleDict(self.heads)",
    ),
    "list in a dictionary": (
        {"heads": {"a": [conv()]}},
        lambda m, x: m.heads["a"][0](x),
        ["self.heads['a'][0]"],
        NESTED,
    ),
    "lists and layers in a dictionary": (
        {"heads": {"a": [conv()], "b": conv()}},
        lambda m, x: m.heads["a"][0](m.heads["b"](x)),
        ["self.heads['b']", "self.heads['a'][0]"],
        "make self.heads, and what it holds, nn.ModuleList or nn.ModuleDict",
    ),
    "lists of other things in a dictionary": (
        {"heads": {"a": [conv(), 3]}},
        lambda m, x: m.heads["a"][0](x),
        ["self.heads['a'][0]"],
        "make self.heads, and what it holds, nn.ModuleList or nn.ModuleDict",
    ),
    "keys that a module cannot have": (
        {"heads": {4: conv()}},
        lambda m, x: m.heads[4](x),
        ["self.heads[4]"],
        "make self.heads nn.ModuleDict, whose keys are texts without dots",
    ),
    "keys with dots": (
        {"heads": {"a.b": conv()}},
        lambda m, x: m.heads["a.b"](x),
        ["self.heads['a.b']"],
        "make self.heads nn.ModuleDict, whose keys are texts without dots",
    ),
    "functions beside layers": (
        {"smooth": [conv(), torch.relu]},
        lambda m, x: m.smooth[1](m.smooth[0](x)),
        ["self.smooth[0]"],
        "put the modules of self.smooth into nn.ModuleList of their own, which takes nothing else",
    ),
    "a list with an empty place": (
        {"smooth": [conv(), None]},
        lambda m, x: m.smooth[0](x),
        ["self.smooth[0]"],
        LIST,
    ),
    "keys inside that a module cannot have": (
        {"heads": [{4: conv()}]},
        lambda m, x: m.heads[0][4](x),
        ["self.heads[0][4]"],
        "make self.heads, and what it holds, nn.ModuleList or nn.ModuleDict",
    ),
    "set": ({"smooth": {LAYER}}, lambda m, x: next(iter(m.smooth))(x), ["self.smooth.<one of 1>"], LIST),
    "deque": ({"smooth": deque([conv()])}, lambda m, x: m.smooth[0](x), ["self.smooth[0]"], LIST),
    "dataclass": ({"parts": Parts(conv())}, lambda m, x: m.parts.last(x), ["self.parts.last"], ASSIGN),
    "slots": ({"holder": Holder(conv())}, lambda m, x: m.holder.layer(x), ["self.holder.layer"], ASSIGN),
    "closure": ({"run": closure()}, lambda m, x: m.run(x), ["self.run.<closure>.layer"], ASSIGN),
    "partial": ({"run": partial(conv())}, lambda m, x: m.run(x), ["self.run.func"], ASSIGN),
    "method": ({"run": conv().forward}, lambda m, x: m.run(x), ["self.run.__self__"], ASSIGN),
    "inside a block": (
        {"blocks": [nn.Sequential(conv(), conv())]},
        lambda m, x: m.blocks[0](x),
        ["self.blocks[0]"],
        "self.blocks = nn.ModuleList(self.blocks)",
    ),
    "a parameter in a list": (
        {"weights": [nn.Parameter(torch.ones(2))]},
        lambda m, x: x * m.weights[0].sum(),
        ["self.weights[0]"],
        "self.weights = nn.ParameterList(self.weights)",
    ),
    "a plain tensor": ({"scale": torch.ones(3, 1, 1)}, lambda m, x: x * m.scale, ["self.scale"], TENSOR),
    "a layer called through its parameters": (
        {"smooth": [conv()]},
        lambda m, x: nn.functional.conv2d(x, m.smooth[0].weight),
        ["self.smooth[0]"],
        LIST,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_hides_is_found_by_path(name: str) -> None:
    """And by no other, with the remedy for the thing that it hides in."""
    kept, run, paths, remedy = CASES[name]

    class Net(Calls):
        def forward(self, x: Tensor) -> Tensor:
            return run(self, self.registered(x))

    (finding,) = found(Net(**kept))
    assert (finding.kind, list(finding.paths)) == ("unregistered", paths)
    assert finding.remedy.startswith(remedy)
    assert "of Net, test_unregistered.py:" in finding.message
    sizes = {"a parameter in a list": 2, "a plain tensor": 3}
    two = ("list", "inside a block", "lists and layers in a dictionary")
    assert finding.parameters == sizes.get(name, 12 * (2 if name in two else 1))


def test_a_path_below_a_registered_module_is_written_as_code() -> None:
    """So that it can be looked up on the network."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.smooth = [conv()]

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.smooth[0](x)
            return y

    network = nn.Sequential(nn.ModuleDict({"p2": Inner()})["p2"])
    (finding,) = found(network)
    assert finding.paths == ("self[0].smooth[0]",)
    assert isinstance(eval(finding.paths[0], {"self": network}), nn.Conv2d)


def test_a_layer_made_in_a_forward_is_found_by_its_caller() -> None:
    """No attribute leads to it, and it has new weights each time."""

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = conv()(x)
            return y

    (finding,) = found(nn.Sequential(Net()))
    assert (finding.kind, finding.paths, finding.parameters) == ("unregistered", ("0.forward(): Conv2d",), 12)


def test_what_does_no_harm_is_not_accused() -> None:
    """Activations anywhere, layers kept aside and not used, indices, and the network's own parts in a list."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = conv()
            self.again, self.activations, self.aside = [self.layer], [nn.ReLU()], [conv()]
            self.order = torch.tensor([2, 1, 0])

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = nn.GELU()(self.activations[0](self.again[0](x)))[:, self.order]
            return y + self.layer.weight.sum() + torch.tensor([1.0, 2.0]).sum() + torch.ones(8)

    assert found(Net()) == []


class Moved(nn.Module):
    """Stands in the place of a layer, which it keeps in a plain list."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.moved = [layer]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Call it."""
        y: Tensor = self.moved[0](*inputs)
        return y


@given(settings_and_size(), st.data())
def test_a_layer_of_any_network_moved_into_a_list_is_found_and_none_is_accused_before(
    case: tuple[NetworkSettings, Size], data: st.DataObject
) -> None:
    """By its path, with all its parameters; pyramids that leave levels out are meant to, and have their gap."""
    settings, size = case
    network, image = build_meta(plan_network(settings)), Input(network_input(settings, size).shape)
    names = tuple(str(name) for name in network.outputs)
    before = inspect_network(network, [[image]], names).audit
    assert before is not None
    assert [one for one in before.findings if one.kind != "stride_gap"] == []
    layers = [name for name, one in network.named_modules() if any(True for _ in one.parameters(recurse=False))]
    name = data.draw(st.sampled_from(layers))
    above, _, last = name.rpartition(".")
    layer = network.get_submodule(name)
    network.get_submodule(above)._modules[last] = Moved(layer)
    after = inspect_network(network, [[image]], names).audit
    assert after is not None
    first = next(one for one in after.findings if one.kind != "stride_gap")
    path = {module: path for path, module in module_expressions(network)}[network.get_submodule(name)]
    assert (first.kind, first.paths) == ("unregistered", (f"{path}.moved[0]",))
    assert first.parameters == sum(one.numel() for one in layer.parameters())
