"""What is registered, and wrong all the same."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.documents.audit import Audit
from mnfpn_cli.network.network import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.network import NetworkSettings
from tests.audit.traced import inspected

IMAGE = (1, 3, 8, 8)


def audit_of(network: nn.Module) -> Audit:
    """What an audit says."""
    audit = inspected(network, IMAGE).audit
    assert audit is not None
    return audit


def reported(audit: Audit) -> list[tuple[str, tuple[str, ...], int]]:
    """The findings, in short."""
    return [(finding.kind, finding.paths, finding.parameters) for finding in audit.findings]


def conv() -> nn.Conv2d:
    """A layer of 12 parameters."""
    return nn.Conv2d(3, 3, 1)


class Net(nn.Module):
    """Three layers, run one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv(), conv(), nn.Sequential(conv(), nn.ReLU())

    def forward(self, x: Tensor) -> Any:
        """Run all."""
        return self.three(self.two(self.one(x)))


def test_a_clean_network_is_counted_and_not_accused() -> None:
    """Five modules with a forward of their own besides the network itself."""
    audit = audit_of(Net())
    assert (audit.findings, audit.notes, audit.mode) == ((), (), "meta")
    assert (audit.called, audit.registered, audit.idle) == (6, 6, 0)
    assert audit.parameters.rows == audit.parameters.parameters == audit.parameters.state_dict == 36


OWN_NORMS = {"kind": "retinanet", "norm": "batch", "norm_shared": False}


@pytest.mark.parametrize(
    "head", [OWN_NORMS, *({"kind": kind} for kind in ("retinanet", "fcos", "ssd", "ssdlite", "rpn"))]
)
@pytest.mark.parametrize("top_down", ["merged", "smoothed"])
def test_a_detector_is_clean(head: dict[str, object], top_down: str) -> None:
    """A tower that runs on all levels is one module, called several times; outputs (n, anchors, values) are no maps."""
    values = {"head": head, "pyramid": {"top_down": top_down, "smooth_shared": True}, "padding": "same"}
    found = inspected(build_meta(plan_network(NetworkSettings.model_validate(values))), (1, 3, 128, 160))
    assert found.audit is not None
    assert (found.audit.findings, found.audit.notes, found.pyramids) == ((), (), ())
    assert found.audit.called == found.audit.registered


def test_one_module_in_several_places_is_told_once_with_all_of_them() -> None:
    """Its children are in as many places, and not reported again."""

    class Shared(Net):
        def __init__(self) -> None:
            super().__init__()
            self.smooth = nn.ModuleList([nn.Sequential(conv())] * 5)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = super().forward(x)
            for layer in self.smooth:
                y = layer(y)
            return y

    shared, miscounted = reported(audit_of(Shared()))
    assert shared == ("shared", tuple(f"smooth.{k}" for k in range(5)), 12)
    assert miscounted == ("miscounted", ("",), 48)  # five times in the state dict
    message = audit_of(Shared()).findings[0].message
    assert "called 5 times" in message
    assert "12 parameters in fact, 60 in the state dict" in message


def test_an_activation_in_several_places_does_no_harm() -> None:
    """It has nothing to share."""
    act = nn.ReLU()
    assert audit_of(nn.Sequential(conv(), act, conv(), act)).findings == ()


@pytest.mark.parametrize("view", [False, True], ids=["the same", "the same memory"])
def test_one_parameter_in_two_modules_is_told(view: bool) -> None:
    """Also where it is two objects that share their memory."""
    network = Net()
    network.two.weight = nn.Parameter(network.one.weight.data) if view else network.one.weight
    findings = reported(audit_of(network))
    assert findings[0] == ("shared", ("one.weight", "two.weight"), 9)


def test_a_module_that_is_never_called_is_told_with_all_below_it() -> None:
    """Once, by the outermost; those of one parent together."""
    network = Net()
    network.spare, network.other = nn.Sequential(conv(), conv()), conv()
    assert reported(audit_of(network)) == [("never_called", ("spare", "other"), 36)]


def test_a_parameter_that_is_never_used_is_told() -> None:
    """Though its module is called."""
    network = Net()
    network.one.extra = nn.Parameter(torch.ones(7))
    assert ("never_called", ("one.extra",), 7) in reported(audit_of(network))


def test_what_only_training_calls_is_a_note() -> None:
    """As the auxiliary heads of older classifiers."""

    class Auxiliary(Net):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.Sequential(conv())

        def forward(self, x: Tensor) -> Any:
            y = super().forward(x)
            return (y, self.auxiliary(y)) if self.training else y

    audit = audit_of(Auxiliary())
    assert (audit.findings, audit.notes) == ((), ("Only in training: auxiliary.",))


