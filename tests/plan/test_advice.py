"""Advice: estimates are close where times follow the law of the model, and advised changes are valid and faster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.plan.advice import Advice, Law, TimeModel, best_advice, fit_law
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.roofline import LayerId, LayerWork, network_work
from mnfpn_cli.plan.rules import network_input, resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import Source
from tests.strategies import settings_and_size

SIZE = Size(600, 900)
RATE = 100e9
SECONDS_PER_BYTE = 1e-10
CLOSE = 0.05
"""The relative difference between estimate and law: the time of a call is only known from the fastest layer."""


def preset(name: str, *overrides: str, size: Size = SIZE) -> NetworkSettings:
    """The settings of a preset with overrides."""
    return resolve([read_preset(name), *(parse_override(text) for text in overrides)]).at(size)


def works_of(settings: NetworkSettings, size: Size = SIZE) -> tuple[LayerWork, ...]:
    """The work of the layers on one image in float32."""
    return network_work(plan_network(settings), network_input(settings, size), 4)


def law(work: LayerWork) -> float:
    """The time of a layer by a law: 3×3 convolutions run at the peak rate, all other layers also wait for memory."""
    return work.macs / RATE + (0.0 if work.operation == "conv" else work.bytes * SECONDS_PER_BYTE)


def times(settings: NetworkSettings, size: Size = SIZE) -> dict[LayerId, float]:
    """The time of each layer by the law."""
    return {work.id: law(work) for work in works_of(settings, size)}


def advise(settings: NetworkSettings, seconds: dict[LayerId, float] | None = None, size: Size = SIZE) -> Advice | None:
    """The advice for a network on one image, by the law or by other times."""
    works = works_of(settings, size)
    return best_advice(settings, works, network_input(settings, size), 4, seconds or times(settings, size))


@pytest.mark.parametrize(
    "override",
    ["pyramid.levels=p3-p5", "pyramid.smooth=separable", "pyramid.channels=128", "width_mult=0.5", "width_mult=1.4"],
)
def test_estimates_are_close_where_times_follow_the_law(override: str) -> None:
    """For unchanged layers, layers with other work, and new layers of an operation that the network has elsewhere."""
    before, after = works_of(NetworkSettings()), works_of(preset("mobilenetv2-fpn", override))
    estimated = sum(TimeModel(before, times(NetworkSettings())).by_part(after).values())
    assert estimated == pytest.approx(sum(law(work) for work in after), rel=CLOSE)


def test_where_calls_take_all_the_time_only_fewer_layers_help() -> None:
    """As on a GPU with one small image, where half the channels make no difference."""
    before = works_of(NetworkSettings())
    seconds = {work.id: 1e-5 * work.calls if work.macs else 0.0 for work in before}
    for override in ("width_mult=0.5", "pyramid.levels=p3-p5"):
        after = works_of(preset("mobilenetv2-fpn", override))
        calls = sum(work.calls for work in after if work.macs)
        assert sum(TimeModel(before, seconds).by_part(after).values()) == pytest.approx(1e-5 * calls)
    advice = advise(NetworkSettings(), seconds)
    assert advice is None or not any("width_mult" in override for override in advice.overrides)


CALL = 20e-6
"""Seconds of a call on the planted machine, however small its map is: those of a processor with eager torch."""

SMALL = [
    (name, side, override)
    for name in ("mobilenetv2-fpn", "mobilenetv2-fpnlite", "mobilenetv2-classifier")
    for side in (32, 64)
    for override in ("width_mult=0.5", "pyramid.levels=p4-p5", "pyramid.channels=64", "head.depth=2")
    if name == "mobilenetv2-fpnlite"
    or override == "width_mult=0.5"
    or (name == "mobilenetv2-fpn" and "head" not in override)
]


def planted(work: LayerWork) -> float:
    """A machine with a fixed cost of each call, and rates of compute and of memory."""
    return CALL * work.calls + work.macs / RATE + work.bytes * SECONDS_PER_BYTE


@pytest.mark.parametrize(("name", "side", "override"), SMALL)
def test_a_promise_for_small_maps_counts_what_each_call_costs(name: str, side: int, override: str) -> None:
    """There most of the time is that of calls, of which a layer with a norm and an activation has three."""
    size = Size(side, side)
    before, after = works_of(preset(name, size=size), size), works_of(preset(name, override, size=size), size)
    estimated = sum(TimeModel(before, {work.id: planted(work) for work in before}).by_part(after).values())
    assert estimated == pytest.approx(sum(map(planted, after)), rel=0.01)


def test_half_the_channels_of_small_maps_save_little() -> None:
    """The speed-up of the planted machine is promised, not that of the bytes."""
    size = Size(64, 64)
    settings, changed = (
        preset("mobilenetv2-fpnlite", size=size),
        preset("mobilenetv2-fpnlite", "width_mult=0.5", size=size),
    )
    before, after = works_of(settings, size), works_of(changed, size)
    model = TimeModel(before, {work.id: planted(work) for work in before})
    real = sum(map(planted, before)) / sum(map(planted, after))
    assert model.total / sum(model.by_part(after).values()) == pytest.approx(real, rel=0.01)
    assert real < 1.2


def test_what_a_layer_takes_beyond_the_law_goes_faster_than_its_work() -> None:
    """As measured; with the square of the ratio."""
    before, after = works_of(NetworkSettings()), works_of(preset("mobilenetv2-fpn", "width_mult=0.5"))
    layer = ("stages.1.1.expand", "stages.1")
    usual = {work.id: planted(work) for work in before}
    slow = usual | {layer: 3 * usual[layer]}
    (now,) = (work for work in after if work.id == layer)
    gained = [sum(TimeModel(before, seconds).by_part(after).values()) for seconds in (usual, slow)]
    ratio = planted(now) / usual[layer]
    assert gained[1] - gained[0] == pytest.approx(2 * usual[layer] * ratio**2, rel=0.2)


@pytest.mark.parametrize("known", [(1e-5, 1e-11, 1e-10), (0.0, 1e-11, 0.0), (1e-5, 0.0, 0.0), (0.0, 0.0, 1e-10)])
def test_a_law_is_found_where_times_follow_it(known: tuple[float, float, float]) -> None:
    """Also one that has only some of its parts."""
    works = [work for work in works_of(NetworkSettings()) if work.operation == "pointwise"]
    assert fit_law(works, {work.id: Law(*known).seconds(work) for work in works}) == pytest.approx(known, abs=1e-15)


@given(st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8))
def test_no_part_of_a_law_is_negative(seconds: list[float]) -> None:
    """Whatever the times are; a smaller layer never takes longer."""
    works = works_of(NetworkSettings())[:8]
    assert min(fit_law(works, {work.id: time for work, time in zip(works, seconds, strict=True)})) >= 0


def test_an_unchanged_network_takes_the_measured_time() -> None:
    """Including the time of containers and of the network itself, which are no layers."""
    works = works_of(NetworkSettings())
    seconds = times(NetworkSettings()) | {("", "rest"): 0.5, ("stages.3", "stages.3"): 0.25}
    model = TimeModel(works, seconds)
    parts = model.by_part(works)
    assert model.changed(works) == 0
    assert sum(parts.values()) == pytest.approx(model.total) == pytest.approx(sum(seconds.values()))
    assert parts["rest"] == 0.5


def test_time_outside_layers_scales_with_the_layers_of_its_part() -> None:
    """Or with all layers, where it belongs to no part: it is Python's time around each."""
    before, after = works_of(NetworkSettings()), works_of(preset("mobilenetv2-fpn", "pyramid.levels=p3-p5"))
    seconds = times(NetworkSettings()) | {("", "rest"): 0.5, ("stages.3", "stages.3"): 0.25}
    share = len(after) / len(before)
    gone = sum(law(work) for work in after)
    assert sum(TimeModel(before, seconds).by_part(after).values()) == pytest.approx(
        gone + 0.25 + 0.5 * share, rel=CLOSE
    )


