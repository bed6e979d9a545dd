"""Networks of others whose code does what is less usual: a file has all of them, or there is none."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import mnfpn_cli.api as mnfpn
from mnfpn_cli.errors import CheckError, MnfpnError
from mnfpn_cli.export.formats import Format
from mnfpn_cli.export.program import trace_pass
from tests.conftest import Mnfpn
from tests.needs import needs_onnx


class Scaled(nn.Module):
    """A layer, whose maps are multiplied by what `scale` returns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def scale(self, maps: Tensor) -> Tensor:
        """Return the factor."""
        return torch.ones_like(maps)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (n, 3, h, w) into (n, 4, h, w)."""
        maps: Tensor = self.conv(x)
        return maps * self.scale(maps)


class Heads(Scaled):
    """Layers and parameters that no module registers, one of which no pass uses."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: dict[str, Any] = {"c": nn.Conv2d(4, 4, 1), "b": [nn.Conv2d(4, 4, 1), (nn.Conv2d(4, 4, 1),)]}
        self.frozen = [nn.Conv2d(4, 4, 1).requires_grad_(False)]
        self.factors = [nn.Parameter(torch.ones(1))]
        self.unused = [nn.Conv2d(4, 4, 1)]

    def scale(self, maps: Tensor) -> Tensor:
        """Return a map."""
        one, (two,) = self.heads["b"]
        scale: Tensor = self.factors[0] * self.frozen[0](two(one(self.heads["c"](maps))))
        return scale


class Constants(Scaled):
    """Constants that the constructor makes: a plain tensor, a buffer that is not persistent, a list of known layers."""

    factors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.plain = torch.linspace(0, 1, 4).view(4, 1, 1)
        self.register_buffer("factors", torch.ones(4, 1, 1), persistent=False)
        self.layers = [self.conv]

    def scale(self, _maps: Tensor) -> Tensor:
        """Return their product."""
        return self.plain * self.factors


class Turning(Scaled):
    """A complex buffer, as rotary positions have."""

    turns: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("turns", torch.polar(torch.ones(4), torch.arange(4.0)))

    def scale(self, _maps: Tensor) -> Tensor:
        """Return the sines."""
        return torch.view_as_real(self.turns)[:, 1].view(4, 1, 1)


class Precise(Scaled):
    """A buffer that float32 would round."""

    large: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("large", torch.tensor(2.0**24 + 1, dtype=torch.float64))

    def scale(self, _maps: Tensor) -> Tensor:
        """Return 1, as 0 where the buffer was rounded."""
        return (self.large - 2**24).float()


class Described(Scaled):
    """A text in the state dict."""

    def get_extra_state(self) -> str:
        """Return the text."""
        return "a text"

    def set_extra_state(self, state: str) -> None:
        """Take the text."""


class Overwriting(Scaled):
    """Changes its input in place."""

    def forward(self, x: Tensor) -> Tensor:
        """Halve the input first."""
        return super().forward(x.mul_(0.5))


class Lazy(Scaled):
    """Keeps a tensor that its first pass makes."""

    @cached_property
    def factors(self) -> Tensor:
        """The factor of each channel."""
        return torch.linspace(0.0, 1.0, 4, device=self.conv.weight.device).view(4, 1, 1)

    def scale(self, _maps: Tensor) -> Tensor:
        """Return the tensor that was kept."""
        return self.factors


class LazyBuffer(Scaled):
    """Registers a buffer in its first pass, and counts passes in another."""

    factors: Tensor
    passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(1))

    def scale(self, maps: Tensor) -> Tensor:
        """Return the buffer times the number of passes."""
        if not hasattr(self, "factors"):
            self.register_buffer("factors", torch.ones_like(maps))
        self.passes += 1
        return self.factors * self.passes


class FilledOnce(Scaled):
    """Fills a buffer in its first pass, and remembers that it has."""

    grid: Tensor
    is_filled = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grid", torch.zeros(8))

    def scale(self, _maps: Tensor) -> Tensor:
        """Return the buffer."""
        if not self.is_filled:
            self.grid.copy_(torch.arange(8.0))
            self.is_filled = True
        return self.grid


class LazyBySize(Scaled):
    """Keeps a tensor for the last width."""

    ramp: Tensor | None = None

    def scale(self, maps: Tensor) -> Tensor:
        """Return a ramp of the width."""
        if self.ramp is None or self.ramp.shape[-1] != maps.shape[-1]:
            self.ramp = torch.arange(maps.shape[-1], dtype=maps.dtype, device=maps.device)
        return self.ramp


@dataclass
class Found:
    """An object that torch does not look into."""

    maps: Tensor
    means: list[Tensor | None]


class Finding(Scaled):
    """Returns an object of its own."""

    def forward(self, x: Tensor) -> Found:  # type: ignore[override]
        """Return maps and their mean."""
        maps = super().forward(x)
        return Found(maps, [None, maps.mean((1, 2, 3))])


TRACED = [pytest.param("onnx", marks=needs_onnx), "torch-export"]


def outputs_of(path: Path, images: Tensor) -> Tensor:
    """The output of a .pt2 file, at the size that it was made for."""
    (output,) = torch.export.load(path).module()(images).values()
    return output  # type: ignore[no-any-return]


def test_weights_that_the_state_dict_lacks_are_named(tmp_path: Path) -> None:
    """A copy of the network has them, but whoever reads the file has not. The graph of other formats holds them."""
    with pytest.raises(CheckError) as caught:
        mnfpn.export(Heads(), tmp_path / "net.safetensors", "safetensors", size=8)
    message = "format safetensors: the file would lack heads['c'], frozen[0], factors[0], heads['b'][0], …: "
    assert str(caught.value) == message + "used, but registered by no module"
    assert list(tmp_path.iterdir()) == []
    mnfpn.export(Heads(), tmp_path / "net.pt2", "torch-export", size=8)


