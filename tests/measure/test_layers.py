"""The times of layers, by scripted clocks and events: nothing here measures real time."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import PAGESIZE, mmap
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.nn import functional

from mnfpn_cli.devices.allocator import page_faults
from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.timers import EventMarks, HostMarks, HostTimer, Marks
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.layer_times import LayerCall, Layers, LayerTime, LayerTimes
from mnfpn_cli.measure.module_times import time_modules
from mnfpn_cli.measure.operator_times import OperatorTime, Profiler, time_operators
from mnfpn_cli.network.network import Network, build_meta, build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerId, LayerWork, network_work
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.measure.clocks import FakeDevice
from tests.strategies import settings_and_size
from tests.tiers import at_most

SETTINGS = NetworkSettings.model_validate({"stages": [(2, 8, 2, 2), (2, 8, 1, 2)], "pyramid": {"channels": 8}})
SIZE = Size(33, 47)


def works_of(settings: NetworkSettings, size: Size) -> tuple[LayerWork, ...]:
    """The layers of a network on one image."""
    return network_work(plan_network(settings), network_input(settings, size), 4)


@dataclass
class FakeClock:
    """A clock that moves only when work is done."""

    now: float = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now

    def takes(self, real: Callable[..., Tensor], seconds: Callable[..., float]) -> Callable[..., Tensor]:
        """A function that takes so many seconds of this clock."""

        def timed(*args: Any, **kwargs: Any) -> Tensor:
            result = real(*args, **kwargs)
            self.now += seconds(args, result)
            return result

        return timed

    @contextmanager
    def second_per_mac(self) -> Iterator[None]:
        """Let a MAC take a second, and a resize half of one."""
        convolve = self.takes(nn.Conv2d.forward, lambda args, y: args[0].weight.numel() * y.shape[2:].numel())
        multiply = self.takes(nn.Linear.forward, lambda args, _y: args[0].weight.numel())
        resize = self.takes(functional.interpolate, lambda *_: 0.5)
        with (
            patch.object(nn.Conv2d, "forward", convolve),
            patch.object(nn.Linear, "forward", multiply),
            patch.object(functional, "interpolate", resize),
        ):
            yield


def time_them(settings: NetworkSettings, size: Size, marks: Marks, passes: int = 1) -> LayerTimes:
    """Time the layers of a network on the meta device."""
    plan, works = plan_network(settings), works_of(settings, size)
    network, image = build_meta(plan), torch.empty(1, settings.in_channels, *size, device="meta")
    return time_modules(lambda: network(image), network, works, marks, passes)


def by_id(times: LayerTimes) -> dict[LayerId, float]:
    """The rows' times by path and part."""
    added = defaultdict[LayerId, float](float)
    for row in times.rows:
        added[row.id] += row.seconds
    return dict(added)


@at_most(25)
@given(settings_and_size())
def test_each_layer_gets_its_own_time(case: tuple[NetworkSettings, Size]) -> None:
    """Where a MAC takes a second, a layer's seconds are its MACs: in blocks, in pairs, and where levels share one."""
    drawn, size = case
    clock = FakeClock()
    with clock.second_per_mac():
        times = time_them(drawn, size, HostMarks(clock))
    works = {work.id: work for work in works_of(drawn, size)}
    assert {row: time for row, time in by_id(times).items() if row in works and row[0] != "pyramid"} == {
        row: work.macs for row, work in works.items() if row[0] != "pyramid"
    }
    pyramid = plan_network(drawn).pyramid
    resizes = len(pyramid.levels) - 1 if pyramid else 0
    assert by_id(times).get(("pyramid", "top-down"), 0.0) == 0.5 * resizes
    assert times.seconds == times.marked == times.undisturbed


def test_the_time_outside_all_layers_has_its_own_row() -> None:
    """The rows add up to the pass; here each mark takes a second, as a disturbance does."""
    clock = FakeClock()

    def slow() -> float:
        clock.now += 1.0
        return clock.now

    times = time_them(SETTINGS, SIZE, HostMarks(slow))
    assert times.seconds == times.marked
    assert times.undisturbed == 1.0
    assert ("", "rest") in by_id(times)
    assert ("stages.0", "stages.0") in by_id(times)