def test_the_advice_for_the_default_network_is_to_leave_out_p2() -> None:
    """Two thirds of its time are the smoothing of p2; the change affects no other layer."""
    advice = advise(NetworkSettings())
    assert advice is not None
    assert (advice.part, advice.overrides) == ("smooth p2", ("pyramid.levels=p3-p5",))
    faster = sum(times(preset("mobilenetv2-fpn", "pyramid.levels=p3-p5")).values())
    total = sum(times(NetworkSettings()).values())
    assert advice.speed_up == pytest.approx(total / faster, rel=CLOSE)
    assert advice.share == pytest.approx(times(NetworkSettings())["pyramid.smooth.p2", "smooth p2"] / total)


ADVISED = [
    ("mobilenetv2-fpn", ("pyramid.levels=p5",), "smooth p5", "pyramid.smooth=separable"),
    ("mobilenetv2-fpn", ("pyramid.levels=p2,p4,p5",), "smooth p2", "pyramid.levels=p4-p5"),
    ("mobilenetv2-fpn", ("pyramid.levels=p2,p3,p5",), "smooth p2", "pyramid.levels=p3,p5"),
    ("mobilenetv2-fpn", ("pyramid.smooth=none",), "top-down", "pyramid.levels=p3-p5"),
    ("mobilenetv2-fpn", ("pyramid.smooth=none", "pyramid.levels=p4-p5"), "laterals", "pyramid.levels=p5"),
    ("mobilenetv2-dynamic-fpn", (), "smooth p2", "pyramid.levels=p3-p5"),
    ("retina-fpn", (), "smooth p3", "pyramid.smooth=separable"),
    ("retina-fpn", (), "extra p6", "pyramid.extra=separable"),
    ("mobilenetv2-classifier", (), "head", "head.last_channels=640"),
    ("mobilenetv2-classifier", (), "stages.1", "width_mult=0.5"),
]