def test_lacking_weights_fail_the_check_on_the_command_line(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """With the exit code of a check that failed."""
    path = tmp_path / "net.safetensors"
    words = ["--format", "safetensors", "--output", str(path), "--size", "8"]
    assert mnfpn("export", "--model", f"{__name__}:Heads", *words).code == 3
    assert not path.exists()


def test_a_parameter_that_the_state_dict_leaves_out_is_found(tmp_path: Path) -> None:
    """By the other network, in which it is zero."""

    class Partial(Scaled):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            state = super().state_dict(*args, **kwargs)
            del state["conv.bias"]
            return state

        def load_state_dict(self, state_dict: Any, *_args: Any, **_kwargs: Any) -> Any:
            return super().load_state_dict(state_dict, strict=False)

    with pytest.raises(CheckError, match="0 differs by"):
        mnfpn.export(Partial(), tmp_path / "net.safetensors", "safetensors", size=8)


def test_constants_that_the_constructor_makes_are_no_weights(tmp_path: Path) -> None:
    """They are in the code, and need not be in the file."""
    mnfpn.export(Constants(), tmp_path / "net.safetensors", "safetensors", size=8)
    assert set(load_file(tmp_path / "net.safetensors")) == {"conv.weight", "conv.bias"}


@pytest.mark.parametrize("format", [*TRACED, "safetensors"])
@pytest.mark.parametrize("make", [Turning, Precise])
def test_complex_and_precise_tensors_stay_what_they_are(tmp_path: Path, make: type[Scaled], format: Format) -> None:
    """The file is compared with the network as its author wrote it."""
    network = make().eval()
    path, images = tmp_path / "net", torch.rand(1, 3, 8, 8)
    document = mnfpn.export(network, path, format, inputs=images)
    (check,) = document.checks
    assert check.outputs[0].shape == (1, 4, 8, 8)
    if format == "torch-export":
        torch.testing.assert_close(outputs_of(path, images), network(images))
    elif format == "safetensors":
        stored, state = load_file(path), network.state_dict()
        assert {name: tensor.dtype for name, tensor in stored.items()} == {n: t.dtype for n, t in state.items()}


def test_a_network_all_in_float64_is_written_in_float32(tmp_path: Path) -> None:
    """Its inputs are in float32 too."""
    mnfpn.export(Scaled().double(), tmp_path / "net.safetensors", "safetensors", size=8)
    assert {tensor.dtype for tensor in load_file(tmp_path / "net.safetensors").values()} == {torch.float32}


def test_half_precision_leaves_complex_tensors(tmp_path: Path) -> None:
    """They have no such dtype."""
    network = Turning().eval()
    images = torch.rand(1, 3, 8, 8)
    mnfpn.export(network, tmp_path / "net.pt2", "torch-export", inputs=images, dtype="float16")
    difference = outputs_of(tmp_path / "net.pt2", images) - network(images)
    assert difference.abs().max() < 1e-2


@pytest.mark.parametrize("format", TRACED)
def test_a_state_dict_may_hold_more_than_tensors(tmp_path: Path, format: Format) -> None:
    """As that of a quantised network does. Safetensors alone cannot hold it."""
    mnfpn.export(Described(), tmp_path / "net", format, size=8)
    with pytest.raises(MnfpnError, match=r"^format safetensors: must hold nothing but tensors, .*: _extra_state$"):
        mnfpn.export(Described(), tmp_path / "other", "safetensors", size=8)


@pytest.mark.parametrize("format", [*TRACED, "safetensors"])
def test_a_network_may_change_its_input(tmp_path: Path, format: Format) -> None:
    """The file gets the input as the network got it."""
    mnfpn.export(Overwriting(), tmp_path / "net", format, size=8)
    mnfpn.export(Overwriting(), tmp_path / "half", format, size=8, dtype="float16")


@pytest.mark.parametrize("format", TRACED)
@pytest.mark.parametrize("make", [Lazy, LazyBuffer, FilledOnce])
def test_what_a_first_pass_makes_is_in_the_file(tmp_path: Path, make: type[Scaled], format: Format) -> None:
    """And what was there before that pass is as it was."""
    network = make().eval()
    path, images = tmp_path / "net", torch.rand(1, 3, 8, 8)
    mnfpn.export(network, path, format, inputs=images)
    if format == "torch-export":
        torch.testing.assert_close(outputs_of(path, images), network(images))


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # torch warns where a trace keeps a tensor
def test_what_a_network_keeps_for_a_size_leaves_the_sides_open(tmp_path: Path) -> None:
    """The graph makes it for each size."""
    document = mnfpn.export(LazyBySize(), tmp_path / "net.pt2", "torch-export", size="64x96", dynamic=True)
    assert len(document.checks) == 3


def test_a_trace_leaves_the_network_unchanged() -> None:
    """Without what the trace's own tensors were kept in."""
    for make in (Lazy, LazyBuffer, FilledOnce, LazyBySize):
        network = make().eval()
        before = set(vars(network)), set(network.state_dict())
        trace_pass(network, (torch.rand(1, 3, 8, 8),))
        assert (set(vars(network)), set(network.state_dict())) == before


def test_an_object_is_a_tuple_of_its_tensors_in_a_trace() -> None:
    """Of those that torch would refuse."""
    network, images = Finding().eval(), torch.rand(1, 3, 8, 8)
    maps, means = trace_pass(network, (images,)).module()(images)
    expected = network(images)
    torch.testing.assert_close([maps, means], [expected.maps, expected.means[1]])
    assert not network._forward_hooks
