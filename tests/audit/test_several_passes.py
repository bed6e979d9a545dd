"""Several passes are one audit: what takes part in one is not accused, and a mistake in several is found once."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mnfpn_cli.audit.audit import audit_document, inspect_network, inspect_workload
from mnfpn_cli.documents.audit import Audit
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.external.origin import TensorInputs, Workload, external_module
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.trace.observe import TensorShape
from mnfpn_cli.trace.passes import Input

SMALL, LARGE = (1, 3, 32, 32), (1, 3, 128, 128)


def audit_of(network: nn.Module, *passes: TensorShape | Tensor) -> Audit:
    """The audit over passes of one input each, of a shape or of values."""
    made = [[Input(tuple(one.shape), None, one) if isinstance(one, Tensor) else Input(one)] for one in passes]
    audit = inspect_network(network, made).audit
    assert audit is not None
    return audit


def kinds_and_paths(audit: Audit) -> list[tuple[str, tuple[str, ...]]]:
    """The kind and the paths of each finding."""
    return [(finding.kind, finding.paths) for finding in audit.findings]


class BySize(nn.Module):
    """Has another layer for large images."""

    def __init__(self, detached: bool = False) -> None:
        super().__init__()
        self.small, self.large, self.never = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(3))
        self.detached = detached

    def forward(self, x: Tensor) -> Tensor:
        """Run one of two layers, and with `detached` also the small one where no gradient reaches it."""
        if x.shape[-1] < 64:
            y: Tensor = self.small(x)
            return y
        y = self.large(x)
        return y + self.small(x).detach() if self.detached else y


class ByValue(nn.Module):
    """Has another layer for dark images."""

    def __init__(self) -> None:
        super().__init__()
        self.bright, self.dark = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run one of two layers."""
        y: Tensor = self.bright(x) if bool(x.mean() > 0) else self.dark(x)
        return y


def test_what_is_called_in_one_of_the_passes_is_called() -> None:
    """What is called in none is found once, and says how many passes there were."""
    audit = audit_of(BySize(), SMALL, LARGE)
    assert kinds_and_paths(audit) == [("never_called", ("never",))]
    assert audit.findings[0].message.startswith("registered and never called in 2 passes: ")
    assert audit.called == 3


def test_what_a_gradient_reaches_in_one_of_the_passes_learns() -> None:
    """Cut off in the pass of a large image alone, it is accused only where no other pass was made."""
    assert ("without_gradient", ("small",)) in kinds_and_paths(audit_of(BySize(detached=True), LARGE))
    assert kinds_and_paths(audit_of(BySize(detached=True), SMALL, LARGE)) == [("never_called", ("never",))]


def test_a_pass_without_gradients_accuses_nothing_that_it_uses() -> None:
    """Which of its parameters learn is not known, and the note says why."""

    class Sometimes(BySize):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = super().forward(x)
            return y.detach() if x.shape[-1] < 64 else y

    audit = audit_of(Sometimes(), SMALL, LARGE)
    assert kinds_and_paths(audit) == [("never_called", ("never",))]
    assert audit.notes == (
        "Gradients could not be followed: no output requires a gradient, as under no_grad, or where outputs are whole "
        "numbers.",
    )


def test_a_layer_that_another_size_calls_is_said_to() -> None:
    """With the shape to give it, apart from what no size calls."""
    never, large = audit_of(BySize(), SMALL).findings
    assert (never.paths, large.paths) == (("never",), ("large",))
    assert "values" not in never.remedy
    assert large.message.startswith("not called in the pass, but for an input of 1×3×64×64: 112 parameters")
    assert large.remedy.startswith("audit it with an input of 1×3×64×64 too")
    (small,) = [one for one in audit_of(BySize(), (1, 3, 64, 64)).findings if one.paths == ("small",)]
    assert "1×3×32×32" in small.message


def test_a_branch_that_depends_on_values_is_said_to() -> None:
    """The remedy asks for several inputs; with one of each kind, nothing is left to find."""
    bright, dark = torch.ones(1, 3, 8, 8), -torch.ones(1, 3, 8, 8)
    for image, path in ((bright, "dark"), (dark, "bright")):
        (finding,) = audit_of(ByValue(), image).findings
        assert (finding.kind, finding.paths) == ("never_called", (path,))
        assert finding.remedy.endswith(
            "values of tensors may decide whether the forward uses it, so audit it with several inputs too"
        )
    assert audit_of(ByValue(), bright, dark).findings == ()


