"""Odd networks, as people write them: none is accused of what it does not do, and none that cannot run passes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.documents.audit import Audit
from mnfpn_cli.external.guard import ModelError
from tests.audit.traced import inspected

IMAGE = (1, 3, 64, 64)
ELSEWHERE = nn.Parameter(torch.randn(8, 8, 1, 1))


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps sizes at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


class Net(nn.Module):
    """A convolution, and what a function makes of it and its network."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **kept: Any) -> None:
        super().__init__()
        self.first, self.run = conv(3, 8), run
        for name, value in kept.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        """Call it."""
        return self.run(self, x)


def audit_of(network: nn.Module, shape: tuple[int, ...] = IMAGE) -> Audit:
    """What an audit says."""
    audit = inspected(network, shape).audit
    assert audit is not None
    return audit


def fetched() -> Tensor:
    """A parameter that no attribute leads to."""
    return ELSEWHERE


@pytest.mark.parametrize(
    "layers",
    [
        [conv(3, 8), conv(4, 8)],
        [conv(3, 8), nn.ConvTranspose2d(4, 8, 2, 2)],
        [conv(3, 8), nn.Conv2d(16, 8, 3, groups=4)],
        [conv(3, 8), nn.MaxPool2d(99)],
    ],
    ids=["channels", "transposed", "groups", "nothing left"],
)
def test_a_network_that_cannot_run_fails_here_too(layers: list[nn.Module]) -> None:
    """With torch's own error, from real tensors: without numbers, torch looks at neither."""
    with pytest.raises(ModelError, match="RuntimeError"):
        inspected(nn.Sequential(*layers), IMAGE)


@pytest.mark.parametrize(
    "run",
    [
        lambda net, x: torch.tensor(0.5) * net.first(x).flatten()[:0],
        lambda net, x: F.linear(net.first(x).flatten(1)[:0], torch.ones(4, 8 * 64 * 64), torch.ones(4)),
        lambda net, x: torch.clamp(torch.ones(1), net.first(x).flatten()[:0]),
        lambda net, x: net.first(x[:0]),
    ],
    ids=["product", "dense layer", "limits", "no images"],
)
def test_an_empty_tensor_is_one_too(run: Callable[[Any, Tensor], Any]) -> None:
    """As the boxes of a detector that finds none: what was empty before is no map that vanished."""
    found = inspected(Net(run), IMAGE)
    assert found.trace.eval_pass.mode == "meta"
    assert 0 in found.trace.eval_pass.outputs[0][1]


@pytest.mark.parametrize(
    ("choose", "depends"),
    [
        (lambda y: y[y > 0], True),
        (lambda y: y.nonzero().float(), True),
        (lambda y: y[:, torch.tensor([1, 0])], False),
        (lambda y: y * (y.sum().item() > 0), False),
    ],
    ids=["mask", "places", "indices", "number"],
)
def test_shapes_that_depend_on_values_are_noted(choose: Callable[[Tensor], Tensor], depends: bool) -> None:
    """What is counted is then for one image, as in a detector that keeps some of its boxes."""
    audit = audit_of(Net(lambda net, x: choose(net.first(x))))
    assert any("depend on the values of an image" in note for note in audit.notes) == depends


class MaxNorm(nn.Conv2d):
    """Assigns its weight anew, as EEGNet does."""

    def forward(self, x: Tensor) -> Tensor:
        """Bound the weight, and run it."""
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=1.0)
        return super().forward(x)


def test_weights_that_are_assigned_in_a_forward_are_put_back() -> None:
    """To the device and the numbers that they had; and they are not accused. Torch 2.14 wants real tensors for it."""
    network = nn.Sequential(MaxNorm(3, 8, 3, padding=1), conv(8, 8))
    before = network.get_parameter("0.weight").detach().clone()
    audit = audit_of(network)
    real = ("The pass ran on real tensors: the network does not run on the meta device.",)
    assert (audit.findings, audit.notes) == ((), real if torch.__version__ >= "2.14" else ())
    assert torch.equal(network.get_parameter("0.weight"), before)