def test_rows_without_the_time_of_marks_add_up_to_a_pass_without_them() -> None:
    """Each stretch between two marks has the same share of it; what takes less than its share becomes nothing."""
    rows = (LayerTime("", "rest", 0.1, 4), LayerTime("stem", "stem", 5.0, 1), LayerTime("head", "head", 6.9, 2))
    times = LayerTimes(rows, 12.0, 9.0)
    assert sum(times.without_marks.values()) == pytest.approx(9.0)
    assert times.without_marks == pytest.approx(
        {("", "rest"): 0.0, ("stem", "stem"): 5 - 2.9 / 3, ("head", "head"): 6.9 - 2 * 2.9 / 3}
    )
    assert LayerTimes(rows, 12.0, 13.0).without_marks == by_id(times)


def test_times_are_medians_and_the_first_pass_warms_up() -> None:
    """Of every layer by itself, of the passes with marks, and of those without."""
    clock = FakeClock()
    slowness = iter([100, 100, 1, 1, 4, 2, 9, 90])  # without and with marks, four times
    network, image = build_meta(plan_network(SETTINGS)), torch.empty(1, 3, *SIZE, device="meta")
    with patch.object(network.stem, "forward", clock.takes(network.stem.forward, lambda *_: next(slowness))):
        times = time_modules(lambda: network(image), network, works_of(SETTINGS, SIZE), HostMarks(clock), 3)
    assert (times.marked, times.undisturbed) == (2.0, 4.0)
    assert by_id(times)["stem", "stem"] == 2.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_real_pass_in_any_dtype_and_layout(dtype: torch.dtype) -> None:
    """Every layer of the plan has a row, in the order in which they run, and progress reaches the end."""
    network = build_network(SETTINGS).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.rand(1, 3, *SIZE).to(dtype=dtype, memory_format=torch.channels_last)
    works, shares = works_of(SETTINGS, SIZE), list[float]()
    with torch.inference_mode():
        times = time_modules(lambda: network(image), network, works, device_of(image.device).marks(), 2, shares.append)
    rows = [time.id for time in times.rows]
    assert {work.id for work in works} <= set(rows)
    modules = [work.id for work in works if work.operation != "move"]
    assert [row for row in rows if row in modules] == modules
    assert all(time.seconds >= 0 for time in times.rows)
    assert shares == [1 / 3, 2 / 3, 1.0]