@pytest.mark.parametrize(("name", "overrides", "part", "advised"), ADVISED)
def test_the_advice_depends_on_the_settings_and_the_slowest_part(
    name: str, overrides: tuple[str, ...], part: str, advised: str
) -> None:
    """Only valid changes; of those that help the slowest part, the one that saves most per changed layer."""
    settings = preset(name, *overrides)
    seconds = times(settings)
    slowest = {layer: time * (30 if layer[1] == part else 1) for layer, time in seconds.items()}
    advice = advise(settings, slowest)
    assert advice is not None
    assert (advice.part, advice.overrides) == (part, (advised,))


FPNSSD512 = (
    "backbone.blocks=[3,4,6,3]",
    "pyramid.levels=p3-p9",
    "head.kind=retinanet",
    "head.classes=21",
    "head.anchors.sizes=[32,64,128,256,341,426,512]",
)


def test_the_advice_for_a_detector_is_about_its_head() -> None:
    """The head on p3 takes more of the time than any other part; without that level, its anchors go too."""
    settings = preset("fpnssd", *FPNSSD512, size=Size(512, 512))
    advice = advise(settings, size=Size(512, 512))
    assert advice is not None
    assert (advice.part, advice.share > 0.3) == ("head p3", True)
    assert advice.overrides == ("pyramid.levels=p4-p9", "head.anchors.sizes=[64,128,256,341,426,512]")


DENSE = ("head.kind=retinanet", "head.classes=200", "head.depth=1")
BY_LEVEL = ("head.anchors.ratios=[[2],[2,3]]", "head.anchors.scales=[0.2,0.5,1]", "head.anchors.steps=[16,32]")
ADVISED_HEADS = [
    (("head.kind=retinanet", "head.classes=21"), ("head.depth=2",)),
    (DENSE, ("head.separable=true",)),
    ((*DENSE, "head.separable=true"), ("head.channels=128",)),
    ((*DENSE, "head.separable=true", "head.channels=512"), ("head.channels=256",)),
    (("head.kind=fcos",), ("head.depth=2",)),
    (("head.kind=ssd",), ("head.separable=true",)),
    (("pyramid.levels=p3-p5", "head.kind=retinanet"), ("pyramid.levels=p4-p5",)),
    (("pyramid.levels=p2-p5", "head.kind=fcos"), ("pyramid.levels=p3-p5",)),
    (("pyramid.levels=p3-p5", "head.kind=ssd"), ("head.separable=true",)),
    (("pyramid.levels=p3-p5", "head.kind=ssdlite"), ("pyramid.levels=p4-p5",)),
    (
        ("pyramid.levels=p4-p5", "head.kind=ssdlite", *BY_LEVEL),
        (
            "pyramid.levels=p5",
            "head.anchors.ratios=[[2.0,3.0]]",
            "head.anchors.scales=[0.5,1.0]",
            "head.anchors.steps=[32]",
        ),
    ),
]