def test_a_constant_that_meets_the_image_is_a_note() -> None:
    """As its mean; what meets maps, as a weight does, is a finding."""
    audit = audit_of(Net(lambda m, x: m.first(x - m.mean.to(x.device)), mean=torch.full((3, 1, 1), 0.4)))
    assert audit.findings == ()
    assert audit.notes == (
        "Constants that no state dict has and no .to(device) moves: self.mean; register_buffer does.",
    )


def test_a_parameter_that_no_attribute_leads_to_is_found() -> None:
    """With its shape, where its place is not known."""
    audit = audit_of(Net(lambda m, x: F.conv2d(m.first(x), fetched())))
    assert [(one.kind, one.paths, one.parameters) for one in audit.findings] == [
        ("unregistered", ("forward(): Parameter 8×8×1×1",), 64)
    ]


def test_a_parameter_that_is_returned_took_part() -> None:
    """And its gradient reaches the output that it is."""
    assert audit_of(Net(lambda m, x: (m.first(x), m.scale), scale=nn.Parameter(torch.ones([])))).findings == ()


@pytest.mark.parametrize("last", [lambda y: y.argmax(1), lambda y: y.detach()], ids=["whole numbers", "detached"])
def test_a_network_without_a_gradient_at_all_is_a_note(last: Callable[[Tensor], Tensor]) -> None:
    """It is for inference; which part could learn is unknown."""
    audit = audit_of(Net(lambda m, x: last(m.first(x))))
    assert audit.findings == ()
    assert [note.partition(":")[0] for note in audit.notes] == ["Gradients could not be followed"]