def hooks_on(network: Network) -> int:
    """How many hooks a network's modules have."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_all_hooks_are_removed() -> None:
    """Neither after the passes nor after an error in the middle of one; the marks can be used again."""
    network, image = build_network(SETTINGS), torch.rand(1, 3, *SIZE)
    works, marks, seen = works_of(SETTINGS, SIZE), HostMarks(), list[int]()
    with torch.inference_mode():

        def run(image: Tensor = image) -> object:
            seen.append(hooks_on(network))
            return network(image)

        time_modules(run, network, works, marks, 1)
        broken = patch.object(network.stages[1], "forward", lambda x: x + torch.rand(2, 3, 5, 7))
        with broken, pytest.raises(RuntimeError, match="must match"):
            time_modules(run, network, works, marks, 1)
        assert hooks_on(network) == 0
        assert seen[0] == seen[2] == 0 < seen[1] == seen[3]
        assert time_modules(run, network, works, marks, 1).seconds > 0


def test_an_error_in_a_pass_with_hooks_removes_them() -> None:
    """The pass without marks went well."""
    network, image, calls = build_network(SETTINGS), torch.rand(1, 3, *SIZE), list[int]()

    def run() -> object:
        calls.append(hooks_on(network))
        if len(calls) == 2:
            network(image[:, :2])
        return network(image)

    with torch.inference_mode(), pytest.raises(RuntimeError, match="channels"):
        time_modules(run, network, works_of(SETTINGS, SIZE), HostMarks(), 1)
    assert calls[1] > 0 == hooks_on(network)


@pytest.mark.parametrize("host_s", [0.0, 0.005], ids=["fast host", "slow host"])
def test_events_do_not_block_and_no_layer_includes_the_time_of_a_slow_host(host_s: float) -> None:
    """The device is waited for around a pass, whatever the number of layers; a layer's time is the device's alone."""
    device = FakeDevice()
    network, image = build_meta(plan_network(SETTINGS)), torch.empty(1, 3, *SIZE, device="meta")

    def queued(real: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def forward(*args: Any) -> Tensor:
            device.host.now += host_s
            device.work(2.0)
            return real(*args)

        return forward

    device.work(1000.0)
    marks = EventMarks(device.event, device.synchronize, lambda seconds: device.work(1e3 * seconds), device.host)
    with patch.object(nn.Conv2d, "forward", queued(nn.Conv2d.forward)):
        times = time_modules(lambda: network(image), network, works_of(SETTINGS, SIZE), marks, 2)
    expected = defaultdict(float, {work.id: 0.002 for work in works_of(SETTINGS, SIZE) if work.macs})
    assert by_id(times) == pytest.approx({row: expected[row] for row in by_id(times)})
    assert times.undisturbed == pytest.approx(times.seconds * max(1.0, host_s / 0.002), rel=0.1)
    assert device.synchronised == 3 * 3


def test_each_kind_of_device_has_its_marks() -> None:
    """Events where there are any, the host's clock elsewhere."""
    assert isinstance(device_of(torch.device("cuda:0")).marks(), EventMarks)
    assert isinstance(device_of(torch.device("mps")).marks(), HostMarks)
    assert isinstance(device_of(torch.device("cpu")).marks(), HostMarks)


@dataclass
class PlannedProfile:
    """A runtime whose passes take planned seconds, and are profiled as planned operators."""

    clock: FakeClock
    operators: tuple[OperatorTime, ...]
    averaged: bool = False
    passes: int = 0

    def run(self) -> None:
        """A pass without profiling: of ten seconds."""
        self.clock.now += 10.0

    def profiled(self) -> None:
        """A pass with it: of eleven seconds, and one more each time."""
        self.clock.now += 11.0 + self.passes
        self.passes += 1

    def times(self, passes: int = 3, lost: int = 0) -> LayerTimes:
        """What its profile gives."""
        recorded = lambda: [self.operators] * (self.passes - lost)  # noqa: E731 - a line of its own reads worse
        profiler = Profiler(self.run, self.profiled, recorded, averaged=self.averaged)
        return time_operators(profiler, works_of(SETTINGS, SIZE), HostTimer(self.clock), passes)


OPERATORS = (
    OperatorTime("reorder", "Reorder", 0.0, 1.0, (LayerCall("stages.0.1.expand"),)),
    OperatorTime("conv", "Conv", 1.0, 4.0, (LayerCall("stages.0.1"), LayerCall("stages.0.1.expand.act"))),
    OperatorTime("smooth", "Conv", 5.0, 2.0, (LayerCall("pyramid.smooth.p2"),)),
    OperatorTime("copy", "Copy", 7.0, 1.0, ()),
)


def test_operators_are_rows_of_the_layers_that_they_compute() -> None:
    """A module in a layer belongs to it, several layers are one row, and the rest is the pass outside all of them."""
    times = PlannedProfile(FakeClock(), OPERATORS).times()
    rows = {(row.path, tuple(path for path, _ in row.joined)): row.seconds for row in times.rows}
    assert rows == {
        ("stages.0.1.expand", ()): 1.0,
        ("stages.0.1.expand", ("stages.0.1",)): 4.0,
        ("pyramid.smooth.p2", ()): 2.0,
        ("", ()): 6.0,  # the copy, and of passes of 12, 13 and 14 seconds what is outside all operators
    }
    assert (times.undisturbed, times.marked, times.seconds) == (10.0, 13.0, 13.0)
    assert [one.layers[0][0] for one in times.operators] == ["stages.0.1.expand"] * 2 + ["pyramid.smooth.p2", ""]
    assert any(row.joined for row in times.rows)