@pytest.mark.parametrize(("overrides", "advised"), ADVISED_HEADS)
def test_a_head_that_takes_most_of_the_time_gets_advice(overrides: tuple[str, ...], advised: tuple[str, ...]) -> None:
    """Less depth, separable convolutions, fewer channels, or a coarser finest level, without its anchors."""
    settings = preset("mobilenetv2-fpn", "pyramid.levels=p5", *overrides)
    seconds = {layer: time * (100 if layer[1].startswith("head") else 1) for layer, time in times(settings).items()}
    advice = advise(settings, seconds)
    assert advice is not None
    assert (advice.part[:6], advice.overrides) == ("head p", advised)


def test_half_the_channels_of_a_head_are_advised_only_where_its_groups_divide_them() -> None:
    """With 160 groups, 240 channels would be no valid network."""
    head = ("head.kind=fcos", "head.classes=4000", "head.depth=1", "head.separable=true", "head.channels=480")
    advised = []
    for groups in (120, 160):
        overrides = ("pyramid.levels=p5", "pyramid.channels=480", *head, f"head.norm_groups={groups}")
        settings = preset("mobilenetv2-fpn", *overrides)
        seconds = {layer: time * (100 if layer[1] == "head p5" else 1) for layer, time in times(settings).items()}
        advice = advise(settings, seconds)
        advised.append(advice.overrides if advice and advice.part == "head p5" else None)
    assert advised == [("head.channels=240",), None]


def test_dense_layers_on_flattened_maps_can_be_averaged() -> None:
    """`head.size` becomes null with it, as a head on averages takes any size."""
    settings = preset("fpn-classifier", "head.classes=200")
    seconds = {row: time * (1000 if row[1] == "head" else 1) for row, time in times(settings).items()}
    advice = advise(settings, seconds)
    assert advice is not None
    assert (advice.part, advice.overrides) == ("head", ("head.size=null", "head.pool=average"))


def test_where_nothing_helps_the_slowest_part_the_advice_is_for_the_next() -> None:
    """With this rounding, no width changes the channels of the stem."""
    settings = preset("mobilenetv2-fpn", "rounding=ceil8")
    seconds = {row: time * (300 if row[1] == "stem" else 1) for row, time in times(settings).items()}
    advice = advise(settings, seconds)
    assert advice is not None
    assert (advice.part, advice.overrides) == ("smooth p2", ("pyramid.levels=p3-p5",))
    assert advice.share < seconds["stem", "stem"] / sum(seconds.values())


def test_no_advice_where_no_change_helps() -> None:
    """All the time is that of a stem whose channels no width changes."""
    settings = preset("mobilenetv2-fpn", "rounding=ceil8")
    assert advise(settings, dict.fromkeys(times(settings), 0.0) | {("stem", "stem"): 1.0}) is None


def test_a_change_with_more_macs_is_not_advised() -> None:
    """Whatever the times: with one channel, a separable smoothing has ten weights instead of nine."""
    settings = preset("mobilenetv2-fpn", "pyramid.levels=p5", "pyramid.channels=1")
    slow = {"pyramid.smooth.p5": 1.0, "stages.3.0.expand": 0.5}
    advice = advise(settings, {row: slow.get(row[0], 1e-3 * time) for row, time in times(settings).items()})
    assert advice is not None
    assert (advice.part, advice.overrides) == ("stages.3", ("width_mult=0.5",))


@given(settings_and_size(), st.data())
def test_an_advised_change_gives_a_valid_network_with_fewer_macs(
    case: tuple[NetworkSettings, Size], data: st.DataObject
) -> None:
    """For any settings and any times; the overrides are valid for the parameter `set`."""
    settings, size = case
    works = works_of(settings, size)
    spent = data.draw(st.lists(st.floats(1e-6, 1.0), min_size=len(works), max_size=len(works)))
    seconds = {work.id: time for work, time in zip(works, spent, strict=True)}
    advice = advise(settings, seconds, size)
    if advice:
        sources = [Source("", settings.model_dump(mode="json")), *map(parse_override, advice.overrides)]
        changed = resolve(sources).at(size)
        after = works_of(changed, size)
        assert advice.speed_up >= 1.05
        assert sum(work.macs for work in after) < sum(work.macs for work in works)