@pytest.mark.parametrize(
    "test",
    [bool, lambda t: t.item() > 0, lambda t: float(t) > 0, lambda t: t.tolist() > 0, lambda t: t.detach().numpy() > 0],
)
def test_every_way_to_read_a_value_is_noticed(test: Any) -> None:
    """As a number of Python."""

    class Reads(ByValue):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.bright(x) if test(x.sum().clamp(min=0)) else self.dark(x)
            return y

    (finding,) = audit_of(Reads(), torch.ones(1, 3, 8, 8)).findings
    assert "audit it with several inputs" in finding.remedy


class Listed(nn.Module):
    """Hides two layers in a list, has one twice, and returns two maps of one stride."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)]
        self.one = nn.Conv2d(4, 4, 1)
        self.same = self.one

    def forward(self, x: Tensor) -> list[Tensor]:
        """Use one of the hidden ones, by size."""
        y = self.one(self.hidden[x.shape[-1] > 64](x))
        half = F.max_pool2d(y, 2)
        return [y, half, self.same(half)]


def test_a_mistake_in_several_passes_is_found_once() -> None:
    """Hidden layers of all passes are one finding, and a pyramid has each of its mistakes once."""
    audit = audit_of(Listed(), SMALL, LARGE)
    assert [finding.kind for finding in audit.findings] == ["unregistered", "shared", "miscounted", "same_stride"]
    assert audit.findings[0].paths == ("self.hidden[0]", "self.hidden[1]")
    assert "called 4 times in 2 passes" in audit.findings[1].message
    assert audit_of(Listed(), SMALL).findings[0].paths == ("self.hidden[0]",)


def test_the_mode_is_that_of_the_most_expensive_pass() -> None:
    """As one of the passes may need real tensors."""

    class Reads(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y * y.sum().item() if x.shape[-1] > 64 else y

    assert audit_of(Reads(3, 4, 1), SMALL).mode == "meta"
    assert audit_of(Reads(3, 4, 1), SMALL, LARGE).mode == audit_of(Reads(3, 4, 1), LARGE, SMALL).mode == "real"


def test_a_document_has_the_inputs_of_every_pass() -> None:
    """`inputs` are those of the first."""
    passes = [TensorInputs((InputSpec(shape),)) for shape in (SMALL, LARGE)]
    workload = Workload(external_module(BySize()), passes[0], (passes[1],))
    document = audit_document(workload, inspect_workload(workload))
    assert [one.shape for one in document.inputs] == [SMALL]
    assert [[one.shape for one in inputs] for inputs in document.other_passes] == [[LARGE]]


def test_each_pass_must_have_as_many_inputs_as_the_forward_takes() -> None:
    """The message has the signature, and the number that was given."""
    one, two = (TensorInputs((InputSpec(SMALL),) * count) for count in (1, 2))
    with pytest.raises(UsageError, match=r"^input: forward of BySize takes \(x: .*, got 2 inputs; separate"):
        inspect_workload(Workload(external_module(BySize()), one, (two,)))


def test_a_pass_that_fails_is_named() -> None:
    """By its number, where there are several."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(30, 2))
    assert audit_of(network, SMALL).findings == ()
    with pytest.raises(MnfpnError, match=r"^pass 2 of 2: running Sequential failed: RuntimeError"):
        audit_of(network, SMALL, LARGE)
    with pytest.raises(MnfpnError, match=r"^running Sequential failed: RuntimeError"):
        audit_of(network, LARGE)


def test_values_of_an_image_are_not_those_of_another_size() -> None:
    """Strides are measured at other sizes, for which there are no values."""

    class Reads(nn.Conv2d):
        def forward(self, x: Tensor) -> Any:
            y = super().forward(x)
            y = y * (1 + 0 * y.sum().item())
            return [y, F.max_pool2d(y, 2)]

    image = Input((1, 3, 64, 64), None, torch.rand(1, 3, 64, 64))
    found = inspect_network(Reads(3, 4, 1), [[image]])
    assert found.audit is not None
    assert found.audit.findings == ()
    assert [level.stride for level in found.pyramids[0].levels] == [1, 2]
