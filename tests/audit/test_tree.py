"""The layer tree: what ran, under which path, at what cost."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.audit.tree import LayerTree
from mnfpn_cli.documents.summary import LayerRecord
from mnfpn_cli.external.guard import ModelError
from mnfpn_cli.network.network import build_meta
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.trace.meta import SHAPE_RULES, run_on_meta
from tests.audit.traced import tree_of


@pytest.fixture(scope="module")
def tree() -> LayerTree:
    """The tree of the default network at 600×900."""
    return tree_of(build_meta(plan_network(NetworkSettings())), (1, 3, 600, 900))


def row(tree: LayerTree, path: str) -> LayerRecord:
    """The one row of a path."""
    (found,) = (row for row in tree.rows if row.path == path)
    return found


def test_the_root_holds_the_totals(tree: LayerTree) -> None:
    """The total that torchinfo prints, 29,972,763,408, also counts biases and batch-norm parameters."""
    root = tree.rows[0]
    assert (root.path, root.depth) == ("", 0)
    assert (root.parameters, root.macs) == (4_293_888, 29_949_721_552)
    levels = ((150, 225), (75, 113), (38, 57), (19, 29))
    assert root.output_shape == tuple((1, 256, *size) for size in levels)


def test_macs_roll_up_on_every_container(tree: LayerTree) -> None:
    """A `ModuleDict` is never called, and its row still says what is below it."""
    for parent in tree.rows:
        children = [r for r in tree.rows if r.path and r.path.rpartition(".")[0] == parent.path]
        if children and parent.path:
            assert parent.macs == sum(child.macs for child in children)
    assert row(tree, "pyramid.smooth").macs == 26_507_870_208
    assert row(tree, "pyramid.smooth").output_shape is None


def test_functional_steps_are_rows_at_their_place(tree: LayerTree) -> None:
    """The top-down path stands between the laterals and the smoothing, residual additions in their block."""
    below = [r.path.removeprefix("pyramid.") for r in tree.rows if r.depth == 2 and r.path.startswith("pyramid.")]
    top_down = ["resize()", "add()", "resize()#2", "add()#2", "resize()#3", "add()#3"]
    assert below == ["lateral", *top_down, "smooth"]
    assert row(tree, "pyramid.resize()#3").output_shape == (1, 256, 150, 225)
    assert row(tree, "stages.1.1.add()").output_shape == (1, 24, 150, 225)
    assert not any(r.path == "stages.1.0.add()" for r in tree.rows)


def test_paths_are_those_of_the_modules(tree: LayerTree) -> None:
    """Each can be looked up on the network."""
    modules = dict(build_meta(plan_network(NetworkSettings())).named_modules())
    assert {r.path for r in tree.rows if r.type != "function"} == modules.keys()


class Hidden(nn.Module):
    """A layer in a plain list, which torch does not register; one that is called twice; and one that never is."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))]
        self.twice, self.spare = nn.Conv2d(3, 3, 1), nn.Linear(2, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Call all but the last."""
        y: Tensor = self.twice(self.twice(self.hidden[0](x)))
        return y


def test_every_layer_that_ran_is_a_row_and_every_registered_one_too() -> None:
    """In the order in which they ran; what never ran comes last, and what is not registered has its own path."""
    tree = tree_of(Hidden(), (1, 3, 8, 8))
    assert [(r.path, r.status, r.calls, r.registered) for r in tree.rows] == [
        ("", "called", 1, True),
        ("hidden[0]", "called", 1, False),
        ("hidden[0].0", "called", 1, False),
        ("twice", "called", 2, True),
        ("spare", "never_called", 0, True),
    ]
    assert row(tree, "").macs == 64 * (81 + 2 * 9)
    assert row(tree, "").parameters == row(tree, "twice").parameters + row(tree, "spare").parameters == 12 + 15
    assert row(tree, "hidden[0]").parameters == 84
    assert row(tree, "twice").output_shape == ((1, 3, 8, 8), (1, 3, 8, 8))
    assert row(tree, "twice").activations == 2 * 3 * 8 * 8


def test_a_layer_whose_parameters_another_uses_is_no_idle_one() -> None:
    """As the output projection of torch's attention, which is never called; the products are at its place."""
    tree = tree_of(nn.MultiheadAttention(8, 2), (5, 1, 8), (5, 1, 8), (5, 1, 8))
    assert row(tree, "out_proj").status == "used"
    assert [r.path for r in tree.rows if r.macs and r.path] == [
        *("linear()", "linear()#2", "linear()#3", "matmul()", "matmul()#2", "linear()#4")
    ]
    assert tree.rows[0].macs == 4 * 5 * 8 * 8 + 2 * 2 * 5 * 5 * 4


def test_the_size_of_the_input_allocates_nothing() -> None:
    """A terabyte of activations is a matter of shapes."""
    settings = NetworkSettings.model_validate({"stages": [(6, 64, 1, 2)]})
    tree = tree_of(build_meta(plan_network(settings)), (1, 3, 60_000, 60_000))
    assert tree.rows[0].output_shape == (1, 256, 15_000, 15_000)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("groups", [1, 4])
def test_the_shapes_worked_out_here_are_torchs(stride: int, kernel: int, groups: int) -> None:
    """Each rule for the meta device against the real operation."""
    conv = nn.Conv2d(4, 8, kernel, stride, kernel // 2, groups=groups, dilation=1)
    real = nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU6(inplace=True), nn.Upsample((7, 9), mode="bilinear")).eval()
    with torch.no_grad():
        expected = tuple(real(torch.rand(2, 4, 13, 10)).shape)
    rows = tree_of(real.to("meta"), (2, 4, 13, 10)).rows
    assert rows[0].output_shape == expected
    assert rows[1].macs == conv.weight.numel() * 2 * -(-13 // stride) * -(-10 // stride)


class Rest(nn.Module):
    """What the other rules are for."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.halve = nn.MaxPool2d(3, stride=2, padding=1), nn.MaxPool2d(1, stride=2)
        self.average, self.dense = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """A concatenated map, its average, and what a dense layer makes of that."""
        x = self.pool(torch.relu(x))
        both = torch.cat((x, nn.functional.interpolate(self.halve(x), x.shape[2:], mode="nearest") + x), dim=1)
        average = self.average(both).relu_()
        return both, average, self.dense(average.flatten(1))


def test_the_other_shapes_worked_out_here_are_torchs() -> None:
    """Pooling, concatenation, averages, dense layers with their MACs; every rule has been used."""
    real, used = Rest().eval(), set()
    with torch.no_grad():
        expected = tuple(tuple(y.shape) for y in real(torch.rand(2, 4, 13, 10)))

    def spy(func: Any, *rest: Any) -> Any:
        used.add(func)
        return run_on_meta(func, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnfpn_cli.trace.observe.run_on_meta", spy)
        rows = tree_of(real.to("meta"), (2, 4, 13, 10)).rows
        tree_of(build_meta(plan_network(NetworkSettings())), (1, 3, 64, 64))
    assert rows[0].output_shape == expected
    assert rows[0].macs == 2 * 8 * 5
    assert used >= SHAPE_RULES.keys()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: torch.cat([x, x[:, :, 1:]], 1),
        lambda x: torch.cat([x, x], 7),
        lambda x: x.mean((-1, -7), keepdim=True),
        lambda x: nn.functional.max_pool2d(x, 3, padding=2),
        lambda x: nn.functional.linear(x.flatten(1), x.new_zeros(3, 256), x.new_zeros(5)),
    ],
    ids=["cat of sides", "cat of a dimension", "mean", "padding", "bias"],
)
def test_what_torch_refuses_is_refused_in_a_pass_without_arithmetic(wrong: Callable[[Tensor], Tensor]) -> None:
    """A shape worked out here never hides an error: on the CPU and on the meta device it is torch's own."""

    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return wrong(x)

    with pytest.raises((RuntimeError, IndexError)):
        Wrong()(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ModelError):
        tree_of(Wrong(), (1, 4, 8, 8))


def test_what_has_no_rule_is_left_to_torch() -> None:
    """A transposed convolution, a broadcast addition, a linear layer."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 5, 2, stride=2)
            self.shift = nn.Parameter(torch.zeros(5, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.up(x) + self.shift
            return y

    tree = tree_of(Other().to("meta").eval(), (1, 3, 8, 8))
    assert tree.rows[0].output_shape == (1, 5, 16, 16)
    assert [r.path for r in tree.rows] == ["", "up", "add()"]