def test_a_profile_that_has_means_alone_is_scaled_to_its_passes() -> None:
    """So that the rows add up to the median pass, not to the mean one."""
    planned = PlannedProfile(FakeClock(), (OperatorTime("all", "All", 0.0, 13.0, (LayerCall("stem"),)),), averaged=True)
    assert {row.path: row.seconds for row in planned.times().rows} == pytest.approx({"stem": 13.0, "": 0.0})


def test_a_profile_with_other_passes_than_ran_is_an_error() -> None:
    """Its times could be of any of them."""
    with pytest.raises(MnfpnError, match="its profile has 3 passes, and 4 ran"):
        PlannedProfile(FakeClock(), OPERATORS).times(lost=1)


def test_calls_of_a_shared_module_are_layers_one_after_the_other() -> None:
    """Of a module within it likewise; what is in no layer is in a container, or in the rest."""
    path = "pyramid.smooth.shared"
    layers = Layers([LayerWork(path, "smooth p2", "conv", 9, 1), LayerWork(path, "smooth p3", "conv", 3, 1)])
    assert layers.of(LayerCall("pyramid.smooth.shared.conv", 1)) == ("pyramid.smooth.shared", "smooth p3")
    assert layers.of(LayerCall("pyramid.other")) == ("pyramid", "top-down")
    assert layers.of(LayerCall("else.where")) == ("", "rest")
    assert layers.joined(
        [LayerCall("nowhere"), LayerCall("pyramid.smooth.shared", 1), LayerCall("pyramid.smooth.shared")]
    ) == (
        ("pyramid.smooth.shared", "smooth p2"),
        ("pyramid.smooth.shared", "smooth p3"),
    )


def test_rows_add_up_to_the_median_pass_where_each_layer_is_disturbed_in_another() -> None:
    """Their medians alone would add up to less."""
    passes = [(9, 9), (1, 5), (5, 1), (1, 1)]  # the first is not counted
    recorded = [
        (
            OperatorTime("stem", "Conv", 0.0, stem, (LayerCall("stem"),)),
            OperatorTime("smooth", "Conv", stem, smooth, (LayerCall("pyramid.smooth.p2"),)),
        )
        for stem, smooth in passes
    ]
    planned = PlannedProfile(FakeClock(), ())
    profiler = Profiler(planned.run, planned.profiled, lambda: recorded)
    times = time_operators(profiler, works_of(SETTINGS, SIZE), HostTimer(planned.clock), 3)
    assert times.marked == 13.0
    assert times.seconds == pytest.approx(13.0)
    medians = {"stem": 1.0, "pyramid.smooth.p2": 1.0, "": 7.0}  # outside them: 6, 7 and 12 seconds
    assert {row.path: row.seconds for row in times.rows} == pytest.approx(
        {path: 13 / 9 * seconds for path, seconds in medians.items()}
    )


class NewMemory(nn.Module):
    """A layer that writes so many new pages in each pass."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self.pages = pages

    def forward(self, x: Tensor) -> Tensor:
        """Return the input."""
        with mmap(-1, max(1, self.pages) * PAGESIZE) as memory:
            for page in range(self.pages):
                memory[page * PAGESIZE] = 1
        return x


@pytest.mark.skipif(page_faults() is None, reason="this system does not count page faults")
def test_page_faults_are_counted_layer_by_layer() -> None:
    """Those of a layer are its own, though other work may add a few."""
    network = nn.Sequential(NewMemory(0), NewMemory(400))  # less than a huge page
    works = [LayerWork(name, f"part {name}", "move", 0, 0) for name in "01"]
    x = torch.ones(1)
    rows = time_modules(lambda: network(x), network, works, HostMarks(), 1, faults=True).rows
    few, many = (next(row.faults for row in rows if row.path == name) for name in "01")
    assert few is not None
    assert many is not None
    assert 4 * few < many <= 500  # some systems prepare several pages at once
    assert all(row.faults is None for row in time_modules(lambda: network(x), network, works, HostMarks(), 1).rows)