def test_a_parameter_that_only_training_uses_is_a_note() -> None:
    """As one that scales noise; its module takes part in both modes."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.scale = nn.Parameter(torch.ones(1))
            self.unused = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return x * self.scale if self.training else x

    audit = inspected(Noisy(), (1, 3, 8, 8)).audit
    assert audit is not None
    assert [finding.paths for finding in audit.findings] == [("unused",)]
    assert audit.notes == ("Only in training: scale.",)


def test_a_batch_norm_over_one_cell_does_not_keep_training_from_being_seen() -> None:
    """As in Inception's auxiliary head: one image has one value a channel there."""

    class Auxiliary(Net):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Any:
            y = super().forward(x)
            return (y, self.auxiliary(y.mean((2, 3), keepdim=True))) if self.training else y

    audit = audit_of(Auxiliary())
    assert (audit.findings, audit.notes) == ((), ("Only in training: auxiliary.",))


def test_a_network_that_fails_in_training_is_accused_with_a_note() -> None:
    """As a detector does, which wants targets."""

    class Detector(Net):
        def __init__(self) -> None:
            super().__init__()
            self.spare = conv()

        def forward(self, x: Tensor) -> Any:
            if self.training:
                raise ValueError("targets should not be none")
            return super().forward(x)

    audit = audit_of(Detector())
    assert reported(audit) == [("never_called", ("spare",), 12)]
    assert audit.notes == (
        "It fails in training mode: running Detector failed: ValueError: targets should not be none.",
        "What training alone would call is therefore among what is never called.",
    )


@pytest.mark.parametrize("targets", ["none", "own loss", "cut"])
def test_what_is_detached_in_eval_mode_alone_is_not_accused(targets: str) -> None:
    """As the proposals of a detector are, which learn by a loss in training: whether they do may be out of sight."""

    class Proposes(Net):
        def __init__(self) -> None:
            super().__init__()
            self.propose = conv()

        def forward(self, x: Tensor) -> Any:
            if self.training and targets == "none":
                raise ValueError("targets should not be none")
            proposals = self.propose(x)
            y = super().forward(x + proposals.detach())
            return (y, proposals) if self.training and targets == "own loss" else y

    audit = audit_of(Proposes())
    assert reported(audit) == [("without_gradient", ("propose",), 12)] * (targets == "cut")
    failed = (
        "It fails in training mode: running Proposes failed: ValueError: targets should not be none.",
        "Whether 12 parameters learn is therefore not judged, as no gradient of the outputs in eval mode reaches them: "
        "propose.",
    )
    assert audit.notes == failed * (targets == "none")


def test_layers_without_parameters_may_be_idle() -> None:
    """They are counted, and accused of nothing."""
    network = Net()
    network.drop = nn.Dropout()
    audit = audit_of(network)
    assert (audit.findings, audit.called, audit.registered, audit.idle) == ((), 6, 7, 1)


def test_a_container_that_is_iterated_and_not_called_took_part() -> None:
    """By what is in it."""

    class Iterates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(conv(), conv())

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    audit = audit_of(Iterates())
    assert (audit.findings, audit.called, audit.registered) == ((), 4, 4)


class Cut(Net):
    """A branch whose result is dropped, detached, or computed without gradients."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.mode = how

    def forward(self, x: Tensor) -> Any:
        """Run all, and return what is not cut off."""
        y = self.one(x)
        z = self.three(y)
        if self.mode == "dropped":
            self.two(y)
            return z
        if self.mode == "detached":
            return z + self.two(y).detach()
        with torch.no_grad():
            w = self.two(y)
        return z + w


@pytest.mark.parametrize("how", ["dropped", "detached", "no_grad"])
def test_what_no_gradient_reaches_is_told(how: str) -> None:
    """However it is cut off."""
    audit = audit_of(Cut(how))
    assert reported(audit) == [("without_gradient", ("two",), 12)]
    assert "no gradient flows from any output" in audit.findings[0].message


def test_what_is_frozen_while_the_rest_is_not_is_told() -> None:
    """The outermost module of which all is frozen; a single parameter by itself."""
    network = Net()
    network.three.requires_grad_(False)
    assert network.one.bias is not None
    network.one.bias.requires_grad_(False)
    audit = audit_of(network)
    assert reported(audit) == [("without_gradient", ("three",), 12), ("without_gradient", ("one.bias",), 3)]
    assert all("requires_grad is off" in finding.message for finding in audit.findings)


def test_a_network_for_inference_is_frozen_as_a_whole() -> None:
    """Nothing is wrong with that."""
    assert audit_of(Net().requires_grad_(False)).findings == ()


def test_a_state_dict_that_leaves_something_out_is_miscounted() -> None:
    """As a hook on it may."""

    def leave_out(_module: nn.Module, state: dict[str, Tensor], *_: object) -> None:
        del state["one.weight"]

    network = Net()
    network._register_state_dict_hook(leave_out)  # type: ignore[no-untyped-call]
    ((kind, _, difference),) = reported(audit_of(network))
    assert (kind, difference) == ("miscounted", 9)