class Scaled(nn.Linear):
    """Writes more than its parameters."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "scale"] = torch.ones(4)


def test_more_in_a_state_dict_than_parameters_is_no_fault() -> None:
    """As the scales of quantised layers."""
    assert audit_of(nn.Sequential(Scaled(8, 4)), (2, 8)).findings == ()


def test_a_list_of_a_module_that_is_called_elsewhere_is_in_use() -> None:
    """It is never called itself, in training or not."""
    network = Net(lambda m, x: m.layers[0](m.first(x)), second=conv(8, 8))
    network.layers = nn.ModuleList([network.get_submodule("second")])
    audit = audit_of(network)
    assert audit.notes == ()
    assert {finding.kind for finding in audit.findings} == {"shared", "miscounted"}


@pytest.mark.parametrize(
    "run",
    [
        lambda m, x: m.layers[1:](m.layers[:1](m.first(x))),
        lambda m, x: nn.Sequential(m.first, *m.layers)(x),
    ],
    ids=["slice", "container"],
)
def test_a_container_that_a_forward_makes_of_its_layers_is_not_unregistered(run: Callable[[Any, Tensor], Any]) -> None:
    """As a slice of `nn.Sequential` is: its layers have their places."""
    assert audit_of(Net(run, layers=nn.Sequential(conv(8, 8), conv(8, 8)))).findings == ()


def test_a_new_layer_in_a_container_of_old_ones_is_unregistered() -> None:
    """The container is named, with the parameters of all that it holds."""
    audit = audit_of(Net(lambda m, x: nn.Sequential(m.first, conv(8, 8, 1))(x)))
    assert [(one.kind, one.paths) for one in audit.findings] == [("unregistered", ("forward(): Sequential",))]


class Block(nn.Module):
    """A convolution and an activation that all blocks hold, as those of YOLO do."""

    act = nn.SiLU()

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = conv(8, 8), Block.act

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        y: Tensor = self.act(self.conv(x))
        return y


@pytest.mark.parametrize("joins", [False, True])
def test_an_activation_that_all_blocks_hold_does_not_make_an_idle_one_used(joins: bool) -> None:
    """Neither in eval nor in training mode: the block is idle, not each of its convolutions."""

    def run(m: Any, x: Tensor) -> Tensor:
        y: Tensor = m.used(m.first(x))
        return m.idle(y) if joins and m.training else y

    audit = audit_of(Net(run, used=Block(), idle=nn.Sequential(Block(), Block())))
    assert [one.paths for one in audit.findings] == ([] if joins else [("idle",)])
    assert audit.notes == (("Only in training: idle.",) if joins else ())


def test_an_idle_module_without_parameters_is_harmless() -> None:
    """As a loss that a network holds, with the weights of its classes in a buffer: nothing of it should learn."""
    audit = audit_of(Net(lambda m, x: m.first(x), loss=nn.CrossEntropyLoss(torch.ones(8))))
    assert (audit.findings, audit.idle) == ((), 1)


class Masked(nn.Module):
    """Has a norm that is never called, and a mask that must not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(8, 8), nn.BatchNorm2d(8)
        self.mask = nn.Parameter(torch.ones(8, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        y: Tensor = self.conv(x) * self.mask
        return y


def test_what_is_wrong_in_each_of_many_blocks_is_one_finding() -> None:
    """A network of twelve blocks is not accused twelve times; each place is named."""
    audit = audit_of(Net(lambda m, x: m.blocks(m.first(x)), blocks=nn.Sequential(Masked(), Masked(), Masked())))
    assert [(one.kind, one.paths, one.parameters) for one in audit.findings] == [
        ("never_called", ("blocks.0.norm", "blocks.1.norm", "blocks.2.norm"), 48),
        ("without_gradient", ("blocks.0.mask", "blocks.1.mask", "blocks.2.mask"), 24),
    ]


def test_tied_heads_are_one_finding() -> None:
    """As those of a detector's decoder and its own are; one for each pair of parameters would be noise."""
    heads = nn.ModuleList([conv(8, 8), conv(8, 8)])
    own = nn.ModuleList([conv(8, 8), conv(8, 8)])
    for head, other in zip(heads, own, strict=True):
        other.weight, other.bias = head.weight, head.bias
    audit = audit_of(Net(lambda m, x: m.own[1](m.heads[0](m.first(x))), heads=heads, own=own))
    (finding,) = (one for one in audit.findings if one.kind == "shared")
    assert finding.paths[:2] == ("heads.0.weight", "own.0.weight")
    assert (len(finding.paths), finding.parameters) == (8, 1168)
    assert finding.message == "4 parameters, each in 2 modules: 1,168 in fact, 2,336 in the state dict"


def test_the_activation_of_an_idle_convolution_may_be_called_by_others() -> None:
    """Then the convolution alone is idle."""
    layers = nn.ModuleList([conv(8, 8), nn.ReLU()])
    audit = audit_of(Net(lambda m, x: m.layers[1](m.first(x)), layers=layers))
    assert [one.paths for one in audit.findings] == [("layers.0",)]


@pytest.mark.parametrize(("stride", "size"), [(3, 96), (14, 448), (14, 518), (7, 600)])
def test_strides_need_not_be_powers_of_two(stride: int, size: int) -> None:
    """Of patches, for one."""
    network = Net(
        lambda m, x: (y := m.patch(x), m.halve(y)), patch=nn.Conv2d(3, 8, stride, stride), halve=conv(8, 8, 3, 2)
    )
    found = inspected(network, (1, 3, size, size))
    assert [level.stride for level in found.pyramids[0].levels] == [stride, 2 * stride]
    assert found.audit is not None
    assert [one.kind for one in found.audit.findings] == ["never_called"]  # the convolution that it does not need


def test_an_image_may_be_padded_first() -> None:
    """To a multiple of 32, as detectors do; cells meet their pixels all the same."""

    def run(m: Any, x: Tensor) -> tuple[Tensor, ...]:
        x = F.pad(x, (0, -x.shape[-1] % 32, 0, -x.shape[-2] % 32))
        y = m.halve(m.first(x))
        return y, m.quarter(y)

    assert audit_of(Net(run, halve=conv(8, 8, 3, 2), quarter=conv(8, 8, 3, 2)), (1, 3, 600, 900)).findings == ()


def test_what_is_nested_in_lists_gets_a_remedy_that_works() -> None:
    """`nn.ModuleList` takes no lists."""
    audit = audit_of(Net(lambda m, x: m.pair[0][0](m.first(x)), pair=[[conv(8, 8)]]))
    assert audit.findings[0].paths == ("self.pair[0][0]",)
    assert audit.findings[0].remedy == "make self.pair, and what it holds, nn.ModuleList or nn.ModuleDict"
