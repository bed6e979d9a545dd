"""The runs of a space and their cost, computed from plans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.cost import memory_needed, network_cost
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.shapes import network_shapes
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.planned import Budget, plan_runs, plan_space, planned_run
from mnfpn_cli.space.runs import Execution, Run, identities, names_of, run_namer, shared_settings
from tests.space.spaces import space_of
from tests.strategies import settings_and_size


@given(settings_and_size(), st.integers(1, 9), st.sampled_from(("float32", "bfloat16")))
def test_figures_are_those_of_the_plan(drawn: tuple[NetworkSettings, Size], batch: int, dtype: DType) -> None:
    """Parameters, MACs, memory of the batch, and the number of levels are what `summary`, `shapes` and `bench` show."""
    settings, size = drawn
    plan = plan_network(settings.at(size))
    (planned,) = plan_runs(settings.at(size), size, [Execution(batch=batch, dtype=dtype)])
    figures, total = planned.figures, network_cost(plan, size).total
    image = NetworkInput(batch, settings.in_channels, size)
    assert (figures.parameters, figures.macs) == (total.parameters, total.macs)
    assert figures.memory_bytes == memory_needed(plan, image, dtype)
    assert figures.levels == (len(network_shapes(plan, image).levels) or 1)


@given(settings_and_size(), st.integers(1, 9), st.booleans())
def test_a_run_can_be_rebuilt_from_its_record(drawn: tuple[NetworkSettings, Size], batch: int, train: bool) -> None:
    """From settings, input and execution."""
    settings, size = drawn
    execution = Execution("eager", "cpu", "bfloat16", batch, threads=3, train=train)
    (planned,) = plan_runs(settings.at(size), size, [execution])
    record, run = planned_run(planned), planned.run
    image = record.input
    made = Execution(record.runtime, record.device, record.dtype, image.batch, record.threads, record.train)
    assert Run(record.settings, Size(image.height, image.width), made) == run
    assert image.channels == settings.in_channels


def test_every_combination_is_a_run_once() -> None:
    """Networks × sizes × executions; a run of two combinations is planned once, and counted as repeated."""
    space = space_of(
        width_mult=[0.5, 1.0],
        size=["64", "96"],
        batch=[1, 2],
        preset=["mobilenetv2-fpn"],
        rounding=["nearest8", "ceil8"],
    )
    planned = plan_space(space, Budget())
    assert len(planned.runs) == len({one.run for one in planned.runs}) == 16
    twice = space_of(
        stages=[
            [[1, 16, 1, 1], [6, 24, 2, 2]],
            [{"expansion": 1, "channels": 16, "repeats": 1, "stride": 1}, [6, 24, 2, 2]],
        ]
    )
    planned = plan_space(twice, Budget())
    assert (len(planned.runs), planned.repeated) == (1, 1)


def test_invalid_combinations_are_counted_by_reason() -> None:
    """Those without a valid network, and those with too small a size; the other runs are planned."""
    space = space_of(
        pyramid__merge=["add", "concat"], pyramid__smooth=["conv", "none"], size=["16", "64"], batch=[1, 2]
    )
    planned = plan_space(space, Budget())
    assert len(planned.runs) == 6
    assert sum(planned.invalid.values()) == 10
    assert [
        number for reason, number in planned.invalid.items() if "must not be 'none' with pyramid.merge" in reason
    ] == [4]
    assert [number for reason, number in planned.invalid.items() if "at least 32 pixels" in reason] == [6]


def test_words_of_heads_are_axes() -> None:
    """A value may be a list; one that only some kinds of head take is invalid with the others."""
    space = space_of(
        head__kind=["retinanet", "ssd"],
        head__depth=[0, 2],
        head__classes=[1, 21],
        head__anchors__ratios=[[1.0, 2.0], [[2.0, 3.0]]],
        size=["64"],
    )
    planned = plan_space(space, Budget())
    heads = [one.run.settings.head.model_dump() for one in planned.runs]
    named = [(head["kind"], head["depth"], head["classes"], head["anchors"]["ratios"]) for head in heads]
    assert sorted(named) == [
        *(("retinanet", depth, classes, (1.0, 2.0)) for depth in (0, 2) for classes in (1, 21)),
        *(("ssd", depth, 21, ((2.0, 3.0),)) for depth in (0, 2)),
    ]
    assert sum(planned.invalid.values()) == 10
    assert all("ratios" in reason or "classes" in reason for reason in planned.invalid)


def test_a_key_of_a_kind_of_head_is_invalid_with_the_others() -> None:
    """Also below its anchors; the reason names the kinds that have it."""
    space = space_of(head__kind=["retinanet", "fcos", "ssd"], head__anchors__clip=[True, False], size=["64"])
    planned = plan_space(space, Budget())
    assert len(planned.runs) == 2
    assert [(number, reason.rpartition(": ")[2]) for reason, number in planned.invalid.items()] == [
        (2, "is a key of the anchors of head.kind 'ssd' and 'ssdlite', not of 'retinanet'"),
        (2, "is a key of head.kind 'retinanet', 'ssd', 'ssdlite' and 'rpn', not of 'fcos'"),
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("head__depth", 33),
        ("head__classes", 0),
        ("head__norm", "layer"),
        ("head__anchors__min_scale", 0),
        ("head__anchors__sizes", []),
        ("head__anchors__ratios", "wide"),
    ],
)
def test_a_value_that_no_kind_of_head_takes_is_refused_at_once(key: str, value: object) -> None:
    """Whatever kinds the other axes give."""
    with pytest.raises(UsageError, match=f"^{key}: "):
        space_of(head__kind=["ssd"], **{key: [value]}).check()


def test_runs_over_the_budget_are_cut() -> None:
    """Each limit is inclusive; a run that is cut is counted under the first limit that it exceeds."""
    space = space_of(width_mult=[0.35, 0.5, 1.0], size=["64"])
    runs = sorted(plan_space(space, Budget()).runs, key=lambda one: one.figures.macs)
    middle = runs[1].figures
    for budget in (
        Budget(macs=middle.macs),
        Budget(parameters=middle.parameters),
        Budget(memory_bytes=middle.memory_bytes),
    ):
        planned = plan_space(space, budget)
        assert len(planned.runs) == 2
        assert list(planned.cut.values()) == [1]
    planned = plan_space(space_of(pyramid__levels=["all", "p3-p5"], size=["64"]), Budget(levels=4))
    assert [one.figures.levels for one in planned.runs] == [4]
    assert planned.cut == {"min_levels": 1}


def test_runs_on_any_device_are_told_from_those_on_the_device_that_it_stands_for() -> None:
    """Their column of devices is the same. Runs on devices that were named have no more than that column."""
    settings, size = NetworkSettings(), Size(64, 64)

    def identity(*devices: str) -> list[dict[str, str]]:
        return identities([Run(settings.at(size), size, Execution("eager", device)) for device in devices])

    assert identity("auto", "cpu") == [{"device": "auto"}, {"device": "cpu"}]
    assert identity("cpu", "cuda") == identity("auto", "auto") == [{"": "the default network"}] * 2


def test_runs_with_heads_of_several_kinds_are_identified_by_what_does_not_follow_from_the_kind() -> None:
    """Anchors and thresholds of a kind are left out unless a run has others."""
    space = space_of(head__kind=["retinanet", "ssd", "fcos"], size=["64"])
    runs = [one.run for one in plan_space(space, Budget()).runs]
    assert identities(runs) == [{"head.kind": "retinanet"}, {"head.kind": "ssd"}, {"head.kind": "fcos"}]
    space = space_of(head__kind=["retinanet", "ssd"], head__depth=[1, 2], head__channels=[64], size=["64"])
    runs = [one.run for one in plan_space(space, Budget()).runs]
    assert [tuple(one) for one in identities(runs)] == [("head.kind", "head.depth")] * 4


FPNLITE = {"preset": ["mobilenetv2-fpnlite"]}


def test_one_network_is_named_once_where_it_has_many_settings() -> None:
    """A preset by its name, another by what differs alone; few settings are a name."""
    execution = {"size": ["64", "128"], "runtime": ["eager", "fused"]}
    preset = [one.run for one in plan_space(space_of(**FPNLITE, **execution), Budget()).runs]
    assert identities(preset) == [{"preset": "mobilenetv2-fpnlite"}] * 4
    assert names_of(identities(preset)) == ["preset mobilenetv2-fpnlite"] * 4
    space = space_of(**FPNLITE, width_mult=[0.5], **execution)
    runs = [one.run for one in plan_space(space, Budget()).runs]
    assert len(identities(runs)[0]) > 2
    assert names_of(identities(runs)) == ["the network"] * 4
    assert shared_settings(runs)["width_mult"] == "0.5"
    assert names_of(identities(runs[:1])) != ["the network"]
    few = [one.run for one in plan_space(space_of(width_mult=[0.5], **execution), Budget()).runs]
    assert names_of(identities(few)) == ["width_mult 0.5"] * 4


def test_runs_of_one_network_are_told_apart_by_what_differs() -> None:
    """By the progress of a sweep, say."""
    space = space_of(**FPNLITE, width_mult=[0.5], size=["64", "128"], runtime=["eager", "fused"])
    runs = [one.run for one in plan_space(space, Budget()).runs]
    name = run_namer(runs)
    assert [name(one) for one in runs[:2]] == ["size 64x64, runtime eager", "size 64x64, runtime fused"]


def test_several_networks_share_no_settings() -> None:
    """Though some of their settings are the same."""
    runs = [one.run for one in plan_space(space_of(**FPNLITE, width_mult=[0.5, 1.0], size=["64"]), Budget()).runs]
    assert shared_settings(runs) == shared_settings([]) == {}
    assert names_of(identities(runs)) == ["width_mult 0.5", "width_mult 1.0"]
